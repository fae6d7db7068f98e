"""All keys of a params file with their values, each with where it comes from; without torch."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskline.params.base.former import former_name
from maskline.params.base.reading import read_yaml
from maskline.params.base.types import Section
from maskline.params.base.variants import reads
from maskline.params.whole import SECTIONS, Params, validate_params

ABSENT: Any = object()

_COLUMN = 52  # of the comments
_WORD = re.compile(r"[A-Za-z_][\w./:-]*")
_NO_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """A key that is no section.

    Args:
        key: Dotted; an item of a list by its position.
        value: As plain types.
        origin: ``params.yaml`` (the file's own name), ``default``, or ``former name KEY``.
        unread: The ``name`` beside it that does not read it; empty: it is read.
    """

    key: str
    value: Any
    origin: str
    unread: str = ""

    @property
    def comment(self) -> str:
        """Where it comes from, and whether it is read."""
        return f"{self.origin}; not read by {self.unread}" if self.unread else self.origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """A params file with all keys.

    Args:
        path: The file.
        content: What it says, as plain types.
        params: What comes of it.
        values: By key, in the order in which people read them.
    """

    path: Path
    content: Mapping[str, Any]
    params: Params
    values: Mapping[str, Value]

    @property
    def left_out(self) -> list[str]:
        """Keys that have their default and that the chosen names read."""
        return [each.key for each in self.values.values() if each.origin == "default" and not each.unread]

    def yaml(self) -> str:
        """Return the whole file as YAML, with where each value comes from as its comment."""
        return "\n".join(_lines(self.params, self.values))


def overview(path: Path, params: Params | None = None) -> Overview:
    """Read a params file.

    Args:
        path: The file.
        params: What comes of it, where that is known already.

    Raises:
        ParamsError: The file is missing, no YAML, or a value is wrong.
    """
    content = read_yaml(path)
    params = params or validate_params(content, place=path)
    values = {
        value.key: value for name in SECTIONS for value in _values(getattr(params, name), name, content, file=path.name)
    }
    return Overview(path=path, content=content, params=params, values=values)


def look_up(content: Any, key: str) -> Any:
    """Return what a dotted key has in plain values; ``ABSENT`` where it is left out."""
    for part in key.split("."):
        try:
            content = content[int(part) if isinstance(content, list) else part]
        except (KeyError, IndexError, ValueError, TypeError):
            return ABSENT
    return content


def plain(value: Any) -> Any:
    """Return a value of a section as the plain types that YAML has."""
    if isinstance(value, Section):
        return value.model_dump(mode="json")
    return [plain(entry) for entry in value] if isinstance(value, tuple | list) else value


def scalar(value: Any) -> str:
    """Return a value as YAML in one line."""
    if isinstance(value, str) and _WORD.fullmatch(value) and value.lower() not in _NO_WORDS and value[-1] != ":":
        return value
    return json.dumps(value, ensure_ascii=False)


def _values(section: Section, prefix: str, content: Mapping[str, Any], *, file: str) -> Iterator[Value]:
    """Yield the keys below a section."""
    name = getattr(section, "name", None)
    for key, entry in _entries(section):
        dotted = f"{prefix}.{key}"
        if below := _below(entry, dotted):
            for place, part in below.items():
                yield from _values(part, place, content, file=file)
            continue
        unread = "" if reads(type(section), key, name) else str(name)
        yield Value(key=dotted, value=plain(entry), origin=_origin(dotted, content, file), unread=unread)


def _entries(section: Section) -> list[tuple[str, Any]]:
    """Return keys and values of a section; ``name``, which says what the others mean, is first."""
    return sorted(section, key=lambda entry: entry[0] != "name")


def _below(value: Any, key: str) -> dict[str, Section]:
    """Return the sections that a key has, by key: itself, or the entries of a list."""
    if isinstance(value, Section):
        return {key: value}
    entries = value if isinstance(value, tuple) else ()
    return {f"{key}.{i}": entry for i, entry in enumerate(entries) if isinstance(entry, Section)}


def _origin(key: str, content: Mapping[str, Any], file: str) -> str:
    if look_up(content, key) is not ABSENT:
        return file
    then = former_name(key)
    return f"former name {then}" if then and look_up(content, then) is not ABSENT else "default"


def _lines(params: Params, values: Mapping[str, Value]) -> Iterator[str]:
    for name in SECTIONS:
        yield f"{name}:"
        yield from _section_lines(getattr(params, name), name, values, "  ")


def _section_lines(section: Section, prefix: str, values: Mapping[str, Value], indent: str) -> Iterator[str]:
    for key, entry in _entries(section):
        dotted = f"{prefix}.{key}"
        if dotted in values:
            yield f"{indent}{key}: {scalar(values[dotted].value)}".ljust(_COLUMN) + f"  # {values[dotted].comment}"
            continue
        yield f"{indent}{key}:"
        for place, part in _below(entry, dotted).items():
            lines = _section_lines(part, place, values, indent + "  ")
            if isinstance(entry, tuple):  # an entry of a list: a dash in place of the first indent
                yield f"{indent}- {next(lines)[len(indent) + 2 :]}"
            yield from lines
