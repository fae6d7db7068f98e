"""Keys that only some variants of a place read: the others are let be, so that each ``name`` switches alone."""

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any, NamedTuple, get_args

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from maskline.core.own_code import FORM, is_own
from maskline.params.base.own import OwnSection
from maskline.params.base.types import Section


class ByName:
    """The mark of a union whose sections are told apart by their ``name``.

    As pydantic's own discriminator, but that a name of the user's own code means the ``OwnSection`` of the union.
    """

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return the schema of a union with a tag for each name."""
        choices = {tag: handler.generate_schema(variant) for variant in sections_in(source) for tag in tags(variant)}
        return core_schema.tagged_union_schema(choices, discriminator=_tag_of)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Return the JSON schema; each variant lets the keys of the others be, as ``without_unread`` does."""
        union = handler(schema)
        variants = [handler.resolve_ref_schema(variant) for variant in union["oneOf"]]
        keys = {key for variant in variants for key in variant["properties"]}
        for variant in variants:
            if others := sorted(keys - variant["properties"].keys()):
                variant["patternProperties"] = {f"^({'|'.join(others)})$": True}
        return union


class Unread(NamedTuple):
    """A key that the chosen name does not read."""

    place: str
    key: str
    name: str


def without_unread(
    values: Mapping[str, Any], kind: type[Section], place: str = ""
) -> tuple[dict[str, Any], list[Unread]]:
    """Return values without the keys that another variant of their place knows, and the keys that are not read.

    A key that no variant knows stays, for the check to refuse.

    Args:
        values: Of one section, or sections by name.
        kind: What they are to be.
        place: Dotted key of ``values``; empty: the whole.
    """
    read, unread = dict(values), list[Unread]()
    for key, field in kind.model_fields.items():
        if key in read:
            read[key], left = _within(read[key], sections_in(field.annotation), f"{place}.{key}".lstrip("."))
            unread += left
    return read, [*unread, *_flat(values, kind, place)]


def in_words(unread: Iterable[Unread]) -> str:
    """Return one line on keys that are not read, each spelled as in the file, by the name that does not read it."""
    groups = groupby(unread, key=lambda each: (each.place, each.name))
    return "; ".join(
        f"{', '.join(f'{place}.{each.key}'.lstrip('.') for each in group)} (by {name})"
        for (place, name), group in groups
    )


def sections_in(annotation: Any) -> list[type[Section]]:
    """Return the sections that an annotation names: one, or the variants of a place."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [section for argument in get_args(annotation) for section in sections_in(argument)]


def tags(variant: type[Section]) -> tuple[str, ...]:
    """Return the values of ``name`` that mean this variant; all names of the user's own code are one."""
    if issubclass(variant, OwnSection):
        return (FORM,)
    field = variant.model_fields.get("name")
    return get_args(field.annotation) if field else ()


def _tag_of(section: Any) -> Any:
    name = section.get("name") if isinstance(section, Mapping) else getattr(section, "name", None)
    return FORM if is_own(name) else name


def _within(value: Any, variants: list[type[Section]], place: str) -> tuple[Any, list[Unread]]:
    if isinstance(value, list):
        parts = [_within(entry, variants, f"{place}.{i}") for i, entry in enumerate(value)]
        return [part for part, _ in parts], [each for _, left in parts for each in left]
    if not isinstance(value, Mapping) or not variants:
        return value, []
    if len(variants) == 1:
        return without_unread(value, variants[0], place)
    chosen = next((variant for variant in variants if _tag_of(value) in tags(variant)), None)
    if chosen is None:
        return value, []
    others = {key for variant in variants for key in variant.model_fields} - chosen.model_fields.keys()
    read, unread = without_unread({key: entry for key, entry in value.items() if key not in others}, chosen, place)
    named = [key for key in value if key in others and value[key] not in (None, [])]
    return read, [*(Unread(place, key, value["name"]) for key in named), *unread]


def _flat(values: Mapping[str, Any], kind: type[Section], place: str) -> Iterator[Unread]:
    """Give the keys that stand side by side for several names, and that the chosen one does not read.

    Nothing is said of null, an empty list and the default: a file may list all keys, as the shipped one does.
    """
    name = values.get("name", getattr(kind.model_fields.get("name"), "default", None))
    for key, field in kind.model_fields.items():
        usual = list(field.default) if isinstance(field.default, tuple) else field.default
        if key in values and values[key] not in (None, [], usual) and not reads(kind, key, name):
            yield Unread(place, key, str(name))


def read_by(*names: str) -> dict[str, Any]:
    """Mark a key, as its ``json_schema_extra``, that only some names read.

    Args:
        names: Regular expressions of whole names.
    """
    return {"read_by": list(names)}


def reads(kind: type[Section], key: str, name: Any) -> bool:
    """Whether a name reads a key of a section in which the keys of several stand side by side (``read_by``)."""
    if key not in kind.model_fields:  # of a section that takes any
        return True
    extra = kind.model_fields[key].json_schema_extra
    readers = extra.get("read_by") if isinstance(extra, dict) else None
    return not isinstance(readers, list) or any(re.fullmatch(str(reader), str(name)) for reader in readers)
