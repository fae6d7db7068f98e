"""Rules on single tensors: MMSegmentation's numbers, equal groups merged, rules without effect reported."""

import json

import pytest
import torch
from torch import nn

from maskline.builders.model import segmentor
from maskline.models.backbones.convnext import ConvNeXt
from maskline.optim.groups import CustomKey, Rules, assign, merge, unused
from maskline.optim.layer_decay import LayerDecay
from maskline.params.network.model import validate_model
from maskline.weights.mmseg.model import ModelReader

MULTIPLIERS = ("norm_decay_mult", "bias_lr_mult", "bias_decay_mult", "dwconv_decay_mult", "flat_decay_mult")


def rules(custom_keys=None, layer_decay=None, **multipliers):
    custom = [
        CustomKey(key=key, **{"lr_mult": 1.0, "decay_mult": 1.0, **mult}) for key, mult in (custom_keys or {}).items()
    ]
    return Rules(custom_keys=custom, layer_decay=layer_decay, **{name: multipliers.get(name) for name in MULTIPLIERS})


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.tok = nn.Parameter(torch.zeros(4))
        self.conv = nn.Conv2d(3, 4, 3)
        self.bn = nn.BatchNorm2d(4)
        self.dw = nn.Conv2d(4, 4, 3, groups=4)
        self.head = nn.Conv2d(4, 2, 1)


EVERY = rules(
    {"head": {"lr_mult": 10.0}},
    norm_decay_mult=0.0,
    bias_lr_mult=2.0,
    bias_decay_mult=0.5,
    dwconv_decay_mult=0.1,
    flat_decay_mult=0.2,
)


def test_every_rule_at_once():
    # Printed by mmengine 0.10.7's DefaultOptimWrapperConstructor for this network.
    expected = {
        "tok": (0.1, 0.002),
        "conv.weight": (0.1, 0.01),
        "conv.bias": (0.2, 0.005),
        "bn.weight": (0.1, 0.0),
        "bn.bias": (0.1, 0.0),
        "dw.weight": (0.1, 0.001),
        "dw.bias": (0.2, 0.005),
        "head.weight": (1.0, 0.01),
        "head.bias": (1.0, 0.01),
    }
    found = assign(Small(), lr=0.1, weight_decay=0.01, rules=EVERY)
    assert [each.name for each in found] == list(expected)
    for each in found:
        assert (each.lr, each.weight_decay) == pytest.approx(expected[each.name], rel=1e-12)
    assert not unused(Small(), weight_decay=0.01, rules=EVERY)


def test_the_winning_rules_are_named():
    winning = {each.name: each.rule for each in assign(Small(), lr=0.1, weight_decay=0.01, rules=EVERY)}
    assert winning["conv.weight"] == "base"
    assert winning["conv.bias"] == "bias_lr_mult+bias_decay_mult"
    assert winning["bn.bias"] == "norm_decay_mult"
    assert winning["head.bias"] == "custom_keys.head"


def test_equal_settings_share_a_group():
    merged = merge(assign(Small(), lr=0.1, weight_decay=0.01, rules=EVERY))
    assert [(group["lr"], len(group["params"])) for group in merged] == [
        (0.1, 1),
        (0.1, 1),
        (0.2, 2),
        (0.1, 2),
        (0.1, 1),
        (1.0, 2),
    ]
    assert merged[2]["name"] == "bias_lr_mult+bias_decay_mult"


def test_without_rules_there_is_one_group_in_the_models_order():
    model = Small()
    (group,) = merge(assign(model, lr=0.1, weight_decay=0.01, rules=rules()))
    assert all(one is other for one, other in zip(group["params"], model.parameters(), strict=True))


def test_numbers_that_mmsegmentation_computed(shared_conformance):
    cases = json.loads((shared_conformance / "numbers" / "paramwise_segformer_mit-b0.json").read_text())
    section = next((shared_conformance / "models").glob("segformer_mit-b0*.json"))
    reader = ModelReader()
    params = validate_model(reader.read(json.loads(section.read_text())["model"], preprocessor=None), place=section)
    with torch.device("meta"):
        model = segmentor(params, num_classes=reader.num_classes)
    assert cases
    for case in cases:
        options = case["optimizer"]
        found = assign(
            model, lr=options["lr"], weight_decay=options["weight_decay"], rules=rules(**case["paramwise_cfg"])
        )
        assert {each.name for each in found} == case["groups"].keys()
        for each in found:
            expected = case["groups"][each.name]
            assert [each.lr, each.weight_decay] == pytest.approx(expected, rel=1e-9, abs=1e-12), each.name
        assert len(merge(found)) == len({tuple(pair) for pair in case["groups"].values()})


@pytest.mark.parametrize(
    ("given", "rule", "problem"),
    [
        (rules({"haed": {}}), "custom_keys.haed", "matches no tensor of this network; the nearest names are head"),
        (rules({"zzzzzz": {}}), "custom_keys.zzzzzz", "matches no tensor of this network; maskline explain optimizer"),
        (rules({"hea": {}, "head": {}}), "custom_keys.hea", "is shadowed by custom_keys.head everywhere"),
        (rules({"bn": {}}, norm_decay_mult=0.0), "norm_decay_mult", "is shadowed by custom_keys.bn everywhere"),
        (rules({"d": {}, "tok": {}, "conv": {}, "bn": {}}, flat_decay_mult=0.0), "flat_decay_mult", "is shadowed by"),
    ],
)
def test_a_rule_without_effect_is_reported(given, rule, problem):
    (found,) = unused(Small(), weight_decay=0.01, rules=given)
    assert found.rule == rule
    assert f"{found.problem}; {found.remedy}".startswith(problem)


def test_a_kind_of_tensor_that_is_not_there():
    (found,) = unused(nn.Linear(2, 2), weight_decay=0.1, rules=rules(norm_decay_mult=0.0))
    assert (found.rule, found.problem) == ("norm_decay_mult", "matches no tensor of this network")


def test_factors_on_no_weight_decay():
    (found,) = unused(Small(), weight_decay=0.0, rules=rules(norm_decay_mult=0.0))
    assert found.problem == "scales a weight_decay of 0"


def test_frozen_and_shared_tensors():
    model = Small()
    model.conv.weight.requires_grad_(False)
    model.again = model.head
    names = [each.name for each in assign(model, lr=0.1, weight_decay=0.0, rules=rules())]
    assert names.count("head.weight") == 1
    assert "conv.weight" not in names
    assert "again.weight" not in names


def test_of_equally_long_keys_the_first_in_the_alphabet():
    found = assign(
        Small(), lr=1.0, weight_decay=0.0, rules=rules({"v.weigh": {"lr_mult": 3.0}, "conv.we": {"lr_mult": 2.0}})
    )
    assert {each.name: each.lr for each in found}["conv.weight"] == 2.0


@pytest.mark.parametrize(
    ("kind", "num_layers", "name", "layer"),
    [  # MMSegmentation's ids, by its rules
        ("layer_wise_vit", 12, "backbone.pos_embed", 0),
        ("layer_wise_vit", 12, "backbone.patch_embed.projection.weight", 0),
        ("layer_wise_vit", 12, "backbone.layers.0.attn.qkv.weight", 1),
        ("layer_wise_vit", 12, "backbone.layers.11.ln1.weight", 12),
        ("layer_wise_vit", 12, "decode_head.conv_seg.weight", 13),
        ("layer_wise_vit", 12, "backbone.encoder.model.blocks.3.attn.qkv.weight", 4),
        ("layer_wise", 12, "backbone.downsample_layers.0.0.weight", 0),
        ("layer_wise", 12, "backbone.downsample_layers.1.0.weight", 2),
        ("layer_wise", 12, "backbone.downsample_layers.2.1.weight", 3),
        ("layer_wise", 12, "backbone.downsample_layers.3.1.weight", 12),
        ("layer_wise", 12, "backbone.stages.0.2.gamma", 1),
        ("layer_wise", 12, "backbone.stages.1.0.gamma", 2),
        ("layer_wise", 12, "backbone.stages.2.0.gamma", 3),
        ("layer_wise", 12, "backbone.stages.2.26.gamma", 11),
        ("layer_wise", 12, "backbone.stages.3.1.gamma", 12),
        ("layer_wise", 12, "backbone.norm0.weight", 13),
        ("layer_wise", 6, "backbone.encoder.model.stem_0.weight", 0),
        ("layer_wise", 6, "backbone.encoder.model.stages_1.downsample.0.weight", 2),
        ("layer_wise", 6, "backbone.encoder.model.stages_2.blocks.5.gamma", 4),
        ("stage_wise", 4, "backbone.downsample_layers.3.1.weight", 0),
        ("stage_wise", 4, "backbone.stages.2.7.gamma", 3),
        ("stage_wise", 4, "backbone.encoder.model.stages_3.blocks.1.gamma", 4),
        ("stage_wise", 4, "decode_head.conv_seg.weight", 5),
        ("layer_wise", 6, "backbone.model.stages.3.downsample.0.weight", 6),
        ("stage_wise", 4, "backbone.model.stages.3.downsample.0.weight", 0),
        ("stage_wise", 4, "backbone.model.stages.2.blocks.5.gamma", 3),
        ("stage_wise", 4, "members.11.backbone.model.stages.2.blocks.5.gamma", 3),
    ],
)
def test_depth_of_a_tensor(kind, num_layers, name, layer):
    decay = LayerDecay(kind=kind, num_layers=num_layers, rate=0.9)
    assert decay.layer(name) == layer
    assert decay.lr_mult(name) == pytest.approx(0.9 ** (num_layers + 2 - layer - 1))


@pytest.mark.parametrize("kind", ["layer_wise", "stage_wise"])
def test_layers_of_a_backbone_of_its_own(kind):
    with torch.device("meta"):
        names = [f"backbone.{name}" for name, _ in ConvNeXt(size="atto", in_channels=3).named_parameters()]
    decay = LayerDecay(kind=kind, num_layers=6, rate=0.9)
    assert {name for name in names if not decay.knows(name)} == {name for name in names if ".norm" in name[:14]}
    assert decay.layer("backbone.model.stem.0.weight") == 0


def test_rates_by_depth():
    model = nn.ModuleDict({"backbone": nn.ModuleDict({"stages": nn.ModuleList([nn.ModuleList([nn.Linear(2, 2)])])})})
    model["decode_head"] = nn.Linear(2, 2)
    given = rules(layer_decay=LayerDecay(kind="stage_wise", num_layers=2, rate=0.5))
    found = {each.name: (each.lr, each.weight_decay) for each in assign(model, lr=1.0, weight_decay=0.1, rules=given)}
    assert found == {
        "backbone.stages.0.0.weight": (0.25, 0.1),
        "backbone.stages.0.0.bias": (0.25, 0.0),
        "decode_head.weight": (1.0, 0.1),
        "decode_head.bias": (1.0, 0.0),
    }
    assert not unused(model, weight_decay=0.1, rules=given)
    (idle,) = unused(Small(), weight_decay=0.1, rules=given)
    assert idle.problem == "knows no layer of this backbone"
