"""How commands print tables."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

_FILE_COLUMNS = 200
_SCORES = ("foreground.Dice", "mIoU", "mDice")


def wide_console() -> "Console":
    """Return a console as wide as the terminal; in a file or a pipe, tables are as wide as they need to be."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=_FILE_COLUMNS)


def print_scores(title: str, models: Mapping[str, Mapping[str, Any]]) -> None:
    """Print a table of models by name with their main scores; nothing for none.

    Args:
        title: Above the table.
        models: Name -> scores as a tree.
    """
    from rich.table import Table

    from maskline.metrics.scores import flatten

    if not models:
        return
    names = [name for name in _SCORES if name in flatten(dict(next(iter(models.values()))))]
    table = Table("model", *names, title=title, title_justify="left")
    for label, scores in models.items():
        table.add_row(label, *(_text(scores, name) for name in names))
    wide_console().print(table)


def _text(scores: Mapping[str, Any], name: str) -> str:
    from maskline.metrics.scores import flatten
    from maskline.metrics.scores_table import UNCERTAINTY

    flat = flatten(dict(scores))
    value, low, high = (flat.get(key) for key in (name, *(f"{UNCERTAINTY}.{name}.{end}" for end in ("low", "high"))))
    if value is None:
        return ""
    return f"{value:.4f}" + (f" ({low:.4f} to {high:.4f})" if low is not None and high is not None else "")
