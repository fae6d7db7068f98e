"""Source archive to prepared data: every image checked, every problem listed, nothing dropped.

``convert_record`` is a function of one record and holds one image in memory; the caller writes what it returns in the
order of ids. So the prepared bytes do not depend on how many records are converted at a time.
"""

import io
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maskline.data import archives, checks, manifest, splits
from maskline.data.near_duplicates import Fingerprint, fingerprint, near_pairs
from maskline.data.pictures import read_image, to_rgb
from maskline.data.problems import write_csv
from maskline.data.records import Layout, LayoutSettings, Record, SourceSet
from maskline.data.shards import ShardWriter
from maskline.errors import DataError, DataProblemsError
from maskline.files import replace_folder
from maskline.labels import LabelSet

WARNINGS_NAME = "warnings.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitSettings:
    """How splits that the set lacks are made; see ``splits.assign``."""

    val_fraction: float
    test_fraction: float
    seed: int
    fold: int
    num_folds: int


@dataclass(slots=True, kw_only=True)
class Converted:
    """One record, converted.

    Args:
        id: Of the record.
        cells: Manifest cells but for split and place in a shard.
        parts: Encoded files by part.
        picture_hash: Of the image's pixels; empty if it could not be read.
        fingerprint: Of the image; None if it could not be read or is too flat.
        problems: What is wrong; the other fields are incomplete then.
        warnings: What is odd.
    """

    id: str
    cells: dict[str, Any] = field(default_factory=dict)
    parts: dict[str, bytes] = field(default_factory=dict)
    picture_hash: str = ""
    fingerprint: Fingerprint | None = None
    problems: list[DataError] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def convert_archive(
    archive: Path,
    prepared: Path,
    *,
    layout: Layout,
    settings: LayoutSettings,
    split: SplitSettings,
    max_unpacked_bytes: int,
    progress: Callable[[list[Record]], Iterable[Record]] = iter,
) -> list[tuple[str, str]]:
    """Unpack an archive, convert all of it, put the result in place of ``prepared`` and return (image id, remark).

    The remarks, such as on empty masks, are also written to ``prepared/warnings.csv``.

    Args:
        archive: The verified source archive.
        prepared: Folder to replace; it stays as it is on any error.
        layout: Finds records in the unpacked folder.
        settings: What the user says about the source.
        split: How missing splits are made.
        max_unpacked_bytes: A larger archive is refused.
        progress: Passes the records on and shows how far they are.

    Raises:
        DataProblemsError: All problems of all images.
        DataError: The archive or the whole set cannot be used.
        StorageError: ``prepared`` cannot be written.
    """
    with replace_folder(prepared) as part:
        source_folder = part / "source"
        source_folder.mkdir()
        archives.unpack(archive, source_folder, max_bytes=max_unpacked_bytes)
        source = layout(source_folder, settings)
        warnings = _convert_set(source, source_folder, part, settings=settings, split=split, progress=progress)
        shutil.rmtree(source_folder)
    return warnings


def _convert_set(
    source: SourceSet,
    source_folder: Path,
    target: Path,
    *,
    settings: LayoutSettings,
    split: SplitSettings,
    progress: Callable[[list[Record]], Iterable[Record]],
) -> list[tuple[str, str]]:
    records = sorted(source.records, key=lambda record: record.id)
    problems = [*source.problems, *checks.check_groups(records)]
    rows, hashes, prints, remarks, shards = [], {}, {}, [], ShardWriter(target)
    for record in progress(records):
        done = convert_record(record, source, source_folder, settings=settings)
        problems += done.problems
        if done.picture_hash:
            hashes[done.id] = done.picture_hash
        if done.fingerprint is not None:
            prints[done.id] = done.fingerprint
        remarks += [(done.id, warning) for warning in done.warnings]
        if not problems:
            rows.append({**done.cells, **shards.add(done.parts)})
    pairs = checks.same_pictures(hashes)
    near = [pair for pair in near_pairs(prints) if hashes[pair[0]] != hashes[pair[1]]]
    leaks, near_remarks = _leaks(records, source_folder, pairs=pairs, near=near, fatal=not source.published_splits)
    problems += leaks
    if not problems:
        problems += checks.check_classes(rows, source.labels)
    if problems:
        raise DataProblemsError("data set", problems)
    fractions = (0.0, 0.0) if source.published_splits else (split.val_fraction, split.test_fraction)
    chosen = splits.assign(
        records,
        val_fraction=fractions[0],
        test_fraction=fractions[1],
        seed=split.seed,
        fold=split.fold,
        num_folds=split.num_folds,
        same_picture=[*pairs, *near],
    )
    rows = [{**row, "split": chosen[row["id"]]} for row in rows]
    manifest.write(target, rows, source.labels)
    remarks += [(other, f"the same picture as {one}") for one, other in pairs]
    remarks += near_remarks + checks.missing_classes(rows, source.labels)
    remarks.sort()
    write_csv(target / WARNINGS_NAME, ("id", "warning"), remarks)
    return remarks


def _leaks(
    records: list[Record],
    source_folder: Path,
    *,
    pairs: list[tuple[str, str]],
    near: list[tuple[str, str]],
    fatal: bool,
) -> tuple[list[DataError], list[tuple[str, str]]]:
    """Return problems and remarks of equal and nearly equal pictures in two splits of the set's own.

    Nearly equal ones are remarks where ``fatal`` is false: nobody can mend the splits that a benchmark publishes.
    """
    places = {record.id: record.image.relative_to(source_folder).as_posix() for record in records}
    own = {record.id: record.split or "train" for record in records}
    problems = checks.check_leaks(pairs, own, places)
    close = checks.check_leaks(near, own, places, how="nearly the same picture as")
    if fatal:
        return problems + close, []
    return problems, [(other, f"nearly the same picture as {one}") for one, other in near if own[one] != own[other]]


def convert_record(record: Record, source: SourceSet, source_folder: Path, *, settings: LayoutSettings) -> Converted:
    """Read, check and encode one record; problems are in the result, never raised."""
    done = Converted(id=record.id)
    with _collected(done.problems, source_folder):
        picture, kept = read_image(record.image, exif=settings.exif, alpha=source.alpha or settings.alpha)
        pixels = to_rgb(picture)
        done.picture_hash, done.fingerprint = checks.picture_hash(pixels), fingerprint(pixels)
        done.parts["image"] = record.image.read_bytes() if kept else _png(np.array(picture))
        done.cells |= {
            "id": record.id,
            "group": record.group,
            "source": record.image.relative_to(source_folder).as_posix(),
            "height": pixels.shape[0],
            "width": pixels.shape[1],
        }
    shape = (done.cells["height"], done.cells["width"]) if done.picture_hash else None
    for part, path in (("mask", record.mask), ("second", record.second)):
        if path is None:
            continue
        with _collected(done.problems, source_folder):
            mask = source.read_mask(path)
            _check_mask(done, mask, shape, labels=source.labels, place=_place(path, source_folder))
            done.parts[part] = _png(mask.astype(source.labels.mask_dtype))
            if part == "mask":
                _count(done, mask, labels=source.labels)
    if record.valid is not None:
        with _collected(done.problems, source_folder):
            area = source.read_area(record.valid)
            if shape:
                done.problems += checks.check_size(area.shape, shape, place=_place(record.valid, source_folder))
            done.parts["valid"] = _png(area.astype(np.uint8) * 255)
    return done


def _check_mask(
    done: Converted, mask: NDArray[np.int32], shape: tuple[int, int] | None, *, labels: LabelSet, place: str
) -> None:
    if shape:
        done.problems += checks.check_size(mask.shape, shape, place=place)
    done.problems += checks.check_values(mask, labels, place=place)


def _count(done: Converted, mask: NDArray[np.int32], *, labels: LabelSet) -> None:
    classes = mask[(mask >= 0) & (mask < labels.num_classes)]
    counts = np.bincount(classes, minlength=labels.num_classes)
    ignored = int((mask == labels.ignore_index).sum())
    done.cells |= {f"pixels_{i}": int(count) for i, count in enumerate(counts)}
    done.cells["pixels_ignored"] = ignored
    done.warnings += checks.content_warnings(counts, ignored, labels=labels)


@contextmanager
def _collected(problems: list[DataError], root: Path) -> Iterator[None]:
    """Append a ``DataError`` of the block to ``problems``, with its file named relative to ``root``."""
    try:
        yield
    except DataProblemsError as error:
        problems += error.problems
    except FileNotFoundError as error:
        problems.append(DataError(_place(error.filename, root), "no such file", "put it there"))
    except DataError as error:
        problems.append(DataError(_place(error.place, root), error.problem, error.remedy))


def _place(path: str | Path, root: Path) -> str:
    return Path(path).relative_to(root).as_posix() if Path(path).is_relative_to(root) else str(path)


def _png(pixels: NDArray[Any]) -> bytes:
    """Encode (h, w) uint8, uint16 or (h, w, 3) uint8 as PNG."""
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, format="PNG")
    return sink.getvalue()
