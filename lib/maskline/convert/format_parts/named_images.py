"""Images that an annotation file names: by a path of another computer, or by an address."""

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit

from maskline.convert.format_parts.finding import visible
from maskline.convert.pairing import SPLITS
from maskline.core.errors import DataError
from maskline.core.text import composed
from maskline.data.manifest import Split
from maskline.reading.images import IMAGE_SUFFIXES


class NamedImages:
    """The images of a set, by what others call them; none outside of the set is ever looked at.

    Args:
        folder: Of the set.
        only: Path below the set's folder -> whether the file is one of them; None: all are.
    """

    def __init__(self, folder: Path, *, only: Callable[[PurePosixPath], bool] | None = None) -> None:
        self._by_name: dict[str, list[tuple[Path, PurePosixPath]]] = defaultdict(list)
        self._used = set[Path]()
        self._folder = folder
        for path, place in visible(folder, IMAGE_SUFFIXES):
            if only is None or only(place):
                self._by_name[composed(place.name)].append((path, place))

    def find(
        self,
        named: str,
        *,
        place: PurePosixPath,
        beside: PurePosixPath | None = None,
        split: Split | None = None,
    ) -> Path:
        r"""Return the image that ends most like ``named``; of several that do, the one nearest to ``beside``.

        Args:
            named: Name, path (with / or \) or address; what a web address has encoded is read.
            place: Who names it, for the error.
            beside: Folder of the annotations.
            split: Of the annotations; images right in the folder of another split are not meant.

        Raises:
            DataError: There is none, or there are several.
        """
        parts = _parts(named)
        matches = self._by_name.get(composed(parts[-1]), []) if parts else []
        matches = [match for match in matches if match[1].name == parts[-1]] or matches
        if split is not None:
            matches = [match for match in matches if split_in(match[1].parent.name) in (None, split)]
        if len(matches) > 1:
            matches = _best(matches, lambda other: _common([*map(composed, other.parts)], [*map(composed, parts)]))
        if len(matches) > 1 and beside is not None:
            matches = _best(matches, lambda other: _common(other.parent.parts[::-1], beside.parts[::-1]))
        if not matches:
            raise DataError(place.as_posix(), f"its image {named[:200]!r} is not there", "add the image")
        if len(matches) > 1:
            names = " and ".join(other.as_posix() for _, other in matches[:2])
            raise DataError(place.as_posix(), f"its image {named[:200]!r} could be {names}", "rename one of them")
        self._used.add(matches[0][0])
        return matches[0][0]

    def has(self, named: str) -> bool:
        """Return whether an image of that very name, whatever its folder, is there."""
        return bool(self._by_name.get(composed((_parts(named) or [""])[-1])))

    def joined(self, named: str) -> Path | None:
        """Return the image that ``FOLDER_BEGIN`` means: BEGIN_more.png in a folder FOLDER; None: there is not just one.

        So UW-Madison's table has case1_day0_slice_0001 for case1/case1_day0/scans/slice_0001_266_266_1.50_1.50.png.
        """
        words, found = composed(named).split("_"), set[Path]()
        for i in range(1, len(words)):
            images, begin = self._by_folder.get("_".join(words[:i]), []), "_".join((*words[i:], ""))
            at = bisect_left(images, (begin,))
            found.update(path for name, path in images[at : at + 2] if name.startswith(begin))  # two are one too many
        if len(found) != 1:
            return None
        self._used |= found
        return found.pop()

    @cached_property
    def _by_folder(self) -> dict[str, list[tuple[str, Path]]]:
        """Name of a folder -> name without type, with ``_`` behind it, and path of each image below, in this order."""
        by_folder = defaultdict[str, list[tuple[str, Path]]](list)
        for path, place in (image for images in self._by_name.values() for image in images):
            for folder in {composed(part) for part in place.parts[:-1]}:
                by_folder[folder].append((f"{composed(place.stem)}_", path))
        return {folder: sorted(images) for folder, images in by_folder.items()}

    def place(self, image: Path) -> PurePosixPath:
        """Return an image's path below the set's folder."""
        return PurePosixPath(image.relative_to(self._folder).as_posix())

    def id(self, image: Path) -> str:
        """Return the id of an image: its path without suffix."""
        return self.place(image).with_suffix("").as_posix()

    def unused(self) -> list[tuple[str, str]]:
        """Return (id, remark) for each image that nobody named."""
        rest = [path for images in self._by_name.values() for path, _ in images if path not in self._used]
        return [(self.id(path), "no annotation: left out") for path in sorted(rest)]


def split_of(place: PurePosixPath) -> Split | None:
    """Return the split that a folder above a file is called by, the nearest one; None: there is none."""
    return next((SPLITS[part.lower()] for part in place.parts[-2::-1] if part.lower() in SPLITS), None)


def split_named(name: str) -> Split | None:
    """Return the split that a tool's own word means; None: it means none."""
    return SPLITS.get(name.strip().lower())


def split_in(name: str) -> Split | None:
    """Return the split that a word of a name means, such as ``instances_train2017``; None: there is none."""
    words = re.split(r"[^a-z]+", name.lower())
    return next((SPLITS[word] for word in words if word in SPLITS), None)


def _parts(named: str) -> list[str]:
    text = named
    if "://" in text or text.startswith("/data/"):
        address = urlsplit(text)
        local = parse_qs(address.query).get("d")  # Label Studio's local files
        text = local[0] if local else unquote(address.path)
    return [part for part in text.replace("\\", "/").split("/") if part not in ("", ".", "..")]


def _best(
    matches: list[tuple[Path, PurePosixPath]], score: Callable[[PurePosixPath], int]
) -> list[tuple[Path, PurePosixPath]]:
    best = max(score(other) for _, other in matches)
    return [match for match in matches if score(match[1]) == best]


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """Return how many parts two paths have in common at their ends."""
    count = 0
    for left, right in zip(reversed(one), reversed(other), strict=False):
        if left != right:
            break
        count += 1
    return count
