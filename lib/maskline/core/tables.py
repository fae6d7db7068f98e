"""CSV tables that a run wrote and that somebody may have changed since."""

import csv
import io
from pathlib import Path

from maskline.core.errors import DataError


def read_rows(path: Path, *, remedy: str) -> list[dict[str, str]]:
    """Return the rows of a table by column; of one that is cut off, some are None.

    Raises:
        DataError: Not UTF-8, or as ``parse_rows``.
        FileNotFoundError: No such file.
    """
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise DataError(path, f"damaged table ({error})", remedy) from error
    return parse_rows(text, place=path, remedy=remedy)


def parse_rows(text: str, *, place: object, remedy: str) -> list[dict[str, str]]:
    """Return what ``read_rows`` does of a table's text.

    Raises:
        DataError: No table, such as one with a cell that is longer than any.
    """
    try:
        return list(csv.DictReader(io.StringIO(text, newline="")))
    except csv.Error as error:
        raise DataError(place, f"damaged table ({error})", remedy) from error
