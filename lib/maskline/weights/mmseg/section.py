"""Reading of one section of an MMSegmentation configuration, key by key, until none is left."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from maskline.core.errors import ShapeError
from maskline.models.layers import Norm, NormKind

_REQUIRED = object()
_MOST = 4096  # of what is counted: image channels, stages
_SHOWN = 200  # characters of a value

_NORMS: dict[str, NormKind] = {
    "BN": "bn",
    "BN2d": "bn",
    "SyncBN": "syncbn",
    "MMSyncBN": "syncbn",
    "GN": "gn",
    "IN": "in",
}


class Section:
    """The keys of a section that have not been read yet.

    Args:
        values: The section.
        place: Its name, for errors.
    """

    def __init__(self, values: Mapping[str, Any], *, place: str) -> None:
        self._left = dict(values)
        self._left.pop("_scope_", None)  # where MMEngine looks the type up
        # A name may be whole: mmseg.models.backbones.resnet.ResNet. Those of other packages stay as they are.
        name = self._left.pop("type", "(none)")
        name = name if isinstance(name, str) and len(name) < 200 else _shown(name)
        self.type = re.sub(r"^(mmseg|mmengine)\.(.*\.)?", "", name)
        self.place = f"{place} ({self.type})"

    def take(self, key: str, default: Any = _REQUIRED) -> Any:
        """Return a key's value and count it as read.

        Raises:
            ShapeError: The key is absent and has no default.
        """
        value = self._left.pop(key, default)
        if value is _REQUIRED:
            raise ShapeError(self.place, f"{key} is missing", "give the resolved configuration")
        return value

    def count(self, key: str, default: int) -> int:
        """Return a key's value, of which there is one of something each, and count it as read.

        Raises:
            ShapeError: It is no number that a network could have.
        """
        value = self._left.pop(key, default)
        if type(value) is not int or not 1 <= value <= _MOST:
            raise ShapeError(self.place, f"{key} {_shown(value)}", f"give 1 to {_MOST}")
        return value

    def has(self, key: str) -> bool:
        """Return whether a key is there and has not been read."""
        return key in self._left

    def section(self, key: str) -> "Section":
        """Return a key's value as a section."""
        return Section(self.take(key), place=f"{self.place.split(' ')[0]}.{key}")

    def ignore(self, *keys: str) -> None:
        """Count keys as read that change neither weights nor maths."""
        for key in keys:
            self._left.pop(key, None)

    def expect(self, key: str, *allowed: Any) -> None:
        """Read a key that can only have values that change nothing here.

        Raises:
            ShapeError: It has another value.
        """
        self.check(key, self._left.pop(key, allowed[0]), *allowed)

    def check(self, key: str, value: Any, *allowed: Any) -> None:
        """Check a value that has been read.

        Raises:
            ShapeError: It is none of ``allowed``.
        """
        if value not in allowed:
            raise ShapeError(self.place, f"{key} {_shown(value)} has no counterpart", "use a configuration without it")

    def done(self) -> None:
        """Check that every key has been read.

        Raises:
            ShapeError: Names the first one that has not.
        """
        for key, value in sorted(self._left.items()):
            raise ShapeError(self.place, f"{key} {_shown(value)} has no counterpart", "use a configuration without it")

    def unknown_type(self, known: Iterable[str]) -> ShapeError:
        """Return the error for a type without a counterpart."""
        return ShapeError(self.place, f"type {self.type} has no counterpart", f"there are {', '.join(known)}")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} ..."


def norm_from_mmseg(value: Mapping[str, Any] | None, *, place: str) -> Norm | None:
    """Return the norm of a ``norm_cfg``; None stays None.

    Raises:
        ShapeError: A kind of norm without a counterpart.
    """
    if value is None:
        return None
    section = Section(value, place=f"{place.split(' ', maxsplit=1)[0]}.norm_cfg")
    if section.type not in _NORMS:
        raise section.unknown_type(_NORMS)
    norm = Norm(
        kind=_NORMS[section.type],
        num_groups=section.take("num_groups", 32),
        eps=section.take("eps", 1e-5),
        momentum=section.take("momentum", 0.1),
        trainable=section.take("requires_grad", True),
    )
    section.done()
    return norm
