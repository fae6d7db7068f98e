"""How commands print tables."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

_FILE_COLUMNS = 200


def wide_console() -> "Console":
    """Return a console as wide as the terminal; in a file or a pipe, tables are as wide as they need to be."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=_FILE_COLUMNS)
