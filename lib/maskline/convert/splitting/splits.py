"""Splits by group: which groups leave train for val and test, the same on every machine."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass

from maskline.convert.records import Record
from maskline.convert.splitting.stratify import deal
from maskline.core.errors import DataError
from maskline.core.seeds import derive
from maskline.data.manifest import Split

_NAMED = 3  # groups in a message


@dataclass(frozen=True, slots=True)
class _Pool:
    """Groups that share no image, in the order in which they are taken."""

    names: list[str]
    sizes: Mapping[str, int]
    classes: Mapping[str, Mapping[int, int]] | None


def assign(
    records: Sequence[Record],
    *,
    val_fraction: float,
    test_fraction: float,
    seed: int,
    fold: int,
    num_folds: int,
    same_image: Iterable[tuple[str, str]] = (),
    present: Mapping[str, Set[int]] | None = None,
) -> dict[str, Split]:
    """Return the split of each record's id.

    A split that the set has stays as it is. Where it has no test split, ``test_fraction`` of the train images become
    it; where it has no val split, ``val_fraction`` of those that are left. A group is moved whole, and groups that
    share an image are moved together; so groups are taken, in an order of their own, while that brings the number of
    images nearer to the fraction; but one stays for each split or fold that comes after, and one for train. Without
    ``present`` that order depends on ``seed`` and the groups' names alone, so that adding an image moves few others.

    Args:
        records: The whole set; no group in two of its own splits.
        val_fraction: 0..1; 0: no val split.
        test_fraction: 0..1; 0: no test split.
        seed: Another seed moves other groups.
        fold: Which fold becomes val, 0 <= fold < num_folds.
        num_folds: At least 2: train and val are cut into so many folds of whole groups, one of them val; 0: as above.
        same_image: Pairs of ids whose images are equal.
        present: Classes in each id's mask, to give each split its share of every class; None: by number alone.

    Raises:
        DataError: Too few groups.
    """
    splits: dict[str, Split] = {record.id: record.split or "train" for record in records}
    cluster = _clusters(records, same_image)
    if num_folds:
        val_fraction = 0.0
    fractions: tuple[tuple[Split, float], ...] = (("test", test_fraction), ("val", val_fraction))
    wanted = [(split, fraction) for split, fraction in fractions if fraction and split not in splits.values()]
    for place, (split, fraction) in enumerate(wanted):
        left = [id_ for id_, now in splits.items() if now == "train"]
        pool = _pool(left, cluster, present, seed=seed, purpose=split)
        held = {cluster[id_] for id_, now in splits.items() if now == "val"}
        chosen = _chosen(pool, fraction, leave=max(len(wanted) - place, num_folds - len(held)))
        if len(chosen) >= len(pool.names):
            groups = sorted({record.group for record in records if splits[record.id] == "train"})
            raise _too_few(split, groups, clusters=len(pool.names), images=len(left), chosen=len(chosen))
        splits |= dict.fromkeys((id_ for id_ in left if cluster[id_] in chosen), split)
    if num_folds:
        left = [id_ for id_, now in splits.items() if now != "test"]
        held = _fold(_pool(left, cluster, present, seed=seed, purpose="fold"), fold=fold, num_folds=num_folds)
        splits |= {id_: "val" if cluster[id_] in held else "train" for id_ in left}
    return splits


def spare(splits: Mapping[str, Split], *, keep: int, seed: int) -> set[str]:
    """Return the train images to leave out, so that ``keep`` stay, drawn one by one, whatever group or classes.

    Of two numbers the smaller keeps some of those that the larger keeps.

    Args:
        splits: Split of each id.
        keep: At least 1.
        seed: Another seed keeps others.

    Raises:
        DataError: Fewer train images than that.
    """
    train = [id_ for id_, split in splits.items() if split == "train"]
    if keep > len(train):
        remedy = f"give at most {len(train)}" if train else "set it to null"
        raise DataError("data.train_images", f"{keep} of {len(train)} train images", remedy)
    return set(sorted(train, key=lambda id_: (derive(seed, "train_images", id_), id_))[keep:])


def _too_few(split: Split, groups: Sequence[str], *, clusters: int, images: int, chosen: int) -> DataError:
    """Return what to say where nothing would be left to train on, with ways out that lead on."""
    problem = f"{clusters} groups to train on, of which {chosen} would become the {split} split"
    remedy = f"add images, or set data.{split}_fraction to 0"
    if len(groups) > clusters:  # the images' likeness joins them
        problem += f": {images} images in all, but nearly the same ones, and those of a group, stay together"
        remedy = (
            "set data.near_duplicates to off where they only look alike (a fixed camera), or give val and test "
            f"in data.split_lists, by time for example, with near_duplicates warn; or {remedy}"
        )
    elif images > clusters:
        names = ", ".join(groups[:_NAMED])
        problem += f": {images} images in all, but those of a group ({names}) stay together in this data set"
        remedy = f"set data.{split}_fraction to 0, or add images of other groups"
    return DataError("data", problem, remedy)


def _pool(
    ids: Sequence[str],
    cluster: Mapping[str, str],
    present: Mapping[str, Set[int]] | None,
    *,
    seed: int,
    purpose: str,
) -> _Pool:
    sizes = Counter(cluster[id_] for id_ in ids)
    names = sorted(sizes, key=lambda name: (derive(seed, purpose, name), name))
    if present is None:
        return _Pool(names, sizes, None)
    classes: dict[str, Counter[int]] = {name: Counter() for name in names}
    for id_ in ids:
        classes[cluster[id_]].update(present[id_])
    return _Pool(names, sizes, classes)


def _chosen(pool: _Pool, fraction: float, *, leave: int) -> set[str]:
    """Return the groups whose images come nearest to the fraction: at least one, and ``leave`` stay where they can."""
    if not pool.names:
        return set()
    if pool.classes is not None:
        parts = deal(pool.names, sizes=pool.sizes, classes=pool.classes, shares=(fraction, 1 - fraction))
        chosen = {name for name, part in parts.items() if part == 0}
        if chosen and len(chosen) <= len(pool.names) - leave:
            return chosen
    target = fraction * sum(pool.sizes.values())
    taken, total = list[str](), 0
    for name in pool.names:
        nearer = abs(total - target) - abs(total + pool.sizes[name] - target)
        if nearer > 0 or (nearer == 0 and len(taken) % 2):  # as round() has it: halves go to the even number
            taken.append(name)
            total += pool.sizes[name]
    while len(taken) > max(1, len(pool.names) - leave):
        spare = sum(pool.sizes[name] for name in taken) - target
        taken.remove(min(taken, key=lambda name: abs(spare - pool.sizes[name])))
    return set(taken) or {min(pool.names, key=lambda name: abs(pool.sizes[name] - target))}


def _fold(pool: _Pool, *, fold: int, num_folds: int) -> set[str]:
    """Return the groups of one fold: dealt out in turn, or by class."""
    if len(pool.names) < num_folds:
        raise DataError("data.num_folds", f"{num_folds} folds of {len(pool.names)} groups", "give at most one a group")
    if pool.classes is None:
        return set(pool.names[fold::num_folds])
    parts = deal(pool.names, sizes=pool.sizes, classes=pool.classes, shares=[1 / num_folds] * num_folds)
    return {name for name, part in parts.items() if part == fold}


def _clusters(records: Sequence[Record], same_image: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return id -> name of its cluster: groups joined by equal images, named after their first group."""
    parent = {record.group: record.group for record in records}
    group = {record.id: record.group for record in records}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    for one, other in same_image:
        first, last = sorted((root(group[one]), root(group[other])))
        parent[last] = first
    return {id_: root(name) for id_, name in group.items()}
