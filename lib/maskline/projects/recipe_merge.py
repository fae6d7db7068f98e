"""A recipe put into a params file, whose comments, order and own sections stay.

What a recipe does not say goes back to its default, so that nothing of an earlier recipe is left. A key stays in the
file where the shipped params.yaml has it, or where a comment stands beside it; other keys come with the recipe that
says them, and go with it. Heads and necks are another thing under another name: of them only commented keys stay.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from ruamel.yaml.error import YAMLError

from maskline.core import yaml_text
from maskline.core.errors import ParamsError
from maskline.params.base.former import with_names_of_now
from maskline.params.base.reading import read_yaml
from maskline.params.base.types import Section
from maskline.params.base.variants import sections_in, tags
from maskline.params.whole import SECTIONS, Params, load_params, validate_params
from maskline.projects.resources import shipped_params
from maskline.projects.yaml_lines import Entry, Lines

GROUPS: Mapping[str, tuple[str, ...]] = {
    "data": (
        "data",
        "augment",
        "evaluate.split",
        "evaluate.inference",
        "evaluate.window",
        "evaluate.stride",
        "evaluate.window_weights",
        "evaluate.average",
    ),
    "model": ("model",),
    "schedule": (
        "optimizer",
        "schedule",
        "train.iterations",
        "train.epochs",
        "train.batch_size",
        "train.accumulate",
        "train.val_every",
        "train.best_metric",
        "train.early_stop",
    ),
    "runtime": ("train", "evaluate", "machine", "preview", "predict", "export"),
}
"""What MMSegmentation's folders under ``_base_`` hold: sections and keys; the first group that names a key has it."""

_STAY = ("machine", "preview", "predict", "export")
"""Sections of this machine and of what is done with the model: a recipe changes no key there that it does not say."""


def groups(words: str | None) -> tuple[str, ...]:
    """Return the groups that are named with commas between; all of them for None.

    Raises:
        ParamsError: One is no group.
    """
    chosen = tuple(GROUPS) if words is None else tuple(word.strip() for word in words.split(","))
    if wrong := [word for word in chosen if word not in GROUPS]:
        raise ParamsError(f"--only {words}", f"{wrong[0]!r} is no group", f"give some of {','.join(GROUPS)}")
    return chosen


def merged(path: Path, recipe: Path, *, only: Collection[str] = tuple(GROUPS), with_data: bool) -> str:
    """Return the text of a params file with a recipe in it.

    Args:
        path: The params file.
        recipe: The recipe's file.
        only: Which of GROUPS to take.
        with_data: Whether to take the section data too.

    Raises:
        ParamsError: A file is wrong, or what comes of the two.
    """
    said = with_names_of_now(read_yaml(recipe), place=recipe)
    taken = {section: _taken(section, said, only, with_data=with_data) for section in SECTIONS}
    wanted = _wanted(path, recipe, taken)
    try:
        text = _merge(path, said, taken)
        params = validate_params(yaml_text.load(text, place=path, error=ParamsError), place=path)
    except (YAMLError, ParamsError, TypeError, AttributeError):  # of lines that were taken for others
        params = None
    if params != wanted:
        remedy = "write each key on a line of its own, without anchors, or start from the shipped params.yaml"
        raise ParamsError(path, "is written in a form that a recipe cannot be put into", remedy)
    return text


def _taken(section: str, said: Mapping[str, Any], only: Collection[str], *, with_data: bool) -> set[str]:
    """Return the keys of a section that the recipe decides."""
    if section == "data" and not with_data:
        return set()
    keys = said.get(section, {}) if section in _STAY else _kind(section).model_fields
    return {key for key in keys if _group(section, key) in only}


def _group(section: str, key: str) -> str:
    return next(name for name, keys in GROUPS.items() if section in keys or f"{section}.{key}" in keys)


def _wanted(path: Path, recipe: Path, taken: Mapping[str, set[str]]) -> Params:
    """Return the params that must come out, without a look at any line."""
    values = load_params(path).model_dump(mode="json")
    new = load_params(recipe).model_dump(mode="json")
    for section, keys in taken.items():
        values[section] |= {key: new[section][key] for key in keys}
    return validate_params(values, place=f"{path} with {recipe.stem}")


def _merge(path: Path, said: Mapping[str, Any], taken: Mapping[str, set[str]]) -> str:
    lines = Lines(path.read_text(encoding="utf-8"))
    values = read_yaml(path)
    shipped = read_yaml(shipped_params())
    sections = {entry.key: entry for entry in lines.entries}
    for name, keys in taken.items():
        new = {key: value for key, value in said.get(name, {}).items() if key in keys}
        if name in sections:
            _Place(lines, sections[name], keys, values[name], shipped.get(name, {})).merge(_kind(name), new)
        elif new:
            lines.insert(lines.entries[-1].last + 1, {name: new}, indent=0)
    return lines.text()


class _Place:
    """A mapping in the file that is to say what a recipe says.

    Args:
        lines: Of the file.
        at: Its entry.
        keys: Those that the recipe decides.
        values: What the file says in it.
        shipped: What the shipped params.yaml has in it.
    """

    def __init__(
        self, lines: Lines, at: Entry, keys: Collection[str], values: Mapping[str, Any], shipped: Mapping[str, Any]
    ) -> None:
        self._lines = lines
        self._at = at
        self._keys = keys
        self._values = values
        self._shipped = shipped

    def merge(self, kind: type[Section], said: Mapping[str, Any]) -> None:
        """Note the edits: entries that stay get their value, others go, and what is missing comes."""
        stay = self._staying(kind, said)
        for entry in self._at.entries():
            if entry.key not in stay:
                self._lines.drop(entry)
            elif entry.key in self._keys:
                self._give(entry, kind.model_fields[entry.key], said)
        for before, values in _missing(said, stay).items():
            self._insert(values, before, list(stay.values()))

    def _staying(self, kind: type[Section], said: Mapping[str, Any]) -> dict[str, Entry]:
        entries = {entry.key: entry for entry in self._at.entries()}
        staying = {key: entry for key, entry in entries.items() if key not in self._keys or self._stays(entry, kind)}
        # A mapping of no key would be null.
        return staying or ({} if said else dict(list(entries.items())[:1]))

    def _stays(self, entry: Entry, kind: type[Section]) -> bool:
        return entry.key in kind.model_fields and (entry.key in self._shipped or self._lines.has_comment(entry))

    def _give(self, entry: Entry, field: FieldInfo, said: Mapping[str, Any]) -> None:
        wanted = said.get(entry.key, _plain(field.get_default()))
        value = self._values[entry.key]
        if isinstance(wanted, Mapping) and entry.in_lines:
            kinds = sections_in(field.annotation)
            kind = next((kind for kind in kinds if wanted.get("name") in tags(kind)), kinds[0])
            keys = {*value, *kind.model_fields}
            shipped = self._shipped.get(entry.key, {}) if len(kinds) == 1 else {}
            _Place(self._lines, entry, keys, value, shipped).merge(kind, wanted)
        elif json.dumps(value, default=str) != json.dumps(wanted):
            self._lines.replace(entry, wanted)

    def _insert(self, values: Mapping[str, Any], before: str | None, stay: Sequence[Entry]) -> None:
        """Put keys behind the one that is before them, or, where a comment would follow a list, further down."""
        some = next(iter(self._at.entries()), None)
        indent = some.indent if some else self._at.indent + 2
        places = [self._at.first + 1, *(entry.last + 1 for entry in stay)]
        start = next((i for i, entry in enumerate(stay, start=1) if entry.key == before), len(stay))
        if _ends_in_list(values):
            followed = [
                *(self._lines.is_comment(entry.first - 1) for entry in stay),
                self._lines.is_comment(self._at.last + 1),
            ]
            start = next((i for i in (*range(start, len(places)), *range(start)) if not followed[i]), start)
        self._lines.insert(places[start], values, indent=indent)


def _missing(said: Mapping[str, Any], stay: Collection[str]) -> dict[str | None, dict[str, Any]]:
    """Return what is said and not there, by the key that is before it; lists first: no comment may follow one."""
    missing: dict[str | None, dict[str, Any]] = {}
    before = None
    for key, value in said.items():
        if key in stay:
            before = key
        else:
            missing.setdefault(before, {})[key] = value
    return {
        key: dict(sorted(values.items(), key=lambda item: not _ends_in_list(item[1])))
        for key, values in missing.items()
    }


def _ends_in_list(value: Any) -> bool:
    """Tell whether the last line of a value is an entry of a list."""
    if isinstance(value, Mapping) and value:
        return _ends_in_list(list(value.values())[-1])
    return isinstance(value, list) and bool(value)


def _plain(default: Any) -> Any:
    """Return a default as a recipe would say it."""
    if isinstance(default, Section):
        return default.model_dump(mode="json", exclude_defaults=True)
    return [_plain(part) for part in default] if isinstance(default, tuple) else default


def _kind(section: str) -> type[Section]:
    (kind,) = sections_in(Params.model_fields[section].annotation)
    return kind
