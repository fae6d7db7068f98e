"""data/raw -> data/prepared: every image checked, masks to class ids, splits by group, a few shards.

python -m stages.convert
"""

from pathlib import Path

import click

from maskline.cli.entry import PATH, OneLineCommand, log, params_option, stage


@click.command(cls=OneLineCommand)
@params_option
@click.option("--raw", type=PATH, default="data/raw", show_default=True, help="The source archive, or a listing.")
@click.option("--prepared", type=PATH, default="data/prepared", show_default=True, help="Written: the data set.")
@click.option(
    "--summary", type=PATH, default="reports/convert/summary.json", show_default=True, help="Written: counts."
)
@click.option(
    "--class-shares",
    type=PATH,
    default="reports/convert/class_shares.csv",
    show_default=True,
    help="Written: pixels of each class in each split.",
)
@click.option(
    "--sizes", type=PATH, default="reports/convert/sizes.csv", show_default=True, help="Written: image sizes."
)
@click.option(
    "--grid", type=PATH, default="reports/convert/grid.png", show_default=True, help="Written: images and masks."
)
@stage
def main(params_path: Path, raw: Path, prepared: Path, **reports: Path) -> None:
    """Check and convert the source; all problems are listed at once, and the former data stays."""
    from maskline.builders import convert as builders
    from maskline.convert.archive import convert_archive
    from maskline.convert.checks import on_the_set
    from maskline.convert.problems import listed_problems, problems_file
    from maskline.core.state_folder import state_folder
    from maskline.params.base.reading import load_sections
    from maskline.params.stages.convert import ConvertStage
    from maskline.report import convert as report

    params = load_sections(params_path, ConvertStage)
    with listed_problems(problems_file()):
        warnings = convert_archive(
            builders.build_source(params.data, raw),
            prepared,
            layout=builders.build_layout(params.data),
            settings=builders.layout_settings(params.data),
            split=builders.split_settings(params.data),
            work=builders.build_work(
                params.data, workers=params.machine.convert_workers, finished=state_folder("convert")
            ),
            max_unpacked_bytes=params.data.max_unpacked_bytes,
        )
    report.write(prepared, warnings, **reports)
    for line in on_the_set(warnings):
        log.warning(line)
    log.info("convert: %s, %d warnings (%s/warnings.csv)", prepared, len(warnings), prepared)


if __name__ == "__main__":
    main()
