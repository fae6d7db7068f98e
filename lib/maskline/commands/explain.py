"""``maskline explain optimizer``: what the settings make of each tensor's learning rate and weight decay."""

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from maskline.cli.entry import PATH, errors_to_exit_code, log, params_option
from maskline.core.text import cell

if TYPE_CHECKING:
    from maskline.optim.groups import Assignment
    from maskline.optim.schedules import Schedule

_COLUMNS = ("tensor", "shape", "lr", "weight_decay", "rule")


@click.command()
@click.argument("what", type=click.Choice(["optimizer"]))
@params_option
@click.option("--prepared", type=PATH, default="data/prepared", show_default=True, help="Prepared data set.")
@click.option("--csv", "csv_path", type=PATH, default=None, help="Write the table there too.")
@click.option("--png", "png_path", type=PATH, default=None, help="Draw the learning rates of all iterations there.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@errors_to_exit_code
def main(
    *, what: str, params_path: Path, prepared: Path, csv_path: Path | None, png_path: Path | None, as_json: bool
) -> None:
    """Show how training will treat each tensor.

    optimizer: a table of every trained tensor with its full learning rate, its weight decay and the rule of
    optimizer.paramwise that decided, then the groups that come of it.
    """
    del what  # one choice so far; click has checked it
    from maskline.builders.model import segmentor, without_start_weights
    from maskline.builders.optim import assignments
    from maskline.builders.training import run_length, run_schedule
    from maskline.core.files import write_text
    from maskline.data.dataset import PreparedSplit
    from maskline.params.whole import load_params

    settings = load_params(params_path)
    split = PreparedSplit.open(prepared, "train", cache="stream")
    model = segmentor(without_start_weights(settings.model), num_classes=split.labels.num_classes)
    assigned = assignments(settings.optimizer, model)
    if as_json:
        click.echo(json.dumps([dict(zip(_COLUMNS, row, strict=True)) for row in _rows(assigned)], indent=2))
    else:
        _print(assigned)
    if csv_path is not None:
        write_text(csv_path, _table(assigned))
    if png_path is not None:
        length = run_length(settings, split)
        _draw(png_path, assigned, run_schedule(settings, split), length)
        log.info("explain: learning rates of %d iterations in %s", length, png_path)


def _print(found: "list[Assignment]") -> None:
    from rich.table import Table

    from maskline.commands.printing import wide_console
    from maskline.optim.groups import merge

    table = Table("tensor", "shape", "lr", "weight decay", "rule", title="Trained tensors")
    for row in _rows(found):
        table.add_row(*(f"{cell:.8g}" if isinstance(cell, float) else cell for cell in row))
    groups = Table("group", "lr", "weight decay", "tensors", "numbers", title="Groups")
    for group in merge(found):
        count = sum(parameter.numel() for parameter in group["params"])
        numbers = (f"{group['lr']:g}", f"{group['weight_decay']:g}", str(len(group["params"])), f"{count:,}")
        groups.add_row(group["name"], *numbers)
    console = wide_console()
    console.print(table)
    console.print(groups)


def _rows(found: "list[Assignment]") -> list[tuple[str, str, float, float, str]]:
    return [
        (
            each.name,
            "x".join(map(str, each.parameter.shape)),
            float(f"{each.lr:.8g}"),
            float(f"{each.weight_decay:.8g}"),
            each.rule,
        )
        for each in found
    ]


def _table(found: "list[Assignment]") -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows([f"{each:.8g}" if isinstance(each, float) else cell(each) for each in row] for row in _rows(found))
    return stream.getvalue()


def _draw(path: Path, found: "list[Assignment]", schedule: "Schedule", iterations: int) -> None:
    from maskline.report.learning_rates import draw_rates

    full = dict.fromkeys(each.lr for each in found)
    draw_rates(path, {f"lr {lr:g}": [schedule.rate(i, lr) for i in range(iterations)] for lr in full})
