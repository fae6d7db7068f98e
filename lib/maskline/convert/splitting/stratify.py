"""Groups dealt out so that each part gets its share of every class, the rarest class first.

Source: Sechidis, Tsoumakas and Vlahavas, "On the Stratification of Multi-label Data", ECML PKDD 2011; here with groups
of several images, which stay whole.
"""

from collections import Counter
from collections.abc import Mapping, Sequence


def deal(
    names: Sequence[str],
    *,
    sizes: Mapping[str, int],
    classes: Mapping[str, Mapping[int, int]],
    shares: Sequence[float],
) -> dict[str, int]:
    """Return the part, 0..len(shares) - 1, of each group.

    Args:
        names: The groups; the order decides between equal ones.
        sizes: Images of each group.
        classes: For each group, the number of its images that show a class, by class id; absent classes left out.
        shares: Share of all images that each part is to have; they sum to 1.
    """
    room = [share * sum(sizes[name] for name in names) for share in shares]
    total: Counter[int] = Counter()
    for name in names:
        total.update(classes[name])
    wanted = [{class_: share * count for class_, count in total.items()} for share in shares]
    parts: dict[str, int] = {}
    while len(parts) < len(names):
        left = [name for name in names if name not in parts]
        class_ = _rarest(left, classes)
        chosen = left if class_ is None else [name for name in left if class_ in classes[name]]
        for name in sorted(chosen, key=lambda name: -sizes[name]):
            part = max(range(len(shares)), key=lambda k: (0 if class_ is None else wanted[k][class_], room[k], -k))
            parts[name] = part
            room[part] -= sizes[name]
            for shown, count in classes[name].items():
                wanted[part][shown] -= count
    return parts


def _rarest(names: Sequence[str], classes: Mapping[str, Mapping[int, int]]) -> int | None:
    """Return the class that the fewest images of these groups show; None if they show none."""
    left: Counter[int] = Counter()
    for name in names:
        left.update(classes[name])
    return min(left, key=lambda class_: (left[class_], class_), default=None)
