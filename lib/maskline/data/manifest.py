"""manifest.csv and labels.json: their columns, their schemas, reading and writing.

One row an image. Images and masks are encoded files, one behind the other in a few shards; the manifest says where.
"""

from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaErrors

from maskline.core.errors import DataError
from maskline.core.files import write_json, write_text
from maskline.core.text import cell, from_cell
from maskline.data.image_statistics import KEY, ImageStatistics
from maskline.data.labels import LabelSet

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")

MANIFEST_NAME = "manifest.csv"
LABELS_NAME = "labels.json"

PARTS = ("image", "mask", "valid", "second")
"""Encoded files of a row; ``valid`` and ``second`` may be absent (0 bytes)."""

_NAMES = ["id", "group", "source"]
_SHA256 = r"[0-9a-f]{64}"
_REMEDY = "run the convert stage again (dvc repro --force convert)"


def columns(num_classes: int) -> list[str]:
    """Return the manifest's columns in order."""
    parts = [f"{part}_{what}" for part in PARTS for what in ("offset", "bytes", "sha256")]
    counts = [*(f"pixels_{i}" for i in range(num_classes)), "pixels_ignored"]
    return ["id", "split", "group", "source", "height", "width", "shard", *parts, *counts]


def manifest_schema(num_classes: int) -> pa.DataFrameSchema:
    """Return the schema of manifest.csv for a set of ``num_classes``."""
    text = {name: pa.Column(str, pa.Check.str_length(min_value=1), unique=name == "id") for name in _NAMES}
    fields: dict[str, Any] = {
        **text,
        "split": pa.Column(str, pa.Check.isin(SPLITS)),
        "shard": pa.Column(str, pa.Check.str_matches(r"^shard-\d{5}\.bin$")),
        "height": pa.Column(int, pa.Check.ge(1)),
        "width": pa.Column(int, pa.Check.ge(1)),
    }
    for part in PARTS:
        needed = part in ("image", "mask")
        fields[f"{part}_offset"] = pa.Column(int, pa.Check.ge(0))
        fields[f"{part}_bytes"] = pa.Column(int, pa.Check.ge(1 if needed else 0))
        fields[f"{part}_sha256"] = pa.Column(str, pa.Check.str_matches(f"^{_SHA256}$" if needed else f"^({_SHA256})?$"))
    counts = [name for name in columns(num_classes) if name.startswith("pixels_")]
    fields |= {name: pa.Column(int, pa.Check.ge(0)) for name in counts}
    whole = [
        pa.Check(
            lambda frame: frame[counts].sum(axis=1) == frame["height"] * frame["width"],
            error="pixel counts do not sum to height x width",
        ),
        pa.Check(lambda frame: frame.groupby("group")["split"].transform("nunique") == 1, error="group in two splits"),
        pa.Check(_is_sorted, error="rows are not sorted by split and id"),
    ]
    return pa.DataFrameSchema({name: fields[name] for name in columns(num_classes)}, checks=whole, strict=True)


def label_schema() -> pa.DataFrameSchema:
    """Return the schema of labels.json as a table: one row a class."""
    byte = pa.Check.in_range(0, 255)
    return pa.DataFrameSchema(
        {
            "id": pa.Column(int, unique=True),
            "name": pa.Column(str, pa.Check.str_length(min_value=1), unique=True),
            **{name: pa.Column(int, byte) for name in ("red", "green", "blue")},
        },
        checks=pa.Check(lambda frame: frame["id"] == list(range(len(frame))), error="ids are not 0, 1, 2, ..."),
        strict=True,
    )


def label_table(labels: LabelSet) -> pd.DataFrame:
    """Return labels as a table: id, name, red, green, blue."""
    rows = [(i, name, *labels.palette[i]) for i, name in enumerate(labels.class_names)]
    return pd.DataFrame(rows, columns=["id", "name", "red", "green", "blue"])


def write(
    folder: Path, rows: list[dict[str, Any]], labels: LabelSet, *, statistics: ImageStatistics | None = None
) -> None:
    """Check rows and labels, sort the rows by (split, id) and write both files.

    Raises:
        DataError: They do not fit their schemas.
    """
    frame = pd.DataFrame(rows, columns=columns(labels.num_classes)).sort_values(["split", "id"], ignore_index=True)
    _validate(frame, manifest_schema(labels.num_classes), folder / MANIFEST_NAME)
    _validate(label_table(labels), label_schema(), folder / LABELS_NAME)
    frame[_NAMES] = frame[_NAMES].map(cell)
    write_text(folder / MANIFEST_NAME, frame.to_csv(index=False, lineterminator="\n"))
    more = {} if statistics is None else {KEY: statistics.to_dict()}
    write_json(folder / LABELS_NAME, {**labels.to_dict(), **more})


def read(folder: Path) -> tuple[pd.DataFrame, LabelSet]:
    """Read and check both files.

    Raises:
        DataError: A file is missing or does not fit its schema.
    """
    labels = LabelSet.read(folder / LABELS_NAME)
    path = folder / MANIFEST_NAME
    text = ["id", "split", "group", "source", "shard", *(f"{part}_sha256" for part in PARTS)]
    try:
        frame = pd.read_csv(path, dtype=dict.fromkeys(text, str), keep_default_na=False)
    except FileNotFoundError as error:
        raise DataError(path, "no such file", "run the convert stage first (dvc repro convert)") from error
    except ValueError as error:  # pandas' parser errors are such
        raise DataError(path, f"not a manifest ({error})", _REMEDY) from error
    odd = sorted(set(frame.columns) ^ set(columns(labels.num_classes)))
    if odd:
        raise DataError(path, f"columns missing or not known: {', '.join(odd)}", _REMEDY)
    frame[_NAMES] = frame[_NAMES].map(from_cell)
    _validate(label_table(labels), label_schema(), folder / LABELS_NAME)
    _validate(frame, manifest_schema(labels.num_classes), path)
    return frame, labels


def scored_split(folder: Path, wanted: Literal["auto", "train", "val", "test"]) -> Split:
    """Return the split of a prepared folder that is scored.

    Args:
        folder: The prepared data.
        wanted: auto: test, or val where there is no test split.

    Raises:
        DataError: Neither has images; or as ``read``.
    """
    if wanted != "auto":
        return wanted
    there = set(read(folder)[0]["split"])
    for split in ("test", "val"):
        if split in there:
            return split
    raise DataError(
        folder / MANIFEST_NAME,
        "no images in the splits test and val: nothing to score",
        "raise data.test_fraction or data.val_fraction, or set evaluate.split to train",
    )


def _is_sorted(frame: pd.DataFrame) -> bool:
    keys = list(zip(frame["split"], frame["id"], strict=True))
    return keys == sorted(keys)


def _validate(frame: pd.DataFrame, schema: pa.DataFrameSchema, place: Path) -> None:
    try:
        schema.validate(frame, lazy=True)
    except SchemaErrors as errors:
        cases = errors.failure_cases
        first = cases.sort_values("schema_context", kind="stable").iloc[0]  # of a column before of the whole table
        line = "" if pd.isna(first["index"]) else f" line {int(first['index']) + 2}"
        column = f" {first['column']}" if first["schema_context"] == "Column" else ""
        problem = f"{first['check']} fails for {first['failure_case']!r}"
        raise DataError(f"{place}{line}{column}", problem, _REMEDY) from errors
