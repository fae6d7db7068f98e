"""What is generated from the code: params.schema.json and the pages under docs/reference.

``python -m tools.reference`` writes them; tests/docs fails while one of them is stale.
"""

import importlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from maskline.commands.main import COMMANDS
from maskline.core.files import write_text
from maskline.core.own_code import FORM
from maskline.params.base.reading import read_yaml
from maskline.params.whole import Params, json_schema
from maskline.projects.type_words import resolve as _resolve
from maskline.projects.type_words import type_text as _type_text
from tools.closure import stage_module

ROOT = Path(__file__).resolve().parent.parent

_ABSENT: Any = object()

_MADE = "<!-- Made from the code by `make reference`; edit the code instead. -->\n"


def pages(root: Path = ROOT) -> dict[str, str]:
    """Return path from the root -> text of every generated file."""
    schema = json_schema()
    return {
        "params.schema.json": json.dumps(schema, indent=2, ensure_ascii=False) + "\n",
        "docs/reference/params.md": params_page(schema, Params().model_dump(mode="json")),
        "docs/reference/cli.md": cli_page(read_yaml(root / "dvc.yaml")),
    }


def params_page(schema: dict[str, Any], values: dict[str, Any]) -> str:
    """Return the page of all keys: type and range, default, meaning."""
    lines = [
        "# params.yaml",
        "",
        _MADE,
        "A key that is left out of the file has its default. The file is read as YAML 1.2, so `1e-3` is a number. An",
        "unknown key, a wrong type or a value out of range stops a stage before any work, with exit code 2. A key that",
        "only another choice of `name` reads is let be, and named in the log.",
        "",
        "For another value for one run: `dvc exp run -S optimizer.lr=0.01`; an item of a list by its position:",
        "`-S augment.crop_size.0=96`; a key that is left out with two plus signs: `-S ++train.ema_decay=0.999`. N",
        "stands for a position.",
    ]
    choices: dict[str, Choice] = {}
    for section, prop in schema["properties"].items():
        model = _resolve(prop, schema)
        lines += ["", f"## {section}", "", model.get("description", ""), ""]
        lines += ["| key | type and range | default | meaning |", "| --- | --- | --- | --- |"]
        lines += [
            f"| `{row.key}` | {row.kind} | {row.value} | {row.meaning} |"
            for row in _rows(section, model, values[section], schema, choices)
        ]
    waiting = list(choices.values())
    while waiting:  # a choice may bring further ones: the losses of a head
        choice, known = waiting.pop(0), set(choices)
        lines += _choice_lines(choice, schema, choices)
        waiting += [choices[key] for key in choices if key not in known]
    return "\n".join(lines) + "\n"


def cli_page(pipeline: dict[str, Any]) -> str:
    """Return the page of all commands: the help text of each."""
    lines = ["# Command line", "", _MADE]
    lines += ["A stage is run by `dvc repro`, which knows when it must run. By hand, from the project's folder:"]
    for stage in pipeline["stages"].values():
        module = stage_module(stage)
        lines += ["", f"## {module}", "", "```text", _help_text(module, f"python -m {module}"), "```"]
    lines += ["", "## maskline", "", "```text", _help_text("maskline.commands.main", "maskline"), "```"]
    for name in sorted(COMMANDS):
        text = _help_text(f"maskline.commands.{name.replace('-', '_')}", f"maskline {name}")
        lines += ["", f"## maskline {name}", "", "```text", text, "```"]
    lines += ["", "What an exit code means: [exit codes](exit-codes.md)."]
    return "\n".join(lines) + "\n"


def _help_text(module: str, name: str) -> str:
    command = importlib.import_module(module).main
    assert isinstance(command, click.Command), module
    with click.Context(command, info_name=name, terminal_width=100) as context:
        return command.get_help(context)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line of a table."""

    key: str
    kind: str
    value: str
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A section whose key ``name`` says which keys it has.

    Args:
        title: The key where it was met first.
        variants: Name -> JSON schema.
    """

    title: str
    variants: dict[str, dict[str, Any]]


def _rows(
    prefix: str, model: dict[str, Any], values: Any, schema: dict[str, Any], choices: dict[str, Choice]
) -> Iterator[Row]:
    """Yield a row for each setting below ``prefix``; a section with a choice is one row and is put into ``choices``."""
    for name, prop in model["properties"].items():
        key, value = f"{prefix}.{name}".lstrip("."), values.get(name, _ABSENT) if isinstance(values, dict) else _ABSENT
        below = _resolve(prop, schema)
        items = _resolve(below.get("items") or {}, schema)
        meaning = below.get("description", items.get("description", "What its `name` says."))
        entries = f"{len(value)} entries" if isinstance(value, list) else ""
        if "oneOf" in below:
            chosen = value["name"] if isinstance(value, dict) else _ABSENT
            yield Row(key=key, kind=_choice_link(name, below, schema, choices), value=_value(chosen), meaning=meaning)
        elif "oneOf" in items:
            link = _choice_link(name, items, schema, choices)
            yield Row(key=key, kind=f"list of {link}", value=entries, meaning=meaning)
        elif "properties" in items:
            yield Row(key=key, kind=_type_text(below, schema), value=entries, meaning=meaning)
            yield from _rows(f"{key}.N", items, value[0] if value else {}, schema, choices)
        elif "properties" in below:
            yield from _rows(key, below, value, schema, choices)
        else:
            yield Row(key=key, kind=_type_text(below, schema), value=_value(value), meaning=meaning)


def _choice_link(name: str, prop: dict[str, Any], schema: dict[str, Any], choices: dict[str, Choice]) -> str:
    """Note the choice and return a link to where its variants are told."""
    variants = {}
    for option in prop["oneOf"]:
        variant = _resolve(option, schema)
        variants[str(variant["properties"]["name"].get("const", FORM))] = variant
    choice = choices.setdefault(" ".join(variants), Choice(title=name, variants=variants))
    return f"[one of {len(variants)}](#choices-{choice.title})"


def _choice_lines(choice: Choice, schema: dict[str, Any], choices: dict[str, Choice]) -> list[str]:
    """Return the section of a choice: the keys of all variants, then those of each."""
    rows = {
        name: list(_rows("", variant, _defaults(variant), schema, choices)) for name, variant in choice.variants.items()
    }
    common = [row for row in next(iter(rows.values())) if all(row in others for others in rows.values())]
    head = ["", "| key | type and range | default | meaning |", "| --- | --- | --- | --- |"]
    lines = ["", f"## Choices: {choice.title}", "", f"`name` is {', '.join(f'`{name}`' for name in rows)}."]
    if common:
        lines += ["Each of them has:", *head, *map(_choice_row, common)]
    for name, found in rows.items():
        own = [row for row in found if row not in common and row.key != "name"]
        lines += ["", f"### {name}", "", choice.variants[name].get("description", "")]
        lines += [*head, *map(_choice_row, own)] if own else []
    return lines


def _defaults(variant: dict[str, Any]) -> dict[str, Any]:
    return {name: prop["default"] for name, prop in variant["properties"].items() if "default" in prop}


def _choice_row(row: Row) -> str:
    return f"| `{row.key}` | {row.kind} | {row.value} | {row.meaning} |"


def _value(value: Any) -> str:
    if value is _ABSENT:
        return ""
    return f"`{json.dumps(value)}`"


def main() -> None:
    """Write every generated file."""
    for name, text in pages().items():
        write_text(ROOT / name, text)


if __name__ == "__main__":
    main()
