"""Splits by group: which groups leave train for val and test, the same on every machine."""

from collections.abc import Iterable, Sequence

from maskline.data.records import Record, Split
from maskline.errors import DataError
from maskline.seeds import derive


def assign(
    records: Sequence[Record],
    *,
    val_fraction: float,
    test_fraction: float,
    seed: int,
    fold: int,
    num_folds: int,
    same_picture: Iterable[tuple[str, str]] = (),
) -> dict[str, Split]:
    """Return the split of each record's id.

    A split that the set has stays as it is. Where it has no test split, ``test_fraction`` of the train groups become
    it; where it has no val split, ``val_fraction`` of those that are left. A group is moved whole, and groups that
    share a picture are moved together. Which ones depends on ``seed`` and their names alone, so that adding images
    moves no other.

    Args:
        records: The whole set; no group in two of its own splits.
        val_fraction: 0..1; 0: no val split.
        test_fraction: 0..1; 0: no test split.
        seed: Another seed moves other groups.
        fold: Which fold becomes val, 0 <= fold < num_folds.
        num_folds: At least 2: train and val are cut into so many folds of whole groups, one of them val; 0: as above.
        same_picture: Pairs of ids whose pictures are equal.

    Raises:
        DataError: Too few groups.
    """
    splits: dict[str, Split] = {record.id: record.split or "train" for record in records}
    cluster = _clusters(records, same_picture)
    if num_folds:
        val_fraction = 0.0
    wanted: tuple[tuple[Split, float], ...] = (("test", test_fraction), ("val", val_fraction))
    for split, fraction in wanted:
        if fraction == 0 or split in splits.values():
            continue
        pool = sorted({cluster[id_] for id_, now in splits.items() if now == "train"})
        count = max(1, round(fraction * len(pool)))
        if count >= len(pool):
            raise DataError(
                "data",
                f"{len(pool)} groups to train on, of which {count} would become the {split} split",
                f"add images, or set data.{split}_fraction to 0",
            )
        chosen = set(sorted(pool, key=lambda name: (derive(seed, split, name), name))[:count])
        moved = [id_ for id_, now in splits.items() if now == "train" and cluster[id_] in chosen]
        splits |= dict.fromkeys(moved, split)
    if num_folds:
        splits |= _folded(splits, cluster, fold=fold, num_folds=num_folds, seed=seed)
    return splits


def _folded(
    splits: dict[str, Split], cluster: dict[str, str], *, fold: int, num_folds: int, seed: int
) -> dict[str, Split]:
    """Return the split of each id that is not test: the clusters, shuffled, are dealt out to the folds in turn."""
    pool = sorted({cluster[id_] for id_, now in splits.items() if now != "test"})
    if len(pool) < num_folds:
        raise DataError("data.num_folds", f"{num_folds} folds of {len(pool)} groups", "give at most one a group")
    order = sorted(pool, key=lambda name: (derive(seed, "fold", name), name))
    held = set(order[fold::num_folds])
    return {id_: "val" if cluster[id_] in held else "train" for id_, now in splits.items() if now != "test"}


def _clusters(records: Sequence[Record], same_picture: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return id -> name of its cluster: groups joined by equal pictures, named after their first group."""
    parent = {record.group: record.group for record in records}
    group = {record.id: record.group for record in records}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    for one, other in same_picture:
        first, last = sorted((root(group[one]), root(group[other])))
        parent[last] = first
    return {id_: root(name) for id_, name in group.items()}
