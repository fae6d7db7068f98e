"""What convert made, for people: counts, class shares, sizes, and a grid of images with their masks."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from maskline.core.files import write_json, write_text
from maskline.core.text import chart_cell
from maskline.data import manifest
from maskline.data.dataset import PreparedSplit, Sample
from maskline.data.labels import LabelSet
from maskline.data.manifest import SPLITS
from maskline.report import overlays
from maskline.report.overlays import fit, overlay, save_png

_DECIMALS = 6
_TILE_PX = 200
_IMAGES = 2  # of each split
_MOST_SIZES = 40


def write(
    prepared: Path,
    warnings: Sequence[tuple[str, str]],
    *,
    summary: Path,
    class_shares: Path,
    sizes: Path,
    grid: Path,
) -> None:
    """Write the four files of the report.

    Args:
        prepared: The prepared data.
        warnings: (image id, remark), as convert found them.
        summary: JSON: images and groups a split (what DVC draws), share of each class, number of each remark.
        class_shares: CSV: split, class, pixels, share of the split's pixels that count, images with the class.
        sizes: CSV: size, width, height, images.
        grid: PNG: images of each split, with masks laid over them, and the second observer's where there is one.
    """
    frame, labels = manifest.read(prepared)
    write_json(summary, _summary(frame, labels, warnings))
    _write_table(class_shares, _class_shares(frame, labels))
    _write_table(sizes, _sizes(frame))
    second = bool((frame["second_bytes"] > 0).any())
    tiles = _tiles(prepared, frame, second=second)
    save_png(grid, overlays.grid(tiles, columns=_IMAGES * (3 if second else 2), labels=labels))


def _summary(frame: pd.DataFrame, labels: LabelSet, warnings: Sequence[tuple[str, str]]) -> dict[str, Any]:
    by_split = {split: frame[frame["split"] == split] for split in SPLITS}
    pixels = [int(frame[f"pixels_{i}"].sum()) for i in range(labels.num_classes)]
    ignored = int(frame["pixels_ignored"].sum())
    shares = [round(count / max(sum(pixels), 1), _DECIMALS) for count in pixels]
    kinds = _kinds(warnings)
    return {
        "splits": [
            {"split": split, "images": len(rows), "groups": int(rows["group"].nunique())}
            for split, rows in by_split.items()
        ],
        "class_share": dict(zip(labels.keys, shares, strict=True)),
        "ignored_share": round(ignored / (sum(pixels) + ignored), _DECIMALS),
        "with_second_annotator": int((frame["second_bytes"] > 0).sum()),
        "with_valid_area": int((frame["valid_bytes"] > 0).sum()),
        "warnings": {"total": len(warnings), **dict(sorted(kinds.items()))},
    }


def _kinds(warnings: Sequence[tuple[str, str]]) -> Counter[str]:
    """Count remarks by their kind; of one that begins with a number, that many."""
    kinds: Counter[str] = Counter()
    for _, remark in warnings:
        number, _, rest = remark.partition(" ")
        kinds[_slug(rest if number.isdigit() else remark)] += int(number) if number.isdigit() else 1
    return kinds


def _slug(remark: str) -> str:
    """Return the kind of a remark as a metric's name; the other image of an equal pair is left out."""
    kind = re.sub(r"[^a-z0-9]+", "_", remark.lower().split(" as ")[0])
    return kind.replace("the_same_image", "the_same_picture")  # the name that it has had in metrics


def _class_shares(frame: pd.DataFrame, labels: LabelSet) -> pd.DataFrame:
    rows = []
    for split in SPLITS:
        part = frame[frame["split"] == split]
        counts = [int(part[f"pixels_{i}"].sum()) for i in range(labels.num_classes)]
        for i, name in enumerate(labels.class_names):
            share = round(counts[i] / max(sum(counts), 1), _DECIMALS)
            rows.append((split, chart_cell(name), counts[i], share, int((part[f"pixels_{i}"] > 0).sum())))
    return pd.DataFrame(rows, columns=["split", "class", "pixels", "share", "images"])


def _sizes(frame: pd.DataFrame) -> pd.DataFrame:
    """Count images by size; sizes are rounded down to a step of 2, 4, 8, ... px if there are too many."""
    step = 1
    while True:
        counts = Counter(zip(frame["width"] // step * step, frame["height"] // step * step, strict=True))
        if len(counts) <= _MOST_SIZES:
            break
        step *= 2
    rows = [(f"{width}x{height}", width, height, count) for (width, height), count in sorted(counts.items())]
    return pd.DataFrame(rows, columns=["size", "width", "height", "images"])


def _tiles(prepared: Path, frame: pd.DataFrame, *, second: bool) -> list[tuple[str, np.ndarray]]:
    tiles = []
    for name in SPLITS:
        if not (frame["split"] == name).any():
            continue
        split = PreparedSplit.open(prepared, name, cache="stream")
        chosen = np.unique(np.linspace(0, len(split) - 1, _IMAGES).round().astype(int))
        for i in chosen:
            tiles += _sample_tiles(split.sample(int(i)), split.labels, name, second=second)
    return tiles


def _sample_tiles(sample: Sample, labels: LabelSet, split: str, *, second: bool) -> list[tuple[str, np.ndarray]]:
    """Return the image, its mask over it, and where a set has them the second observer's mask, or an empty tile."""
    (image, brighter), mask = overlays.stretched(sample.image), sample.mask.copy()
    if sample.valid is not None:
        mask[~sample.valid] = labels.ignore_index
    caption = f"{split}: {sample.id}" + (" (brightened)" if brighter else "")
    tiles = [(caption, fit(image, _TILE_PX)), ("mask", fit(overlay(image, mask, labels), _TILE_PX))]
    if not second:
        return tiles
    if sample.second is None:
        return [*tiles, ("", np.full_like(tiles[0][1], 255))]
    return [*tiles, ("second observer", fit(overlay(image, sample.second, labels), _TILE_PX))]


def _write_table(path: Path, table: pd.DataFrame) -> None:
    write_text(path, table.to_csv(index=False, lineterminator="\n"))
