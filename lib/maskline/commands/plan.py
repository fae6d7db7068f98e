"""``maskline plan``: params for a data set, this machine and a time."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from maskline.cli.entry import PATH, errors_to_exit_code

if TYPE_CHECKING:
    from collections.abc import Sequence

    from maskline.analysis.plan.rules import Choice


@click.command()
@click.argument("prepared", type=PATH, default="data/prepared", metavar="[DATA]")
@click.option("--minutes", type=click.FloatRange(1), required=True, help="Of training and evaluation together.")
@click.option("--params", "params_path", type=PATH, default="params.yaml", show_default=True, help="File to write.")
@click.option("--output", type=PATH, default="plan.yaml", show_default=True, help="The plan as a recipe, with reasons.")
@click.option("--threads", type=click.IntRange(1, 256), help="CPU threads of training; default: the cores there are.")
@click.option("--dry-run", is_flag=True, help="Print the plan and write nothing.")
@click.option("--yes", is_flag=True, help="Write without asking.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table; with --yes it is written too.")
@errors_to_exit_code
def main(
    *,
    prepared: Path,
    minutes: float,
    params_path: Path,
    output: Path,
    threads: int | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Choose network, crop, batch, length, augmentation, losses and evaluation for a prepared set.

    DATA is a folder that the stage convert wrote. Looks at the train images and labels alone, applies rules that were
    fixed beforehand (docs/explanation/plan.md), trains for a few seconds to learn what an iteration costs here, and
    writes the plan: a recipe with one line of reason each, and its values in params.yaml, whose section data stays.
    Training and evaluation then take about as long as was asked for, on a machine that does nothing else meanwhile;
    the number of iterations is written, so a run gives the same bits again.
    """
    from maskline.analysis.plan import planning, writing
    from maskline.core.files import write_text

    plan = planning.plan(prepared, params_path, minutes=minutes, threads=threads)
    if as_json:
        click.echo(json.dumps(plan.to_dict(), indent=2))
    else:
        for line in plan.about:
            click.echo(line)
        _print(plan.choices)
    if dry_run or (as_json and not yes):
        return
    if not yes and not click.confirm(f"Write {output} and {params_path}?"):
        click.echo("nothing written")
        return
    recipe = writing.text(plan.title, plan.about, plan.choices)
    merged = planning.merged(params_path, recipe)
    write_text(output, recipe)
    write_text(params_path, merged)
    if not as_json:
        click.echo(f"written: {output}, {params_path}; next: dvc repro evaluate")


def _print(chosen: "Sequence[Choice]") -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    grid = Table("key", "value", "reason", title="Plan", title_justify="left")
    for choice in chosen:
        for number, (key, value) in enumerate(choice.keys.items()):
            shown = json.dumps(value).replace('"', "")
            grid.add_row(key, escape(shown), "" if number else escape(choice.reason))
    console = Console()
    Console(width=None if console.is_terminal else 200).print(grid)
