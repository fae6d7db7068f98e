"""Show what augmentation does: data/prepared -> reports/augment_preview.

Run as ``python -m stages.augment_preview``. The samples are the first ones that training sees, by the same code.
"""

from pathlib import Path

import click

from maskline.cli.entry import PATH, OneLineCommand, log, params_option, stage


@click.command(cls=OneLineCommand)
@params_option
@click.option("--prepared", type=PATH, default="data/prepared", show_default=True, help="Prepared data set.")
@click.option(
    "--image",
    "--picture",
    "image",
    type=PATH,
    default="reports/augment_preview/grid.png",
    show_default=True,
    help="Originals and augmented samples side by side.",
)
@click.option(
    "--draws",
    type=PATH,
    default="reports/augment_preview/params.json",
    show_default=True,
    help="What was drawn for each sample.",
)
@stage
def main(params_path: Path, prepared: Path, image: Path, draws: Path) -> None:
    """Draw a grid of augmented samples beside their originals."""
    from maskline.builders.augment import build_batches
    from maskline.data.dataset import PreparedSplit
    from maskline.params.base.reading import load_sections
    from maskline.params.stages.augment_preview import PreviewStage
    from maskline.report import preview

    params = load_sections(params_path, PreviewStage)
    split = PreparedSplit.open(prepared, "train", cache="stream")
    batches = build_batches(split, augment=params.augment, look=params.model, train=params.train)
    samples = batches.first(params.preview.samples, accumulate=params.train.accumulate)
    preview.write(samples, split.labels, image=image, draws=draws)
    log.info("augment_preview: %d samples in %s", params.preview.samples, image)


if __name__ == "__main__":
    main()
