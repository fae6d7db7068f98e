"""A plan as a recipe: what its choices change, each with its reason as a comment."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from maskline.analysis.plan.rules import Choice
from maskline.params.whole import SECTIONS
from maskline.projects import yaml_lines

_WIDTH = 118
_HEADER = "# yaml-language-server: $schema=params.schema.json"


def text(title: str, about: Sequence[str], chosen: Sequence[Choice]) -> str:
    """Return a recipe's text.

    Args:
        title: First line.
        about: Lines on the data set and the machine.
        chosen: All choices, in order; a later one may set a key below an earlier one's.
    """
    values, reasons = nested(chosen), _reasons(chosen)
    lines = [_HEADER, *(f"# {line}" for line in (title, *about))]
    for section in (name for name in SECTIONS if name in values):
        lines.append(f"{section}:")
        for key, value in values[section].items():
            for reason in reasons.get((section, key), ()):
                lines += textwrap.wrap(reason, _WIDTH, initial_indent="  # ", subsequent_indent="  # ")
            lines += yaml_lines.dump({key: value}, indent=2)
    return "\n".join([*lines, ""])


def nested(chosen: Sequence[Choice]) -> dict[str, dict[str, Any]]:
    """Return sections of keys."""
    values: dict[str, Any] = {}
    for choice in chosen:
        for dotted, value in choice.keys.items():
            *above, last = dotted.split(".")
            place = values
            for key in above:
                place = place.setdefault(key, {})
            place[last] = dict(value) if isinstance(value, Mapping) else value
    return values


def _reasons(chosen: Sequence[Choice]) -> dict[tuple[str, str], list[str]]:
    """Return the reasons that stand above a key of a section: above the first one that a choice sets."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for choice in chosen:
        section, key, *_ = next(iter(choice.keys)).split(".")
        reasons.setdefault((section, key), []).append(choice.reason)
    return reasons
