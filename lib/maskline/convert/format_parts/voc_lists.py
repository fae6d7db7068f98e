"""The lists of PASCAL VOC's splits: train.txt and val.txt in a folder of ImageSets."""

from collections.abc import Collection
from pathlib import Path

from maskline.convert.format_parts.documents import load_lines
from maskline.convert.format_parts.finding import above, visible
from maskline.core.errors import DataError
from maskline.data.manifest import Split

_LISTS: dict[str, Split] = {"train.txt": "train", "val.txt": "val"}


def read_lists(
    folder: Path, labelled: Collection[str], *, within: str, masks: str
) -> tuple[dict[str, Split], list[DataError]]:
    """Return the split of each listed id, val before train, and a problem for each listed id without a mask.

    Args:
        folder: Of the set.
        labelled: Ids that have a mask.
        within: Lower-case name of the folder of the lists.
        masks: Name of the folder of the masks, for the remedy.
    """
    splits: dict[str, Split] = {}
    problems = []
    for path, place in visible(folder, (".txt",)):
        split = _LISTS.get(place.name.lower())
        if split is None or above(place) != within:
            continue
        for number, line in enumerate(load_lines(path), start=1):
            id_ = line.strip()
            if id_ and (split == "val" or id_ not in splits):
                splits[id_] = split
            if id_ and id_ not in labelled:
                where = f"{place} line {number}"
                problems.append(DataError(where, f"no mask for {id_}", f"add {masks}/, or shorten the list"))
    return splits, problems
