"""Keys that only some variants of a place read: the others are let be, so that each ``name`` switches alone."""

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from maskline.params.base.types import Section


def without_unread(values: Mapping[str, Any], kind: type[Section], place: str = "") -> tuple[dict[str, Any], list[str]]:
    """Return values without the keys that another variant of their place knows, and what was left out, in words.

    A key that no variant knows stays, for the check to refuse.

    Args:
        values: Of one section, or sections by name.
        kind: What they are to be.
        place: Dotted key of ``values``; empty: the whole.
    """
    read, unread = dict(values), []
    for key, field in kind.model_fields.items():
        if key in read:
            read[key], left = _within(read[key], sections_in(field.annotation), f"{place}.{key}".lstrip("."))
            unread += left
    return read, [*unread, *_flat(values, kind, place)]


def sections_in(annotation: Any) -> list[type[Section]]:
    """Return the sections that an annotation names: one, or the variants of a place."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [found for argument in get_args(annotation) for found in sections_in(argument)]


def tags(variant: type[Section]) -> tuple[str, ...]:
    """Return the values of ``name`` that mean this variant."""
    field = variant.model_fields.get("name")
    return get_args(field.annotation) if field else ()


def _within(value: Any, variants: list[type[Section]], place: str) -> tuple[Any, list[str]]:
    if isinstance(value, list):
        parts = [_within(entry, variants, f"{place}.{i}") for i, entry in enumerate(value)]
        return [part for part, _ in parts], [text for _, left in parts for text in left]
    if not isinstance(value, Mapping) or not variants:
        return value, []
    if len(variants) == 1:
        return without_unread(value, variants[0], place)
    chosen = next((variant for variant in variants if value.get("name") in tags(variant)), None)
    if chosen is None:
        return value, []
    others = {key for variant in variants for key in variant.model_fields} - chosen.model_fields.keys()
    read, unread = without_unread({key: entry for key, entry in value.items() if key not in others}, chosen, place)
    return read, [*(f"{place}.{key} (by {value['name']})" for key in value if key in others), *unread]


def _flat(values: Mapping[str, Any], kind: type[Section], place: str) -> Iterator[str]:
    """Give the keys that stand side by side for several names, and that the chosen one does not read."""
    name = values.get("name")
    for key, field in kind.model_fields.items():
        extra = field.json_schema_extra
        if key in values and isinstance(extra, dict) and isinstance(name, str):
            readers = extra.get("read_by")
            if isinstance(readers, list) and not any(name.startswith(str(reader)) for reader in readers):
                yield f"{place}.{key} (by {name})"
