"""Type and range of a key in words, from the JSON schema of params.yaml."""

import json
from typing import Any

_KINDS = {
    "integer": "integer",
    "number": "number",
    "boolean": "`true`, `false`",
    "null": "`null`",
    "string": "text",
    "object": "mapping",
}


def resolve(prop: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Follow a reference; keys beside it win."""
    if "$ref" not in prop:
        return prop
    target = schema["$defs"][prop["$ref"].rsplit("/", maxsplit=1)[1]]
    return {**target, **{key: value for key, value in prop.items() if key != "$ref"}}


def type_text(prop: dict[str, Any], schema: dict[str, Any]) -> str:
    """Return type and range of a key that is no section, as Markdown."""
    if "enum" in prop or "const" in prop:
        return ", ".join(f"`{json.dumps(value).strip(chr(34))}`" for value in prop.get("enum", [prop.get("const")]))
    if "anyOf" in prop:
        return " or ".join(type_text(resolve(option, schema), schema) for option in prop["anyOf"])
    if prop["type"] == "array":
        return _array_text(prop, schema)
    return _KINDS[prop["type"]] + _range_text(prop)


def _array_text(prop: dict[str, Any], schema: dict[str, Any]) -> str:
    if "prefixItems" in prop:
        texts = [type_text(resolve(item, schema), schema) for item in prop["prefixItems"]]
        return f"{len(texts)} x {texts[0]}" if len(set(texts)) == 1 else ", ".join(texts)
    items = resolve(prop["items"], schema)
    least = f", at least {prop['minItems']}" if prop.get("minItems") else ""
    return f"list{least}" if {"properties", "oneOf"} & items.keys() else f"list of {type_text(items, schema)}{least}"


def _range_text(prop: dict[str, Any]) -> str:
    low = f">= {prop['minimum']:.12g}" if "minimum" in prop else ""
    low = f"> {prop['exclusiveMinimum']:.12g}" if "exclusiveMinimum" in prop else low
    high = f"<= {prop['maximum']:.12g}" if "maximum" in prop else ""
    high = f"< {prop['exclusiveMaximum']:.12g}" if "exclusiveMaximum" in prop else high
    text = ", ".join(part for part in (low, high) if part)
    if "pattern" in prop:
        text = f"matching `{prop['pattern']}`".replace("|", "\\|")
    return f" {text}" if text else ""
