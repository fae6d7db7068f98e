"""``maskline audit``: which labels are most likely wrong, by models that have not seen them."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from maskline.cli.entry import PATH, errors_to_exit_code, log, params_option

if TYPE_CHECKING:
    from maskline.analysis.audit.auditing import Audit

# Of the printed table; images.csv has all.
_PRINTED = 10
_SEEN = (
    "These models may have learned from the labels that they judge, and then repeat the errors in them: fewer are "
    "found than out of fold (maskline folds)."
)


@click.command()
@click.argument("models", nargs=-1, type=PATH, metavar="[MODEL]...")
@params_option
@click.option("--folds", type=PATH, default="data/folds", show_default=True, help="What maskline folds wrote.")
@click.option("--prepared", type=PATH, default="data/prepared", show_default=True, help="Prepared data, for MODEL.")
@click.option("-o", "--out", type=PATH, default="data/audit", show_default=True, help="Folder of the results.")
@click.option("--show", type=click.IntRange(1, 2000), default=60, show_default=True, help="Images on the page.")
@click.option(
    "--min-area",
    type=click.IntRange(1),
    default=None,
    help="Smaller regions do not count, px.  [default: a 2000th of the image, 16 at least]",
)
@errors_to_exit_code
def main(
    *,
    models: tuple[Path, ...],
    params_path: Path,
    folds: Path,
    prepared: Path,
    out: Path,
    show: int,
    min_area: int | None,
) -> None:
    """Rank images and regions by how likely their labels are wrong, and say why.

    Each image is judged by the model of `maskline folds` that was not trained on it; images of the test split by all
    of them. MODEL is a trained model instead (several: the mean of their probabilities); it finds fewer errors in
    labels that it was trained on. Nothing is changed in the data.

    \b
    OUT/images.csv                images, the most suspicious first: score, reason, shift, swapped classes
    OUT/regions.csv               regions: box, class given, class predicted, area, confidence, reason, score
    OUT/audit.html                the first images with labels, prediction and disagreement, to judge by key
    OUT/files.txt                 their files, one a line
    OUT/label_studio.json         the same as tasks with boxes, for the interface of label_studio.xml
    OUT/cvat.xml                  the same as CVAT for images 1.1, boxes of the label suspicious
    """  # noqa: D301  (click wants the control character itself)
    from maskline.analysis.audit import members
    from maskline.analysis.audit.auditing import audit
    from maskline.analysis.audit.writing import write
    from maskline.params.whole import load_params
    from maskline.runtime import device

    params = load_params(params_path)
    device.set_deterministic(params.train.threads)
    parts = members.of_models(models, prepared) if models else members.of_folds(folds)
    if models:
        log.warning("audit: %s", _SEEN)
    done = audit(params.evaluate, parts, min_area_px=min_area)
    write(
        out,
        params.evaluate,
        parts,
        done,
        number=show,
        title=params.data.name,
        warning=_SEEN if models else "",
    )
    _print(done)
    log.info("audit: %d images; results in %s, the page is %s", len(done.images), out, out / "audit.html")


def _print(done: "Audit") -> None:
    from rich.table import Table
    from rich.text import Text

    from maskline.analysis.audit.tables import described
    from maskline.commands.printing import wide_console

    table = Table("rank", "image", "score", "reason", title="Labels to look at first", title_justify="left")
    for rank, finding in enumerate(done.findings[:_PRINTED], 1):
        name = Text(done.images[finding.image].id)
        table.add_row(str(rank), name, f"{finding.score:.1f}", Text(described(finding, done.labels)))
    wide_console().print(table)
