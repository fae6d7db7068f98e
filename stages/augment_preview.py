"""Show what augmentation does: data/prepared -> reports/augment_preview.

Run as ``python -m stages.augment_preview``. The samples are the first ones that training sees, by the same code.
"""

from pathlib import Path

import click

from maskline import cli


@click.command()
@cli.params_option
@click.option("--prepared", type=cli.PATH, default="data/prepared", show_default=True, help="Prepared data set.")
@click.option(
    "--picture",
    type=cli.PATH,
    default="reports/augment_preview/grid.png",
    show_default=True,
    help="Originals and augmented samples side by side.",
)
@click.option(
    "--draws",
    type=cli.PATH,
    default="reports/augment_preview/params.json",
    show_default=True,
    help="What was drawn for each sample.",
)
@cli.stage
def main(params_path: Path, prepared: Path, picture: Path, draws: Path) -> None:
    """Draw a grid of augmented samples beside their originals."""
    from maskline import build, params  # imports torch: not needed for --help
    from maskline.data.dataset import PreparedSplit
    from maskline.report import preview

    settings = params.load(params_path)
    split = PreparedSplit.open(prepared, "train", cache="stream")
    batches = build.batches(settings, split)
    count = settings.augment.preview_samples
    samples = batches.first(count, accumulate=settings.train.accumulate)
    preview.write(samples, split.labels, picture=picture, draws=draws)
    cli.log.info("augment_preview: %d samples in %s", count, picture)


if __name__ == "__main__":
    main()
