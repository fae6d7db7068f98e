"""data/raw -> data/prepared: every image checked, masks to class ids, splits by group, a few shards.

python -m stages.convert
"""

from functools import partial
from pathlib import Path

import click

from maskline import cli


@click.command()
@cli.params_option
@click.option("--raw", type=cli.PATH, default="data/raw", show_default=True, help="The source archive.")
@click.option("--prepared", type=cli.PATH, default="data/prepared", show_default=True, help="Written: the data set.")
@click.option(
    "--summary", type=cli.PATH, default="reports/convert/summary.json", show_default=True, help="Written: counts."
)
@click.option(
    "--class-shares",
    type=cli.PATH,
    default="reports/convert/class_shares.csv",
    show_default=True,
    help="Written: pixels of each class in each split.",
)
@click.option(
    "--sizes", type=cli.PATH, default="reports/convert/sizes.csv", show_default=True, help="Written: image sizes."
)
@click.option(
    "--grid", type=cli.PATH, default="reports/convert/grid.png", show_default=True, help="Written: images and masks."
)
@cli.stage
def main(params_path: Path, raw: Path, prepared: Path, **reports: Path) -> None:
    """Check and convert the source archive; all problems are listed at once, and the former data stays."""
    from maskline.data.archives import source_archive
    from maskline.data.convert import SplitSettings, convert_archive
    from maskline.data.layouts import layout, own_layout
    from maskline.data.problems import listed_problems, problems_file
    from maskline.data.progress import tracked
    from maskline.data.records import LayoutSettings
    from maskline.params import load
    from maskline.report import convert as report

    data = load(params_path).data
    settings = LayoutSettings(
        classes=tuple((entry.name, entry.color) for entry in data.classes),
        ignore_index=data.ignore_index,
        mask_encoding=data.mask_encoding,
        exif=data.exif,
        alpha=data.alpha,
    )
    split = SplitSettings(
        val_fraction=data.val_fraction,
        test_fraction=data.test_fraction,
        seed=data.split_seed,
        fold=data.fold,
        num_folds=data.num_folds,
    )
    with listed_problems(problems_file()):
        warnings = convert_archive(
            source_archive(raw),
            prepared,
            layout=own_layout(data.layout) if data.layout else layout(data.name),
            settings=settings,
            split=split,
            max_unpacked_bytes=int(data.max_unpacked_gib * 2**30),
            progress=partial(tracked, description="convert"),
        )
    report.write(prepared, warnings, **reports)
    cli.log.info("convert: %s, %d warnings (%s/warnings.csv)", prepared, len(warnings), prepared)


if __name__ == "__main__":
    main()
