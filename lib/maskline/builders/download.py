"""What to download, from the section data."""

from functools import partial
from pathlib import Path

from maskline.download import catalog
from maskline.download.fetch import Order
from maskline.download.synthetic import archive
from maskline.params.data import DataParams


def build_order(params: DataParams) -> Order:
    """Return which archive is wanted, and where it may come from."""
    drawing = params.synthetic
    draw = partial(
        archive.write_archive,
        num_train=drawing.num_train,
        num_test=drawing.num_test,
        size=drawing.size,
        seed=drawing.seed,
    )
    return Order(
        name=params.name,
        archive=Path(params.archive) if params.archive else None,
        url=params.url,
        sha256=params.sha256,
        published=catalog.published(params.name),
        draw=draw if catalog.is_drawn(params.name) else None,
    )
