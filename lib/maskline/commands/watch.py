"""``maskline watch``: the curves of a run while it trains."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from maskline.cli.entry import PATH, errors_to_exit_code

if TYPE_CHECKING:
    from rich.console import RenderableType

_SECONDS = 2.0
_WIDTH = 60


@click.command()
@click.argument("name", required=False)
@click.option("--once", is_flag=True, help="Print the curves as they are now, and end.")
@click.option("--folder", type=PATH, default=".maskline/live", show_default=True, help="Where the tables of runs lie.")
@errors_to_exit_code
def main(*, name: str | None, once: bool, folder: Path) -> None:
    """Show the curves of a run that trains here: loss, learning rate, validation scores.

    NAME is a DVC experiment; without it, it is the run that has measured last. In a terminal the curves move until the
    run ends; else they are printed once. In a notebook: `!maskline watch --once`.
    """
    from maskline.analysis import live_curves
    from maskline.commands.printing import wide_console
    from maskline.core.errors import DataError

    path = live_curves.find(folder, name)
    if path is None:
        what = f"no run {name}" if name else "no run"
        raise DataError(
            folder, f"{what} is training", "start one (dvc repro train); what has ended is in reports/train"
        )
    console = wide_console()
    if once or not console.is_terminal:
        console.print(_drawn(path))
        return
    from rich.live import Live

    with Live(_drawn(path), console=console, auto_refresh=False) as shown:
        while path.is_dir():
            time.sleep(_SECONDS)
            if path.is_dir():
                shown.update(_drawn(path), refresh=True)


def _drawn(path: Path) -> "RenderableType":
    from rich.table import Table

    from maskline.analysis import live_curves

    table = Table("", "", "now", "lowest", "highest", title=f"{path.name}: {live_curves.progress(path)}")
    for name, values in live_curves.curves(path).items():
        line = live_curves.sparkline(values, width=_WIDTH)
        table.add_row(name, line, *(f"{value:.4g}" for value in (values[-1], min(values), max(values))))
    return table
