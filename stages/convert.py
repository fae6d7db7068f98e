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
    from maskline.data.convert import SplitSettings, Work, convert_archive
    from maskline.data.layouts import layout, layout_key, own_layout
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
        channels=data.channels,
        scale=data.image_scale,
    )
    split = SplitSettings(
        val_fraction=data.val_fraction,
        test_fraction=data.test_fraction,
        seed=data.split_seed,
        fold=data.fold,
        num_folds=data.num_folds,
        stratify=data.stratify,
        own=data.own_splits,
        lists=data.split_lists.files(),
        near_duplicates=data.near_duplicates,
    )
    work = Work(
        workers=data.convert_workers,
        finished=problems_file().parent / "convert",
        layout_key=layout_key(data.layout or data.name),
        progress=partial(tracked, description="convert"),
    )
    with listed_problems(problems_file()):
        warnings = convert_archive(
            source_archive(raw),
            prepared,
            layout=own_layout(data.layout) if data.layout else layout(data.name),
            settings=settings,
            split=split,
            work=work,
            max_unpacked_bytes=int(data.max_unpacked_gib * 2**30),
        )
    report.write(prepared, warnings, **reports)
    cli.log.info("convert: %s, %d warnings (%s/warnings.csv)", prepared, len(warnings), prepared)


if __name__ == "__main__":
    main()
