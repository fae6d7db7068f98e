"""Labels that would vanish without a word: told in remarks, with counts."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping

Remark = tuple[str, str]

_NAMED = 5


def some(names: Collection[str]) -> str:
    """Return the first few of some names, and how many more there are."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(list(names)[:_NAMED]) + more


class LostLabels:
    """Annotations that mark no pixel, counted by label and by what is wrong with them.

    Args:
        place: Whose they are: a file, or the set.
    """

    def __init__(self, place: str) -> None:
        self._place = place
        self._all: Counter[str] = Counter()
        self._lost: dict[str, Counter[str]] = defaultdict(Counter)

    def seen(self, label: str) -> None:
        """Count an annotation."""
        self._all[label] += 1

    def lost(self, label: str, how: str) -> None:
        """Count one that marks no pixel.

        Args:
            label: Its label.
            how: What it is, after ``annotations``, such as ``without an outline``.
        """
        self._lost[how][label] += 1

    def remarks(self) -> list[Remark]:
        """Return (place, remark), one for each kind of loss."""
        return [
            (
                self._place,
                f"{sum(labels.values())} annotations {how} as follows: "
                + ", ".join(f"{label} {count} of {self._all[label]}" for label, count in sorted(labels.items())),
            )
            for how, labels in sorted(self._lost.items())
        ]


def spellings(counts: Mapping[str, int], *, place: str) -> list[Remark]:
    """Return (place, remark) for each word that labels write in several ways: with other case, or blanks at the ends.

    Args:
        counts: Label -> how often it occurs.
        place: Whose they are.
    """
    words: dict[str, list[str]] = defaultdict(list)
    for label in sorted(counts):
        words[" ".join(label.split()).casefold()].append(label)
    remarks = []
    for labels in (labels for labels in words.values() if len(labels) > 1):
        best = max(labels, key=lambda label: (counts[label], label == label.strip(), label))
        lines = ", ".join(f'"{label}": {best.strip()}' for label in labels)
        ways = ", ".join(f"{label!r} {counts[label]} times" for label in labels)
        remark = f"spellings of one label as follows: {ways}; data.mask_values: {{{lines}}} joins them"
        remarks.append((place, remark))
    return remarks
