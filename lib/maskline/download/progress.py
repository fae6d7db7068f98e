"""Progress bars on stderr, where a person sees them; nothing where stderr is a file or a pipe."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

T = TypeVar("T")


def tracked(items: Iterable[T], total: int, *, description: str) -> Iterator[T]:
    """Pass ``items`` on and show how many of ``total`` are done."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        yield from progress.track(items, total=total, description=description)


@contextmanager
def byte_bar(description: str, *, done: int, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show a transfer; yield a function that takes the number of bytes that came since its last call.

    Args:
        description: Such as the file's name.
        done: Bytes that were there before.
        total: All bytes; None if unknown.
    """
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(
        *columns, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task(description, total=total, completed=done)
        yield lambda count: progress.advance(task, count)
