"""Each convention is linked to a test that is there."""

import re

import pytest


@pytest.fixture(scope="module")
def page(root):
    return (root / "docs/explanation/conventions.md").read_text(encoding="utf-8")


def test_each_convention_has_its_test(page, root):
    rows = [line for line in page.splitlines() if line.startswith("| ") and "held by" not in line and "---" not in line]
    assert len(rows) > 15
    for row in rows:
        name, path = re.fullmatch(r".* \| \[(\w+)\]\(\.\./\.\./(tests/\S+\.py)\) \|", row).groups()
        assert f"def {name}(" in (root / path).read_text(encoding="utf-8"), row


def test_each_promise_of_the_same_bytes_has_its_test(root):
    text = (root / "docs/explanation/reproducibility.md").read_text(encoding="utf-8")
    found = re.findall(r"\[(test_\w+)\]\(\.\./\.\./(tests/\S+\.py)\)", text)
    assert len(found) >= 8
    for name, path in found:
        assert f"def {name}(" in (root / path).read_text(encoding="utf-8"), name
