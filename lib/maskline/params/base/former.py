"""Names that keys had before: a params file of then works as it did."""

import logging
from collections.abc import Mapping
from typing import Any

log = logging.getLogger("maskline")

_MOVED = {
    "train.workers": "machine.workers",
    "train.cache": "machine.cache",
    "train.journal_every": "machine.journal_every",
    "data.convert_workers": "machine.convert_workers",
    "augment.preview_samples": "preview.samples",
    "evaluate.stream_mib": "predict.stream_mib",
}
"""Key of then -> key of now; both of two levels."""


def with_names_of_now(values: Mapping[str, Any], *, place: object) -> dict[str, Any]:
    """Return sections in which keys of former names have their names of now, each named in the log.

    Where a file has both, the name of now counts.
    """
    changed = {name: dict(value) if isinstance(value, Mapping) else value for name, value in values.items()}
    for then, now in _MOVED.items():
        (section, key), (other, name) = then.split("."), now.split(".")
        if not isinstance(changed.get(section), dict) or key not in changed[section]:
            continue
        value = changed[section].pop(key)
        target = changed.setdefault(other, {})
        if isinstance(target, dict):
            target.setdefault(name, value)
        log.info("%s: %s is %s now", place, then, now)
    return changed


def former_name(key: str) -> str | None:
    """Return what a dotted key was called before; None: always so."""
    return next((then for then, now in _MOVED.items() if now == key), None)
