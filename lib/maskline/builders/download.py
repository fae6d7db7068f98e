"""What to download, from the section data."""

from functools import partial
from pathlib import Path

from maskline.cli import guard
from maskline.core.own_code import file_of
from maskline.core.state_folder import user_path
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
        archive=user_path(params.archive) if params.archive else None,
        watched=_watched(params),
        url=params.url,
        sha256=params.sha256,
        published=catalog.published(params.name),
        draw=draw if catalog.is_drawn(params.name) else None,
    )


def _watched(params: DataParams) -> dict[str, Path]:
    """Return the user's own files that convert reads beside the data."""
    lists = {str(path): user_path(str(path)) for path in params.split_lists.files().values()}
    return lists | ({str(file_of(params.layout)): file_of(params.layout)} if params.layout else {})


def unwatched(params: DataParams) -> str | None:
    """Return why edits of the source would not be seen, as a line for the log; None: they are, or none are made."""
    if params.archive is None or guard.is_always_changed("download"):
        return None
    return (
        f"data.archive: edits of {params.archive} are not noticed; "
        "in dvc.yaml, add 'always_changed: true' to stages.download"
    )
