"""One record, read, checked and encoded: a function of its files alone, with one image in memory."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maskline.convert import checks
from maskline.convert.label_faults import Rim, is_plain, rims
from maskline.convert.records import LayoutSettings, Record, SourceSet
from maskline.convert.splitting.near_duplicates import Fingerprint, fingerprint
from maskline.core.errors import DataError, DataProblemsError
from maskline.data.image_statistics import Sums, sums
from maskline.data.labels import LabelSet
from maskline.reading.as_trained import with_channels
from maskline.reading.bands import read_pixels

_ANNOTATIONS = (".json", ".xml")  # that masks are drawn from


@dataclass(slots=True, kw_only=True)
class Converted:
    """One record, converted.

    Args:
        id: Of the record.
        cells: Manifest cells but for split and place in a shard.
        parts: Encoded files by part.
        source: Bands of the image's file and the type of its values; None if it could not be read.
        sums: Of the image's channels, for their mean and deviation; empty if it could not be read.
        image_hash: Of the image's pixels; empty if it could not be read.
        fingerprint: Of the image; None if it could not be read or is too flat.
        plain: The mask is drawn from one simple outline, which may well be that of other images.
        rims: Classes of the mask that are but a rim between others.
        problems: What is wrong; the other fields are incomplete then.
        warnings: What is odd.
    """

    id: str
    cells: dict[str, Any] = field(default_factory=dict)
    parts: dict[str, bytes] = field(default_factory=dict)
    source: tuple[int, str] | None = None
    sums: Sums = field(default_factory=list)
    image_hash: str = ""
    fingerprint: Fingerprint | None = None
    plain: bool = False
    rims: list[Rim] = field(default_factory=list)
    problems: list[DataError] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def convert_record(record: Record, source: SourceSet, source_folder: Path, *, settings: LayoutSettings) -> Converted:
    """Read, check and encode one record; problems are in the result, never raised."""
    done = Converted(id=record.id)
    with _collected(done.problems, source_folder):
        read = read_pixels(
            record.image,
            exif=settings.exif,
            alpha=source.alpha or settings.alpha,
            channels=settings.channels,
            scale=settings.scale,
        )
        stored, pixels = read.pixels, with_channels(read.pixels)
        done.source, done.sums = (read.bands, read.type), sums(pixels)
        done.warnings += [read.remark] if read.remark else []
        done.warnings += [] if pixels.size == 0 or np.ptp(pixels) else ["an image of one value alone"]
        done.image_hash, done.fingerprint = checks.image_hash(pixels), fingerprint(pixels)
        if settings.channels is not None:  # one below the other in a gray PNG: a format for any number of them
            stored = pixels.transpose(2, 0, 1).reshape(-1, pixels.shape[1])
        done.parts["image"] = record.image.read_bytes() if read.kept else _png(stored)
        done.cells |= {
            "id": record.id,
            "group": record.group,
            "source": record.image.relative_to(source_folder).as_posix(),
            "height": pixels.shape[0],
            "width": pixels.shape[1],
        }
    shape = (done.cells["height"], done.cells["width"]) if done.image_hash else None
    for part, path in (("mask", record.mask), ("second", record.second)):
        if path is None:
            continue
        with _collected(done.problems, source_folder):
            mask = source.read_mask(path)
            _check_mask(done, mask, shape, labels=source.labels, place=_place(path, source_folder))
            done.parts[part] = _png(mask.astype(source.labels.mask_dtype))
            if part == "mask":
                _count(done, mask, path, labels=source.labels)
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


def _count(done: Converted, mask: NDArray[np.int32], path: Path, *, labels: LabelSet) -> None:
    classes = mask[(mask >= 0) & (mask < labels.num_classes)]
    counts = np.bincount(classes, minlength=labels.num_classes)
    ignored = int((mask == labels.ignore_index).sum())
    done.cells |= {f"pixels_{i}": int(count) for i, count in enumerate(counts)}
    done.cells["pixels_ignored"] = ignored
    done.rims = rims(mask, counts)
    done.plain = (path.suffix.lower() in _ANNOTATIONS or not path.is_file()) and is_plain(mask, counts)
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
