"""Reading of one part of a configuration whose keys need not all have a counterpart: each is used, or named.

As ``maskline.weights.mmseg.section``, where what is not understood is an error.
"""

from collections.abc import Mapping
from typing import Any

_SHOWN = 80


class Keys:
    """The keys of a part that have not been read yet.

    Args:
        values: The part; None: there is none.
        place: Its name, for notes.
        notes: Gets a sentence on each key without a counterpart.
    """

    def __init__(self, values: Mapping[str, Any] | None, *, place: str, notes: list[str]) -> None:
        self._left = dict(values or {})
        self._left.pop("_scope_", None)
        self.place, self.notes = place, notes

    def take(self, key: str, default: Any = None) -> Any:
        """Return a key's value and count it as read."""
        return self._left.pop(key, default)

    def type(self, default: str = "(none)") -> str:
        """Return the type, without the package that MMEngine looks it up in, and count it as read."""
        return str(self._left.pop("type", default)).split(".")[-1]

    def part(self, key: str, *, place: str | None = None) -> "Keys":
        """Return a key's value as a part."""
        value = self._left.pop(key, None)
        return Keys(value if isinstance(value, Mapping) else {}, place=place or key, notes=self.notes)

    def ignore(self, *keys: str) -> None:
        """Count keys as read that change no result here."""
        for key in keys:
            self._left.pop(key, None)

    def expect(self, key: str, *neutral: Any) -> None:
        """Read a key that changes nothing at some values, and name it at others."""
        if key in self._left and self._left[key] not in neutral:
            self.tell(key, self._left[key])
        self._left.pop(key, None)

    def tell(self, key: str, value: Any, why: str = "has no counterpart") -> None:
        """Name a key."""
        self.notes.append(f"{self.place}: {key} {shown(value)} {why}")

    def done(self) -> None:
        """Name every key that has not been read."""
        for key, value in self._left.items():
            self.tell(key, value)
        self._left.clear()


def shown(value: Any) -> str:
    """Return a value as text, cut where it is long."""
    text = str(dict(value) if isinstance(value, Mapping) else value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} ..."
