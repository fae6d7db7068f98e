"""The generated files are what the code would generate now."""

import json
import re

import pytest

from tools import reference
from tools.closure import ROOT


@pytest.fixture(scope="module")
def made():
    return reference.pages()


@pytest.mark.parametrize("name", ["params.schema.json", "docs/reference/params.md", "docs/reference/cli.md"])
def test_it_is_fresh(name, made):
    assert set(made) == {"params.schema.json", "docs/reference/params.md", "docs/reference/cli.md"}
    assert (ROOT / name).read_text(encoding="utf-8") == made[name], "run: make reference"


def test_every_setting_stands_on_the_page(made):
    schema = json.loads(made["params.schema.json"])
    rows = [line for line in made["docs/reference/params.md"].splitlines() if line.startswith("| `")]
    assert len(rows) > 60
    for title, definition in schema["$defs"].items():
        for name, prop in definition.get("properties", {}).items():
            if "const" not in prop:
                assert any(re.match(rf"\| `([a-zN0-9_.]+\.)?{name}[.`]", row) for row in rows), f"{title}.{name}"


def test_every_setting_says_what_it_means(made):
    for line in made["docs/reference/params.md"].splitlines():
        if line.startswith("| `"):
            cells = [cell.strip() for cell in line.replace("\\|", "/").strip("|").split("|")]
            assert len(cells) == 4, line
            assert cells[1], line
            assert cells[-1], line


def test_links_lead_to_a_heading_of_the_page(made):
    text = made["docs/reference/params.md"]
    headings = {
        re.sub(r"[^a-z0-9_ -]", "", line.lstrip("# ").lower()).replace(" ", "-")
        for line in text.splitlines()
        if line.startswith("#")
    }
    targets = set(re.findall(r"\]\(#([^)]+)\)", text))
    assert targets
    assert targets <= headings


@pytest.mark.parametrize(
    ("prop", "text"),
    [
        ({"type": "integer", "minimum": 1, "exclusiveMaximum": 2**32}, "integer >= 1, < 4294967296"),
        ({"type": "number", "exclusiveMinimum": 0}, "number > 0"),
        ({"enum": ["a", 8]}, "`a`, `8`"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "text or `null`"),
        ({"type": "array", "prefixItems": [{"type": "integer"}] * 2}, "2 x integer"),
        ({"type": "array", "items": {"type": "number"}, "minItems": 1}, "list of number, at least 1"),
        ({"$ref": "#/$defs/X", "type": "boolean"}, "`true`, `false`"),
    ],
)
def test_types_are_told_in_words(prop, text):
    schema = {"$defs": {"X": {"type": "string"}}}
    assert reference._type_text(reference._resolve(prop, schema), schema) == text
