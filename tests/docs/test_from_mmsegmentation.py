"""The table of keys names settings that exist, and every type that the import of a configuration knows."""

import re

import pytest

from maskline.params.base.variants import sections_in, tags
from maskline.params.network.losses import LossParams
from maskline.params.whole import json_schema
from maskline.weights.mmseg import backbone, head, loss, settings


@pytest.fixture(scope="module")
def page(root):
    return (root / "docs/explanation/from-mmsegmentation.md").read_text(encoding="utf-8")


def known(path, node, schema):
    if "$ref" in node:
        node = schema["$defs"][node["$ref"].rsplit("/", maxsplit=1)[1]]
    for several in ("oneOf", "anyOf"):
        if several in node:
            return any(known(path, option, schema) for option in node[several])
    return not path or (path[0] in node.get("properties", {}) and known(path[1:], node["properties"][path[0]], schema))


def test_every_settings_key_exists(page):
    schema = json_schema()
    sections = "|".join(schema["properties"])
    keys = [
        key
        for line in page.splitlines()
        if line.startswith("| ")
        for key in re.findall(rf"`((?:{sections})\.[a-z_0-9.]+)`", line.split(" | ", 1)[-1])
    ]
    assert len(set(keys)) > 60
    assert [key for key in keys if not known(key.split("."), schema, schema)] == []


def test_heads_losses_and_optimizers_are_those_of_the_import(page):
    for theirs, ours in head._TYPES.items():
        assert f"| `{theirs}` | {ours} |" in page
    for theirs in ("CrossEntropyLoss", "DiceLoss", "FocalLoss", "LovaszLoss", "TverskyLoss"):
        ours = loss.loss_params({"type": theirs})["name"]
        assert f"| `{theirs}` | {ours} |" in page
    names = {tag for variant in sections_in(LossParams) for tag in tags(variant)}
    assert set(re.findall(r"^\| `\w+Loss` \| (\w+) \|$", page, re.MULTILINE)) <= names
    for theirs, ours in settings._OPTIMIZERS.items():
        assert f"`{theirs}`" in page
        assert ours in page
    for ours in {*settings._KNOBS.values(), *(f"paramwise.{rule}" for rule in settings._RULES)}:
        assert f"`optimizer.{ours}`" in page
    for theirs in (*backbone._RESNETS, "UNet", "MixVisionTransformer", "HRNet"):
        assert theirs in page
