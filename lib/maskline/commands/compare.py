"""``maskline compare A B``: whether two revisions or experiments differ, and how surely."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from maskline.cli.entry import PATH, errors_to_exit_code

if TYPE_CHECKING:
    from maskline.analysis.compare.images import Comparison

# Images in the printed table; the JSON has all.
_SHOWN_IMAGES = 5


@click.command()
@click.argument("a")
@click.argument("b")
@click.option(
    "--per-image",
    type=PATH,
    default="reports/evaluate/per_image.csv",
    show_default=True,
    help="The evaluation's table of images.",
)
@click.option("--resamples", type=click.IntRange(1), default=2000, show_default=True, help="Draws and swaps.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the draws and swaps.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@click.option("--plot", type=PATH, default=None, help="Draw the differences with their intervals to this PNG.")
@click.option(
    "--page",
    type=PATH,
    default=None,
    help="Write the workspace's report page with the comparison in it to this file; B must be workspace.",
)
@click.option(
    "--report",
    type=PATH,
    default="reports/evaluate/report.html",
    show_default=True,
    help="The evaluation's page, for --page.",
)
@errors_to_exit_code
def main(
    *,
    a: str,
    b: str,
    per_image: Path,
    resamples: int,
    seed: int,
    as_json: bool,
    plot: Path | None,
    page: Path | None,
    report: Path,
) -> None:
    """Compare the evaluations of two revisions.

    A and B are git revisions, names of DVC experiments, or the word workspace.

    Both must have scored the same images. The interval is that of the difference B - A over images (groups of them,
    where there are any) drawn anew; p is the share of swaps of the two models, image by image, that differ as much.
    Where many scores are compared, some will have a small p by chance.
    """
    from maskline.analysis.compare.images import compare_images, forest_plot, parse
    from maskline.analysis.compare.page import with_comparison
    from maskline.core.errors import DataError
    from maskline.core.files import write_bytes, write_text
    from maskline.projects.revisions import WORKSPACE, read_at

    if page is not None and b != WORKSPACE:
        raise DataError("--page", f"git has no report page of {b}", "name workspace second")
    tables = [parse(read_at(name, per_image), place=f"{name}: {per_image}") for name in (a, b)]
    comparison = compare_images(*tables, resamples=resamples, seed=seed, place=f"{a} and {b}")
    if plot is not None:
        write_bytes(plot, forest_plot(comparison.scores, a=a, b=b))
    if page is not None:
        write_text(page, with_comparison(read_at(WORKSPACE, report), comparison, a=a, b=b, place=report))
    if as_json:
        click.echo(json.dumps({"a": a, "b": b, **comparison.as_dict()}, indent=2, sort_keys=False))
    else:
        _print(comparison, a, b)


def _print(found: "Comparison", a: str, b: str) -> None:
    from rich.table import Table

    from maskline.commands.printing import wide_console

    console = wide_console()
    for title, rows in (("All pixels together", found.scores), ("Mean over images", found.image_means)):
        table = Table("score", a, b, "difference", "95 % interval", "p", title=title, title_justify="left")
        for one in rows:
            interval = "" if one.low is None else f"{one.low:+.4f} to {one.high:+.4f}"
            table.add_row(one.name, f"{one.a:.4f}", f"{one.b:.4f}", f"{one.difference:+.4f}", interval, f"{one.p:.3f}")
        console.print(table)
    table = Table(
        "image", a, b, "difference", title=f"Images that changed most ({found.ranking})", title_justify="left"
    )
    for row in [row for row in found.images if row["difference"] is not None][:_SHOWN_IMAGES]:
        table.add_row(str(row["id"]), f"{row['a']:.4f}", f"{row['b']:.4f}", f"{row['difference']:+.4f}")
    console.print(table)
