"""Every combination of backbone, neck and heads in the recipes compiles as one graph, exports, and becomes ONNX.

Small twins stand for the recipes' networks: fewer layers and channels, the same parts. ``python -m
tools.recipe_networks`` does the same with the networks themselves.
"""

import re

import pytest

from maskline.params.model import validate_model
from tools import recipe_networks

pytestmark = pytest.mark.slow

TOLERANCE = 1e-4  # of the largest logit
SMALLER = {r"resnet\d+_": "resnet18_", r"hrnet\d+s?": "hrnet18s", r"mixvit_b\d": "mixvit_b0"}


def twin(section):
    """The section of a network with the same parts, a tenth of the work."""
    values = section.model_dump(mode="json")
    backbone = values["backbone"]
    backbone["base_channels"] = 4
    for pattern, name in SMALLER.items():
        backbone["name"] = re.sub(pattern, name, backbone["name"])
    if values["neck"]["name"] == "fpn":
        values["neck"]["out_channels"] = 16
    for head in (values["decode_head"], *values["cascade_heads"], *values["auxiliary_heads"]):
        head["channels"] = 16
        for key in {"ocr_channels", "c1_channels"} & head.keys():
            head[key] = 8
    return validate_model(values, place="twin")


def parts(section):
    heads = (*section.cascade_heads, section.decode_head)
    family = re.match(r"[a-z]+", section.backbone.name)[0]
    return " ".join([family, section.neck.name, *(f"{head.name}" for head in heads)])


COMBINATIONS = {parts(section): twin(section) for section in recipe_networks.networks().values()}


def test_all_combinations_are_there():
    assert sorted(COMBINATIONS) == [
        "hrnet none fcn ocr",
        "mixvit none segformer",
        "resnet fpn fpn",
        "resnet fpn fpn point",
        "resnet none aspp",
        "resnet none fcn",
        "resnet none fcn ocr",
        "resnet none psp",
        "resnet none separable_aspp",
        "resnet none uper",
        "unet none aspp",
        "unet none fcn",
        "unet none psp",
    ]


@pytest.mark.parametrize("name", COMBINATIONS)
def test_it_compiles_exports_and_becomes_onnx(name):
    pytest.importorskip("onnxruntime")
    model = recipe_networks.build(COMBINATIONS[name], classes=3)
    # Without a code generator: what is tested is that nothing in forward breaks the graph.
    assert recipe_networks.compiled(model, backend="eager") <= TOLERANCE
    program, onnx = recipe_networks.exported(model, classes=3)
    assert program <= TOLERANCE
    assert onnx <= TOLERANCE
