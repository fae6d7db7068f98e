"""params.yaml -> data/raw: fetch, draw or pack the source archive and verify it.

python -m stages.download
"""

import os
from functools import partial
from pathlib import Path

import click

from maskline import cli


@click.command()
@cli.params_option
@click.option("--raw", type=cli.PATH, default="data/raw", show_default=True, help="Written: the archive.")
@cli.stage
def main(params_path: Path, raw: Path) -> None:
    """Put the verified source archive into the raw folder.

    It is the archive or folder that data.archive names, else the file of that name in the folder that the
    environment variable MASKLINE_MIRROR names, else it is downloaded. synthetic_fundus is drawn.
    """
    from maskline.data import catalog, drawn
    from maskline.data.fetch import Order, downloads_folder, fetch
    from maskline.params import load

    settings = load(params_path).data
    drawing = settings.synthetic
    order = Order(
        name=settings.name,
        archive=Path(settings.archive) if settings.archive else None,
        url=settings.url,
        sha256=settings.sha256,
        published=catalog.published(settings.name),
        draw=partial(
            drawn.write_archive,
            num_train=drawing.num_train,
            num_test=drawing.num_test,
            size=drawing.size,
            seed=drawing.seed,
        )
        if catalog.is_drawn(settings.name)
        else None,
    )
    mirror = os.environ.get("MASKLINE_MIRROR")
    place = fetch(
        order,
        raw,
        mirror=Path(mirror) if mirror else None,
        downloads=downloads_folder(),
        max_unpacked_bytes=int(settings.max_unpacked_gib * 2**30),
    )
    cli.log.info("%s: %s -> %s", settings.name, place, raw)


if __name__ == "__main__":
    main()
