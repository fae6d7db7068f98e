"""How to convert, from the sections data and machine."""

import logging
from functools import partial
from pathlib import Path

from maskline.cli.guard import check_watched
from maskline.convert.archive import SplitSettings, Work
from maskline.convert.layouts import layout, layout_key, own_layout
from maskline.convert.pairing import PairNames
from maskline.convert.records import Layout, LayoutSettings, MaskValue
from maskline.core.own_code import file_of
from maskline.core.state_folder import user_path
from maskline.download.listing import ListedFolder, source
from maskline.download.progress import tracked
from maskline.params.data import DataParams, parsed_values

log = logging.getLogger("maskline")

_IGNORE, _LARGEST_IGNORE = 255, 65535  # of prepared masks


def build_source(params: DataParams, raw: Path) -> Path | ListedFolder:
    """Return the archive in the output of the download stage, or the folder that its listing is of.

    Raises:
        DataError: Neither is there.
    """
    return source(raw, user_path(params.archive) if params.archive else None)


def build_layout(params: DataParams) -> Layout:
    """Return the function that finds a set's files: that of the set, or the user's own.

    Raises:
        ParamsError: The user's own cannot be loaded, or is no dep of the stage.
    """
    if params.mask_values and not params.reads_mask_values:
        log.warning("convert: data.mask_values is not read by data.name %s, whose values are known", params.name)
    if params.layout is None:
        return layout(params.name)
    check_watched({"data.layout": file_of(params.layout)})
    return own_layout(params.layout)


def layout_settings(params: DataParams) -> LayoutSettings:
    """Return what the user says about the source."""
    return LayoutSettings(
        classes=tuple((entry.name, entry.color) for entry in params.classes),
        ignore_index=params.ignore_index if 2 <= params.ignore_index <= _LARGEST_IGNORE else _IGNORE,
        mask_ignore=params.ignore_index,
        mask_values=tuple(MaskValue(*line) for line in parsed_values(params.mask_values)),
        line_width=params.line_width,
        mask_encoding=params.mask_encoding,
        exif=params.exif,
        alpha=params.alpha,
        channels=params.channels,
        scale=params.image_scale,
        names=PairNames(
            image_dir=params.image_dir,
            mask_dir=params.mask_dir,
            image_suffix=params.image_suffix,
            mask_suffix=params.mask_suffix,
            image_prefix=params.image_prefix,
            mask_prefix=params.mask_prefix,
        ),
    )


def split_settings(params: DataParams) -> SplitSettings:
    """Return how images are split.

    Raises:
        ParamsError: A list that is no dep of the stage.
    """
    lists = params.split_lists.files()
    check_watched({f"data.split_lists.{split}": path for split, path in lists.items()})
    return SplitSettings(
        val_fraction=params.val_fraction,
        test_fraction=params.test_fraction,
        seed=params.split_seed,
        fold=params.fold,
        num_folds=params.num_folds,
        stratify=params.stratify,
        own=params.own_splits,
        lists=params.split_lists.given() | {split: user_path(str(path)) for split, path in lists.items()},
        train_images=params.train_images,
        near_duplicates=params.near_duplicates,
    )


def build_work(params: DataParams, *, workers: int, finished: Path) -> Work:
    """Return how the work is done.

    Args:
        params: The section data.
        workers: Processes.
        finished: Folder of what an interrupted run had finished.
    """
    return Work(
        workers=workers,
        finished=finished,
        layout_key=layout_key(params.layout or params.name),
        progress=partial(tracked, description="convert"),
    )
