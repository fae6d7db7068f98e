"""Texts, JSON and XML that others wrote, read so that a hostile file ends in an error."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from maskline.core import yaml_text
from maskline.core.errors import DataError

MOST_BYTES = 2 * 2**30
"""A larger file is refused: it is read as a whole."""

_MOST_DEPTH = 100  # of XML; Python's JSON has a bound of its own


def load_json(path: Path, place: object) -> Any:
    """Return the content of a JSON file.

    Raises:
        DataError: Too large, too deep, not UTF-8, or no JSON.
    """
    _check_size(path, place)
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:  # as older tools write it where the system's encoding is another
        problem = (
            f"not UTF-8 (byte {error.object[error.start]:#x} at {error.start}), maybe of another encoding such as GBK"
        )
        raise DataError(place, problem, "save it as UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise DataError(place, f"not JSON ({error})", "replace the file") from error


def load_xml(path: Path, place: object) -> Element:
    """Return the root of an XML file; one that declares a document type is refused, for its entities can be a bomb.

    Raises:
        DataError: Too large, too deep, with a document type, or no XML.
    """
    _check_size(path, place)
    builder, depth = TreeBuilder(), 0
    parser = expat.ParserCreate()

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _MOST_DEPTH:
            raise ValueError("too many levels")
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    def refuse(*_: object) -> None:
        raise ValueError("it declares a document type")

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = builder.data, refuse
    try:
        with path.open("rb") as stream:
            parser.ParseFile(stream)
        return builder.close()
    except (expat.ExpatError, ValueError, AssertionError) as error:
        raise DataError(place, f"not XML ({error})", "replace the file") from error


def load_yaml(path: Path, place: object) -> Any:
    """Return the content of a YAML file.

    Raises:
        DataError: No YAML, or too much of it.
    """
    return yaml_text.read(path, place=place, error=DataError, encoding="utf-8-sig")


def load_lines(path: Path) -> list[str]:
    """Return the lines of a text, such as a list of names, without the mark (BOM) that Windows' editors begin it with.

    Bytes that are not UTF-8 are U+FFFD.
    """
    return path.read_text(encoding="utf-8-sig", errors="replace").splitlines()


@contextmanager
def form_of(tool: str, place: PurePosixPath | str) -> Iterator[None]:
    """Turn what Python raises on a document of another form into a ``DataError`` at ``place``."""
    try:
        yield
    except DataError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        raise DataError(place, f"not a file of {tool} ({error!r})", "export it again") from error


def _check_size(path: Path, place: object) -> None:
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise DataError(place, f"{size >> 20} MiB in one file", "export the set in parts")
