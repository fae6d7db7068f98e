"""What a folder holds, looked at once, so that each format can say whether it is its own."""

import re
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from maskline.convert.format_parts.documents import load_json
from maskline.convert.format_parts.finding import visible_files
from maskline.core.errors import DataError

NAME_LIST = r"(?:labelmap|class_names|labels)\.txt"
"""Pattern of the lists of class names that tools write, and that published sets do not have."""

_HEAD_BYTES = 1 << 16
_MOST_LOOKED_INTO = 8  # files of a type: the others are alike


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

    def first_with(self, suffix: str, *words: bytes) -> str | None:
        """Return the path of the first of some files of a type that begins with text in which all words are."""
        for place in self._some(suffix):
            with (self.folder / place).open("rb") as stream:
                head = stream.read(_HEAD_BYTES)
            if all(word in head for word in words):
                return place.as_posix()
        return None

    @cached_property
    def json_files(self) -> list[tuple[PurePosixPath, Any]]:
        """Path and content of the first JSON files; damaged ones are left out."""
        contents = []
        for place in self._some(".json"):
            try:
                contents.append((place, load_json(self.folder / place, place)))
            except (DataError, OSError):
                continue
        return contents

    def _some(self, suffix: str) -> list[PurePosixPath]:
        return [place for place in self.places if place.suffix.lower() == suffix][:_MOST_LOOKED_INTO]


def both(tree: Tree, one: str, other: str) -> str | None:
    """Return what files of two kinds are there, as a reason; None: one kind is missing.

    Args:
        tree: The folder.
        one: Pattern as of ``Tree.first``.
        other: Another.
    """
    places = tree.first(one), tree.first(other)
    return None if None in places else f"it has {places[0]} and {places[1]}"
