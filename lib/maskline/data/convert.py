"""Source archive to prepared data: every image checked, every problem listed, nothing dropped.

``convert_record`` is a function of one record and holds one image in memory; the caller writes what it returns in the
order of ids. So the prepared bytes do not depend on how many records are converted at a time.
"""

import csv
import io
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maskline.data import archives, checks, manifest, splits
from maskline.data.pictures import read_image, to_rgb
from maskline.data.records import Layout, LayoutSettings, Record, SourceSet
from maskline.data.shards import ShardWriter
from maskline.errors import DataError, DataProblemsError, StorageError
from maskline.files import replace_folder, write_text
from maskline.labels import LabelSet

WARNINGS_NAME = "warnings.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitSettings:
    """How splits that the set lacks are made; see ``splits.assign``."""

    val_fraction: float
    test_fraction: float
    seed: int


@dataclass(slots=True, kw_only=True)
class Converted:
    """One record, converted.

    Args:
        id: Of the record.
        cells: Manifest cells but for split and place in a shard.
        parts: Encoded files by part.
        picture_hash: Of the image's pixels; empty if it could not be read.
        problems: What is wrong; the other fields are incomplete then.
        warnings: What is odd.
    """

    id: str
    cells: dict[str, Any] = field(default_factory=dict)
    parts: dict[str, bytes] = field(default_factory=dict)
    picture_hash: str = ""
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
    rows, hashes, remarks, shards = [], {}, [], ShardWriter(target)
    for record in progress(records):
        done = convert_record(record, source, source_folder, settings=settings)
        problems += done.problems
        if done.picture_hash:
            hashes[done.id] = done.picture_hash
        remarks += [(done.id, warning) for warning in done.warnings]
        if not problems:
            rows.append({**done.cells, **shards.add(done.parts)})
    pairs = checks.same_pictures(hashes)
    places = {record.id: record.image.relative_to(source_folder).as_posix() for record in records}
    problems += checks.check_leaks(pairs, {record.id: record.split or "train" for record in records}, places)
    if problems:
        raise DataProblemsError("data set", problems)
    chosen = splits.assign(
        records,
        val_fraction=0.0 if source.published_splits else split.val_fraction,
        test_fraction=0.0 if source.published_splits else split.test_fraction,
        seed=split.seed,
        same_picture=pairs,
    )
    manifest.write(target, [{**row, "split": chosen[row["id"]]} for row in rows], source.labels)
    remarks += [(other, f"the same picture as {one}") for one, other in pairs]
    remarks.sort()
    write_csv(target / WARNINGS_NAME, ("id", "warning"), remarks)
    return remarks


def problems_file() -> Path:
    """Return where all problems of a failed conversion are listed: outside of DVC's outs, which keep their content."""
    return Path(os.environ.get("DVC_ROOT", ".")) / ".maskline" / "convert_problems.csv"


@contextmanager
def listed_problems(target: Path) -> Iterator[None]:
    """Write the problems of a ``DataError`` of the block to ``target`` as CSV; remove it if the block ends well."""
    try:
        yield
    except DataError as error:
        problems = error.problems if isinstance(error, DataProblemsError) else (error,)
        rows = [(problem.place, problem.problem, problem.remedy) for problem in problems]
        with suppress(StorageError):  # the problems themselves matter more
            write_csv(target, ("place", "problem", "remedy"), rows)
        raise
    target.unlink(missing_ok=True)


def write_csv(target: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write rows of text as CSV, whole or not at all."""
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_text(target, sink.getvalue())


def convert_record(record: Record, source: SourceSet, source_folder: Path, *, settings: LayoutSettings) -> Converted:
    """Read, check and encode one record; problems are in the result, never raised."""
    done = Converted(id=record.id)
    with _collected(done.problems, source_folder):
        picture, kept = read_image(record.image, exif=settings.exif, alpha=source.alpha or settings.alpha)
        pixels = to_rgb(picture)
        done.picture_hash = checks.picture_hash(pixels)
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
