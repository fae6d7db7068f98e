"""The text of a recipe: what of its sections differs from the defaults, below a head of comments."""

import io
from collections.abc import Iterable, Mapping
from typing import Any

from ruamel.yaml.comments import CommentedMap, CommentedSeq

from maskline.params.whole import validate_params
from maskline.projects.yaml_lines import writer

_WIDTH = 118
_SCHEMA = "# yaml-language-server: $schema=../params.schema.json"
_MACHINE = {"cache": "auto", "journal_every": 100}
_ON_ONE_LINE = ("data", "schedule", "machine")


def recipe_text(name: str, comments: Iterable[str], values: Mapping[str, Any]) -> str:
    """Return the text of a recipe.

    Args:
        name: Of the recipe.
        comments: Lines below the name.
        values: Its sections. Of machine a recipe says always the same keys: the use of another one leaves none.

    Raises:
        ParamsError: A value is wrong.
    """
    machine = _MACHINE | values.get("machine", {})
    head = "\n".join([_SCHEMA, f"# {name}", *(f"# {comment}" for comment in comments)])
    return f"{head}\n{_dump({**overlay(values, place=name), 'machine': machine})}"


def overlay(values: Mapping[str, Any], *, place: str) -> dict[str, Any]:
    """Return what of sections differs from the defaults, a variant's name besides.

    Raises:
        ParamsError: A value is wrong.
    """
    whole = validate_params(values, place=place)
    return dict(_said(values, whole.model_dump(mode="json", exclude_defaults=True)))


def _said(values: Any, differing: Any) -> Any:
    """Return the values of ``differing`` in the order and with the numbers that ``values`` has them in."""
    match differing:
        case dict():
            return {key: _said(value, differing[key]) for key, value in values.items() if key in differing}
        case list():
            return [_said(*pair) for pair in zip(values, differing, strict=True)]
        case _:
            return values


def _dump(values: Mapping[str, Any]) -> str:
    """Return sections of keys; what fits on one line stands there, in braces and brackets."""
    yaml = writer()
    yaml.width = 10 * _WIDTH  # never reached: what is longer stands in lines
    yaml.brace_single_entry_mapping_in_flow_sequence = True
    stream = io.StringIO()
    sections = {name: _in_lines(keys, _WIDTH - 2) for name, keys in values.items()}
    for name, keys in sections.items():
        if name in _ON_ONE_LINE or (name == "optimizer" and not any(isinstance(each, dict) for each in keys.values())):
            keys.fa.set_flow_style()
    yaml.dump(sections, stream)
    return stream.getvalue()


def _in_lines(value: Any, room: int) -> Any:
    if isinstance(value, dict):
        return CommentedMap({key: _laid_out(part, room, f"{key}: ") for key, part in value.items()})
    return CommentedSeq([_laid_out(part, room, "- ") for part in value])


def _laid_out(value: Any, room: int, before: str) -> Any:
    if not isinstance(value, (dict, list)):
        return value
    parts = _in_lines(value, room - 2)
    if len(before) + len(str(value).replace("'", "")) <= room:
        parts.fa.set_flow_style()
    return parts
