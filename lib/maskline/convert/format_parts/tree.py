"""What a folder holds, looked at once, so that each format can say whether it is its own."""

import re
from collections.abc import Callable
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree.ElementTree import Element

from maskline.convert.format_parts.documents import load_json, load_xml
from maskline.convert.format_parts.finding import visible_files
from maskline.core.errors import DataError

NAME_LIST = r"(?:labelmap|class_names|labels)\.txt"
"""Pattern of the lists of class names that tools write, and that published sets do not have."""

_MOST_FILES = 8  # looked into of a kind: the others are alike

Load = Callable[[Path, object], Any]


class Tree:
    """The files of a folder.

    Args:
        folder: Where they are.

    Attributes:
        folder: Where they are.
        places: Path below the folder of each file that is not hidden, in their order.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.places = [place for _, place in visible_files(folder)]

    @cached_property
    def _text(self) -> str:
        return "\n".join(["", *(place.as_posix() for place in self.places), ""])

    def first(self, pattern: str) -> str | None:
        """Return the first path that ends like ``pattern``, a regular expression without regard to letter case.

        The pattern begins at the name of a folder or of the file, and has ``[^/]`` for any letter.
        """
        inside = pattern.replace("[^/]", r"[^/\n]")
        found = re.search(rf"^(?:.*/)?({inside})$", self._text, re.IGNORECASE | re.MULTILINE)
        return found[1] if found else None

    @cached_property
    def json_files(self) -> list[tuple[PurePosixPath, Any]]:
        """Path and content of the first JSON files; damaged ones are left out."""
        return self._contents(".json", load_json)

    @cached_property
    def xml_files(self) -> list[tuple[PurePosixPath, Element]]:
        """Path and root of the first XML files; damaged ones are left out."""
        return self._contents(".xml", load_xml)

    def _contents(self, suffix: str, load: Load) -> list[tuple[PurePosixPath, Any]]:
        contents = []
        for place in [place for place in self.places if place.suffix.lower() == suffix][:_MOST_FILES]:
            try:
                contents.append((place, load(self.folder / place, place)))
            except (DataError, OSError):
                continue
        return contents


def both(tree: Tree, one: str, other: str) -> str | None:
    """Return what files of two kinds are there, as a reason; None: one kind is missing.

    Args:
        tree: The folder.
        one: Pattern as of ``Tree.first``.
        other: Another.
    """
    places = tree.first(one), tree.first(other)
    return None if None in places else f"it has {places[0]} and {places[1]}"
