"""params.yaml -> data/raw: the source archive, fetched or drawn and verified, or the listing of a folder.

python -m stages.download
"""

import os
from pathlib import Path

import click

from maskline.cli.entry import PATH, OneLineCommand, log, params_option, stage


@click.command(cls=OneLineCommand)
@params_option
@click.option(
    "--raw", type=PATH, default="data/raw", show_default=True, help="Written: the archive, or a folder's listing."
)
@stage
def main(params_path: Path, raw: Path) -> None:
    """Put the verified source archive into the raw folder; of a folder that data.archive names, a listing.

    It is the archive that data.archive names, else the file of that name in the folder that the
    environment variable MASKLINE_MIRROR names, else it is downloaded. synthetic_fundus is drawn.
    """
    from maskline.builders.download import build_order, unwatched
    from maskline.download.fetch import fetch
    from maskline.download.published_file import downloads_folder
    from maskline.params.base.reading import load_sections
    from maskline.params.stages.download import DownloadStage

    data = load_sections(params_path, DownloadStage).data
    mirror = os.environ.get("MASKLINE_MIRROR")
    place = fetch(
        build_order(data),
        raw,
        mirror=Path(mirror) if mirror else None,
        downloads=downloads_folder(),
        max_unpacked_bytes=data.max_unpacked_bytes,
    )
    if line := unwatched(data):
        log.warning(line)
    log.info("%s: %s -> %s", data.name, place, raw)


if __name__ == "__main__":
    main()
