"""What one key of params.yaml means, what it may be, which stages read it, and the line that sets it."""

import difflib
import inspect
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from maskline.core.errors import ParamsError
from maskline.params.base.reading import read_yaml
from maskline.params.base.types import Section
from maskline.params.base.variants import sections_in, tags
from maskline.params.whole import SECTIONS, Params
from maskline.projects.params_overview import ABSENT, Overview, look_up, plain, scalar
from maskline.projects.resources import pipeline_folder
from maskline.projects.type_words import resolve, type_text

_HYDRA_WORD = re.compile(r"[A-Za-z_/][\w./:-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A key or a section.

    Args:
        key: Dotted.
        description: What it means.
        kind: Type and range; of a section: what its name may be, or ``section``.
        default: As YAML; empty: it has none.
        here: Value in the file at hand, as YAML; empty: a section, or nothing reads it here.
        origin: Where that comes from.
        names: Values of ``name`` beside it that have this key; empty: all.
        unread: The ``name`` here that does not read it; empty: it is read.
        stages: Which read it.
        line: What sets it: ``-S KEY=VALUE``, with two plus signs for a key that the file leaves out.
        keys: Of a section: its keys with their values here.
    """

    key: str
    description: str
    kind: str
    default: str
    here: str
    origin: str
    names: tuple[str, ...]
    unread: str
    stages: tuple[str, ...]
    line: str
    keys: dict[str, str]

    def lines(self) -> list[str]:
        """Return it as text."""
        rows = {
            "type": self.kind,
            "default": self.default,
            "here": f"{self.here} ({self.origin})" if self.here else "",
            "only with name": ", ".join(self.names),
            "not read by": self.unread,
            "stages": ", ".join(self.stages) or "none",
            "set it": f"dvc exp run {self.line}" if self.line else "",
        }
        texts = [f"  {name + ':':16}{text}" for name, text in rows.items() if text]
        description = [f"  {self.description}"] if self.description else []
        return [self.key, *description, *texts, *(f"  {key}: {value}" for key, value in self.keys.items())]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A field of a section, or of several variants of a place that all have it."""

    holders: tuple[type[Section], ...]
    others: tuple[type[Section], ...]
    name: str
    tags: tuple[str, ...]
    """Of all variants of the place, where there are several."""

    @property
    def field(self) -> FieldInfo:
        return self.holders[0].model_fields[self.name]


def explain(overview: Overview, key: str) -> Explanation:
    """Explain a key or a section.

    Args:
        overview: The file at hand.
        key: Dotted; an item of a list by its position.

    Raises:
        ParamsError: No such key; the nearest is named.
    """
    path = [part for part in key.split(".") if part]
    while path and path[-1].isdigit() and not _entries(overview, path):
        path.pop()  # an item of a list of plain values is explained by its list
    key = ".".join(path)
    value = overview.values.get(key)
    # A keyword of a class of another library has no field: it is told by the list of such rows.
    is_foreign = len(path) > 2 and path[-2].isdigit() and _takes_any(_find(overview, path[:-1]), path[-1])
    at = _find(overview, path[:-2] if is_foreign else path)
    sections = [] if is_foreign else sections_in(at.field.annotation)
    default = "" if is_foreign else at.field.get_default(call_default_factory=True)
    inside = {name: f"{scalar(each.value)} ({each.comment})" for name, each in overview.values.items()}
    return Explanation(
        key=key,
        description=_description(overview, key, at.field, sections),
        kind="as the class takes it" if is_foreign else _kind(at, sections),
        default="" if is_foreign or at.field.is_required() or isinstance(default, Section) else scalar(plain(default)),
        here=scalar(value.value) if value else "",
        origin=value.origin if value else "",
        names=tuple(tag for holder in at.holders for tag in tags(holder)) if at.others else (),
        unread=value.unread if value else "",
        stages=tuple(_stages(overview.path.parent, key)),
        line=_line(overview, key, value.value if value else plain(default))
        if value or not (sections or is_foreign or at.field.is_required())
        else "",
        keys={name: text for name, text in inside.items() if sections and name.startswith(f"{key}.")},
    )


def _takes_any(at: _Found, key: str) -> bool:
    sections = sections_in(at.field.annotation)
    return any(each.model_config.get("extra") == "allow" and key not in each.model_fields for each in sections)


def _entries(overview: Overview, path: list[str]) -> bool:
    """Whether a path that ends with a position leads to a section."""
    return any(key.startswith(".".join(path) + ".") for key in overview.values)


def _find(overview: Overview, path: list[str]) -> _Found:
    """Follow a path through sections, those that the file has chosen first."""
    sections: list[type[Section]] = [Params]
    at: _Found | None = None
    for position, part in enumerate(path):
        if part.isdigit() and at is not None:
            continue
        name = overview.values.get(".".join([*path[:position], "name"]))
        chosen = [section for section in sections if name and name.value in tags(section)]
        holders = next(
            (tuple(s for s in group if part in s.model_fields) for group in (chosen, sections) if _any(group, part)), ()
        )
        if not holders or (position == 0 and part not in SECTIONS):
            raise _unknown(overview, path, position, sections)
        others = tuple(section for section in sections if part not in section.model_fields)
        known = tuple(tag for section in sections for tag in tags(section)) if len(sections) > 1 else ()
        at = _Found(holders=holders, others=() if set(holders) <= set(chosen) else others, name=part, tags=known)
        sections = [below for holder in holders for below in sections_in(holder.model_fields[part].annotation)]
    if at is None:
        raise _unknown(overview, path, 0, [Params])
    return at


def _any(sections: list[type[Section]], key: str) -> bool:
    return any(key in section.model_fields for section in sections)


def _unknown(overview: Overview, path: list[str], position: int, sections: list[type[Section]]) -> ParamsError:
    key, part = ".".join(path), path[position] if path else ""
    beside = [".".join([*path[:position], name]) for section in sections for name in section.model_fields]
    known = [*beside, *overview.values]
    last = {other.rsplit(".", maxsplit=1)[-1]: other for other in reversed([*overview.values])}
    alone = difflib.get_close_matches(part, last, n=1, cutoff=0.75) if len(path) == 1 else []
    near = [last[word] for word in alone] or difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    remedy = f"did you mean {near[0]}?" if near else "maskline params prints all keys"
    return ParamsError(f"maskline params {key}", "unknown key", remedy)


def _description(overview: Overview, key: str, field: FieldInfo, sections: list[type[Section]]) -> str:
    """Return what a key means; of a section without words of its own: what the chosen variant is."""
    name = overview.values.get(f"{key}.name")
    variant = next((section for section in sections if name and name.value in tags(section)), None)
    chosen = variant or (sections[0] if len(sections) == 1 else None)
    return field.description or (inspect.getdoc(chosen) or "").partition("\n")[0]


def _kind(at: _Found, sections: list[type[Section]]) -> str:
    if at.name == "name" and at.tags:
        return ", ".join(at.tags)
    names = ", ".join(tag for section in sections for tag in tags(section))
    schema = _schema(at.holders[0])
    prop = resolve(schema["properties"][at.name], schema)
    if prop.get("type") == "array" and sections:
        return f"{type_text(prop, schema)} of sections" + (f"; name: {names}" if len(sections) > 1 else "")
    if sections:
        return f"section; name: {names}" if len(sections) > 1 else "section"
    return type_text(prop, schema).replace("`", "").replace("\\|", "|")


@cache
def _schema(section: type[Section]) -> dict[str, Any]:
    return section.model_json_schema()


def _stages(folder: Path, key: str) -> Iterator[str]:
    """Yield the stages whose params in dvc.yaml cover a key, or lie below it."""
    file = folder / "dvc.yaml"
    for name, stage in read_yaml(file if file.is_file() else pipeline_folder() / "dvc.yaml")["stages"].items():
        params = [entry for entry in stage.get("params", []) if isinstance(entry, str)]
        if any(key == entry or key.startswith(f"{entry}.") or entry.startswith(f"{key}.") for entry in params):
            yield name


def _line(overview: Overview, key: str, value: Any) -> str:
    """Return the option that gives a key a value; of a list that the file leaves out, the whole list."""
    parts = key.split(".")
    for end, part in enumerate(parts):
        above = ".".join(parts[:end])
        if part.isdigit() and look_up(overview.content, above) is ABSENT:
            key, value = above, plain(look_up(overview.params.model_dump(mode="json"), above))
            break
    plus = "++" if look_up(overview.content, key) is ABSENT else ""
    return f"-S {shlex.quote(f'{plus}{key}={hydra(value)}')}"


def hydra(value: Any) -> str:
    """Return a value in the grammar of ``-S``."""
    if isinstance(value, str):
        return (
            value if _HYDRA_WORD.fullmatch(value) and value.lower() not in {"true", "false", "null"} else _quoted(value)
        )
    if isinstance(value, list):
        return f"[{','.join(map(hydra, value))}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{name}:{hydra(entry)}" for name, entry in value.items()) + "}"
    return json.dumps(value)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
