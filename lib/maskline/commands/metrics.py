"""``maskline metrics``: all scores of a run as tables."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maskline.cli.entry import PATH, errors_to_exit_code

if TYPE_CHECKING:
    from rich.table import Table


@click.command()
@click.argument("revision", default="workspace")
@click.option(
    "--scores",
    type=PATH,
    default="reports/evaluate/scores.csv",
    show_default=True,
    help="The evaluation's table of all scores.",
)
@click.option(
    "--reports", type=PATH, default="reports", show_default=True, help="The other stages' tables are below it."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@errors_to_exit_code
def main(*, revision: str, scores: Path, reports: Path, as_json: bool) -> None:
    """Print the scores of a run: overall, by class, after each step, in training, of the exported files.

    REVISION is a git revision, the name of a DVC experiment, or the word workspace, which is the default. `dvc metrics
    show` and `dvc exp show` have the few of them that runs are compared by.
    """
    from maskline.analysis import run_scores

    run = run_scores.read(revision, scores, reports=reports)
    if as_json:
        click.echo(json.dumps(run.as_dict(), indent=2))
        return
    from maskline.commands.printing import wide_console

    console = wide_console()
    for title, rows in run.tables():
        console.print(_table(title, rows))


def _table(title: str, rows: Sequence[Sequence[Any]]) -> "Table":
    from rich.table import Table

    header, *body = rows
    table = Table(title=title, title_justify="left")
    for name in header:
        numeric = all(not isinstance(row[len(table.columns)], str) for row in body)
        table.add_column(str(name), justify="right" if numeric else "left")
    for row in body:
        table.add_row(*(_text(cell) for cell in row))
    return table


def _text(cell: Any) -> str:
    if cell is None:
        return ""
    return f"{cell:.4f}" if isinstance(cell, float) else str(cell)
