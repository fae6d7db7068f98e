"""What predict writes: a folder by kind of result, a table, and a note of whose results these are.

An image is done when its row is in the table and its files are there; the row comes last. So a run that was
stopped at any moment goes on where it was.
"""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskline.core.errors import DataError
from maskline.core.files import parse_rows, replace_file, storage_errors, write_json, write_text
from maskline.core.text import cell, from_cell
from maskline.data.labels import LabelSet
from maskline.predict.image_inputs import Source
from maskline.predict.png_rows import PngWriter
from maskline.predict.result import SUFFIXES, Result
from maskline.predict.tiff import geo_tags

NOTE_FILE = "predict.json"
TABLE_FILE = "shares.csv"

STREAMED = ("index", "palette")
"""Kinds that can be written by rows."""


class PredictionFolder:
    """Results of one model.

    Args:
        out: The folder; made if it is missing.
        labels: The model's classes.
        kinds: Keys of ``SUFFIXES`` to write.
        made_by: What the results depend on besides the images, as plain types.

    Raises:
        DataError: ``out`` holds something else, or results of another model.
    """

    def __init__(self, out: Path, labels: LabelSet, *, kinds: Sequence[str], made_by: Mapping[str, Any]) -> None:
        self._out, self._labels, self._kinds = out, labels, kinds
        self._columns = ["name", "source", "sha256", "height", "width", *(f"share_{key}" for key in labels.keys)]
        note = out / NOTE_FILE
        if note.is_file():
            if _content(note) != made_by:
                raise DataError(note, "results of another model or setting", "give another folder with -o")
        elif out.is_dir() and any(out.iterdir()):
            raise DataError(out, "not empty, and nothing that predict wrote", "give another folder with -o")
        else:
            write_json(note, made_by)
        self._rows = self._read_table()
        self._write_table()  # without a line that was cut off

    def is_done(self, source: Source, sha256: str) -> bool:
        """Whether all results of this very file are there."""
        row = self._rows.get(source.name)
        return row is not None and row["sha256"] == sha256 and all(self._path(k, source).is_file() for k in self._kinds)

    def write(self, source: Source, sha256: str, result: Result) -> None:
        """Write what a model sees in one image.

        Args:
            source: The image.
            sha256: Of its file.
            result: Of this image.
        """
        tags = geo_tags(source.path) if any(kind.endswith("-tif") for kind in self._kinds) else None
        for kind in self._kinds:
            result.save(self._path(kind, source), kind=kind, tags=tags)
        counts = np.bincount(result.classes.reshape(-1), minlength=self._labels.num_classes)
        self._add_row(source, sha256, result.classes.shape, counts)

    def write_rows(
        self, source: Source, sha256: str, size: tuple[int, int], bands: Iterable[NDArray[np.uint8]]
    ) -> None:
        """Write the class map of one image band by band; of the kinds, index and palette.

        Args:
            source: The image.
            sha256: Of its file.
            size: Height and width, px.
            bands: Class ids of whole rows, from top to bottom.
        """
        assert set(self._kinds) <= set(STREAMED), "other kinds need the whole image"
        counts = np.zeros(self._labels.num_classes, dtype=np.int64)
        with ExitStack() as stack:
            writers = []
            for kind in self._kinds:
                part = stack.enter_context(replace_file(self._path(kind, source)))
                stream = stack.enter_context(part.open("wb"))
                palette = self._labels.palette if kind == "palette" else None
                writers.append(PngWriter(stream, size, palette=palette))
            for rows in bands:
                counts += np.bincount(rows.reshape(-1), minlength=self._labels.num_classes)
                for writer in writers:
                    writer.write(rows)
            for writer in writers:
                writer.finish()
        self._add_row(source, sha256, size, counts)

    def _add_row(self, source: Source, sha256: str, size: tuple[int, ...], counts: NDArray[np.int64]) -> None:
        shares = (f"{n / counts.sum():.6f}" for n in counts)
        cells = [cell(source.name), cell(str(source.path)), sha256, *size, *shares]
        self._rows[source.name] = dict(zip(self._columns, map(str, cells), strict=True))
        table = self._out / TABLE_FILE
        with storage_errors(table), table.open("a", encoding="utf-8", newline="") as stream:
            csv.DictWriter(stream, self._columns, lineterminator="\n").writerow(self._rows[source.name])

    def finish(self) -> None:
        """Sort the table by name."""
        self._write_table()

    def _path(self, kind: str, source: Source) -> Path:
        return self._out / kind / f"{source.name}{SUFFIXES[kind]}"

    def _read_table(self) -> dict[str, dict[str, str]]:
        path = self._out / TABLE_FILE
        if not path.is_file():
            return {}
        text = path.read_text(encoding="utf-8", errors="replace")
        whole = text[: text.rfind("\n") + 1]
        rows = parse_rows(whole, place=path, remedy="remove it to do all images again, or give another folder with -o")
        return {from_cell(row["name"]): row for row in rows if list(row) == self._columns and None not in row.values()}

    def _write_table(self) -> None:
        stream = io.StringIO()
        writer = csv.DictWriter(stream, self._columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._rows[name] for name in sorted(self._rows))
        write_text(self._out / TABLE_FILE, stream.getvalue())


def _content(note: Path) -> Any:
    try:
        return json.loads(note.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(note, f"not what predict wrote ({error})", "give another folder with -o") from error
