"""What is generated from the code: params.schema.json and the pages under docs/reference.

``python -m tools.reference`` writes them; tests/docs fails while one of them is stale.
"""

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from maskline import params
from maskline.files import write_text
from tools.closure import stage_module

ROOT = Path(__file__).resolve().parent.parent

_ABSENT = ""

_MADE = "<!-- Made from the code by `make reference`; edit the code instead. -->\n"


def pages(root: Path = ROOT) -> dict[str, str]:
    """Return path from the root -> text of every generated file."""
    schema = params.json_schema()
    return {
        "params.schema.json": json.dumps(schema, indent=2, ensure_ascii=False) + "\n",
        "docs/reference/params.md": params_page(schema, params.read_yaml(root / "params.yaml")),
        "docs/reference/cli.md": cli_page(params.read_yaml(root / "dvc.yaml")),
    }


def params_page(schema: dict[str, Any], values: dict[str, Any]) -> str:
    """Return the page of all keys: type and range, value in params.yaml, meaning."""
    lines = [
        "# params.yaml",
        "",
        _MADE,
        "Every key must be there: code has no second default. The file is read as YAML 1.2, so `1e-3` is a number.",
        "An unknown key, a wrong type or a value out of range stops a stage before any work, with exit code 2.",
        "",
        "For another value for one run: `dvc exp run -S optimizer.lr=0.01`; an item of a list by its position:",
        "`-S augment.crop_size.0=96`.",
    ]
    for section, prop in schema["properties"].items():
        model = _resolve(prop, schema)
        lines += ["", f"## {section}", "", model.get("description", ""), ""]
        lines += ["| key | type and range | in params.yaml | meaning |", "| --- | --- | --- | --- |"]
        lines += [
            f"| `{key}` | {_type_text(leaf, schema)} | {_value_text(value)} | {leaf.get('description', '')} |"
            for key, leaf, value in _leaves(section, model, values[section], schema)
        ]
    return "\n".join(lines) + "\n"


def cli_page(pipeline: dict[str, Any]) -> str:
    """Return the page of all commands: the help text of each, and the exit codes."""
    lines = ["# Command line", "", _MADE]
    lines += ["A stage is run by `dvc repro`, which knows when it must run. By hand, from the project's folder:"]
    for stage in pipeline["stages"].values():
        module = stage_module(stage)
        lines += ["", f"## {module}", "", "```text", _help_text(module), "```"]
    lines += [
        "",
        "## Exit codes",
        "",
        "| code | meaning |",
        "| --- | --- |",
        "| 0 | well |",
        "| 1 | a defect in maskline, with a traceback |",
        "| 2 | something you can mend, in one line that names the place, the value and the remedy |",
        "| 130, 143 | stopped by Ctrl-C or SIGTERM; a killed training goes on from its journal |",
        "",
        "`dvc repro` itself ends with 255 when a stage fails; the stage's line stands above it.",
    ]
    return "\n".join(lines) + "\n"


def _help_text(module: str) -> str:
    found = [value for value in vars(importlib.import_module(module)).values() if isinstance(value, click.Command)]
    assert len(found) == 1, f"{module} has {len(found)} commands"
    with click.Context(found[0], info_name=f"python -m {module}", terminal_width=100) as context:
        return found[0].get_help(context)


def _leaves(
    prefix: str, model: dict[str, Any], values: dict[str, Any], schema: dict[str, Any]
) -> Iterator[tuple[str, dict[str, Any], Any]]:
    """Yield key, JSON schema and value of each setting below ``prefix``; N stands for a position in a list."""
    for name, prop in model["properties"].items():
        key, value = f"{prefix}.{name}", values.get(name, _ABSENT)
        below = _resolve(prop, schema)
        items = _one_model(_resolve(below.get("items") or {}, schema), schema)
        if "properties" in below:
            yield from _leaves(key, below, value, schema)
        elif "properties" in items:
            meaning = below.get("description", items.get("description", ""))
            yield key, {**below, "description": meaning}, f"{len(value or [])} entries"
            yield from _leaves(f"{key}.N", items, value[0] if value else {}, schema)
        else:
            yield key, below, value


def _one_model(prop: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Return the variants of a tagged section as one section whose keys say which variants have them."""
    if "oneOf" not in prop:
        return prop
    variants = {}
    for option in prop["oneOf"]:
        variant = _resolve(option, schema)
        variants[variant["properties"]["name"]["const"]] = variant["properties"]
    merged: dict[str, Any] = {}
    for key in dict.fromkeys(key for properties in variants.values() for key in properties):
        having = [name for name, properties in variants.items() if key in properties]
        found = variants[having[0]][key]
        if key == "name":
            found = {"enum": having, "description": "Which one."}
        elif len(having) < len(variants):
            found = {**found, "description": f"{found.get('description', '')} Only for {', '.join(having)}.".strip()}
        merged[key] = found
    return {"properties": merged, "description": ""}


def _resolve(prop: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Follow a reference; keys beside it win."""
    if "$ref" not in prop:
        return prop
    target = schema["$defs"][prop["$ref"].rsplit("/", maxsplit=1)[1]]
    return {**target, **{key: value for key, value in prop.items() if key != "$ref"}}


def _type_text(prop: dict[str, Any], schema: dict[str, Any]) -> str:
    if "enum" in prop or "const" in prop:
        return ", ".join(f"`{json.dumps(value).strip(chr(34))}`" for value in prop.get("enum", [prop.get("const")]))
    if "anyOf" in prop:
        return " or ".join(_type_text(_resolve(option, schema), schema) for option in prop["anyOf"])
    if prop["type"] == "array":
        return _array_text(prop, schema)
    kinds = {"integer": "integer", "number": "number", "boolean": "`true`, `false`", "null": "`null`", "string": "text"}
    return kinds[prop["type"]] + _range_text(prop)


def _array_text(prop: dict[str, Any], schema: dict[str, Any]) -> str:
    if "prefixItems" in prop:
        texts = [_type_text(_resolve(item, schema), schema) for item in prop["prefixItems"]]
        return f"{len(texts)} x {texts[0]}" if len(set(texts)) == 1 else ", ".join(texts)
    items = _resolve(prop["items"], schema)
    least = f", at least {prop['minItems']}" if prop.get("minItems") else ""
    return f"list{least}" if {"properties", "oneOf"} & items.keys() else f"list of {_type_text(items, schema)}{least}"


def _range_text(prop: dict[str, Any]) -> str:
    low = f">= {prop['minimum']:.12g}" if "minimum" in prop else ""
    low = f"> {prop['exclusiveMinimum']:.12g}" if "exclusiveMinimum" in prop else low
    high = f"<= {prop['maximum']:.12g}" if "maximum" in prop else ""
    high = f"< {prop['exclusiveMaximum']:.12g}" if "exclusiveMaximum" in prop else high
    text = ", ".join(part for part in (low, high) if part)
    if "pattern" in prop:
        text = f"matching `{prop['pattern']}`".replace("|", "\\|")
    return f" {text}" if text else ""


def _value_text(value: Any) -> str:
    if value is _ABSENT or str(value).endswith(" entries"):
        return str(value)
    return f"`{json.dumps(value)}`"


def main() -> None:
    """Write every generated file."""
    for name, text in pages().items():
        write_text(ROOT / name, text)


if __name__ == "__main__":
    main()
