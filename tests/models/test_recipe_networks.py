"""Every combination of backbone, neck and heads in the recipes compiles as one graph, exports, and becomes ONNX.

Small twins stand for the recipes' networks: fewer layers and channels, the same parts, and one or two of blocks in a
row. Those whose parts all stand in another combination, or in tests/models/test_contract.py, are left out here;
``python -m tools.recipe_networks`` does the same with all of the networks themselves.
"""

import dataclasses

import pytest

from maskline.builders import backbone
from maskline.models.backbones import mit, resnet
from maskline.models.backbones.hrnet import hrnet_stages
from tools import recipe_networks
from tools.twins import twins

pytestmark = pytest.mark.slow

TOLERANCE = 1e-4  # of the largest logit
COMBINATIONS = twins()


def test_all_combinations_are_there():
    assert sorted(COMBINATIONS) == [
        "hrnet none fcn ocr",
        "little_unet none fcn then little_unet none fcn",
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


ELSEWHERE = {
    "resnet fpn fpn point": "pointrend of the contract",
    "resnet none uper": "uper of the contract",
    "resnet none fcn ocr": "hrnet none fcn ocr",
    "resnet none fcn": "hrnet none fcn ocr",
    "resnet none psp": "unet none psp",
    "unet none aspp": "resnet none aspp",
    "unet none fcn": "unet none psp",
}


@pytest.fixture
def _few_blocks(monkeypatch):
    """Every kind of block, and a second one where a stage has more: each further one takes a second and shows no more.

    The first block of a stage changes the width; the second one keeps it.
    """

    def stages(width, *, small):
        first, *others = hrnet_stages(width, small=small)
        modules = (1, 2, 1)
        return first, *(
            dataclasses.replace(stage, num_modules=count, num_blocks=(1,) * len(stage.num_blocks))
            for stage, count in zip(others, modules, strict=True)
        )

    block, _ = resnet._DEPTHS[18]
    monkeypatch.setitem(resnet._DEPTHS, 18, (block, (1, 1, 1, 2)))
    monkeypatch.setattr(backbone, "hrnet_stages", stages)
    monkeypatch.setitem(mit.MIT_PLANS, "b0", dataclasses.replace(mit.MIT_PLANS["b0"], num_layers=(1, 1, 1, 2)))


@pytest.mark.usefixtures("_few_blocks")
@pytest.mark.parametrize("name", [name for name in COMBINATIONS if name not in ELSEWHERE])
def test_it_compiles_exports_and_becomes_onnx(name):
    pytest.importorskip("onnxruntime")
    model = recipe_networks.build(COMBINATIONS[name], classes=3)
    # Without a code generator: what is tested is that nothing in forward breaks the graph.
    assert recipe_networks.compiled(model, backend="eager") <= TOLERANCE
    program, onnx = recipe_networks.exported(model, classes=3)
    assert program <= TOLERANCE
    assert onnx <= TOLERANCE
