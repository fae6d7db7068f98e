"""Every ``name`` of the shipped params.yaml switches alone: it validates, builds and trains a step."""

import copy
import json
import logging
import re
import shlex
import typing

import pytest
import torch
from dvc.utils.hydra import apply_overrides

from maskline.builders.losses import criteria
from maskline.builders.model import segmentor
from maskline.builders.optim import optimizer, schedule
from maskline.core.errors import DataError, ParamsError
from maskline.optim.optimizers import KNOBS, set_rates, unread_knobs
from maskline.params.base.reading import read_yaml
from maskline.params.base.variants import ByName, reads, sections_in, tags
from maskline.params.network.heads import HeadParams
from maskline.params.network.losses import LossParams
from maskline.params.network.model import BackboneParams, validate_model
from maskline.params.network.necks import NeckParams
from maskline.params.optimizer import OptimizerParams
from maskline.params.schedule import ScheduleParams
from maskline.params.whole import json_schema, load_params, validate_params

OWN = "path/to/file.py:Name"


def names(union):
    return [tag for variant in sections_in(union) for tag in tags(variant) if tag != OWN]


def literal(kind):
    return typing.get_args(kind.model_fields["name"].annotation)


REFINING = ("ocr", "point")
ALIKE = ("setr_mla", "dpt", "multi_level", "feature2pyramid", "mla")  # take features of one resolution
AUXILIARY = ("stdc",)
HEADS = [name for name in names(HeadParams) if name not in (*REFINING, *AUXILIARY)]
BACKBONES = [
    "unet",
    "resnet50_v1c",
    "resnet18_v1b",
    "mixvit_b0",
    "hrnet18s",
    "resnest50",
    "mobilenet_v2_d8",
    "bisenet_v1_r18",
    "bisenet_v2",
    "icnet_r18",
    "mobilenet_v3_small_d8",
    "stdc1",
    "ddrnet23_slim",
    "pidnet_s",
    "cgnet",
    "erfnet",
    "fast_scnn",
    "little_unet",
    "mscan_t",
    "swin_tiny",
    "vit_tiny",
    "resnet18",
    "mobilenet_v2",
    "tu-convnext_atto",
]
FAMILIES = [
    "test_vit",
    "unet",
    "resnet18_v1b",
    "resnet152_v1d",
    "mixvit_b0",
    "hrnet18",
    "hrnet48",
    "resnet18",
    "nets/mine.py:Net",
]
FAMILIES += ["poolformer_s12_normed", "swin_base_window12", "pcpvt_small", "svt_large", "vit_tiny", "mae_base"]
FAMILIES += ["convnext_tiny_normed", "resnest50", "mobilenet_v2_d8", "bisenet_v1_r18", "bisenet_v2", "icnet_r18"]
FAMILIES += ["mobilenet_v3_large_d8", "stdc2", "ddrnet23", "pidnet_m", "cgnet", "erfnet", "fast_scnn", "mscan_s"]
FAMILIES += ["little_unet"]


@pytest.fixture(scope="module")
def plain(shipped_params):
    return read_yaml(shipped_params)


@pytest.fixture
def switched(plain, tmp_path):
    """Return the params after ``dvc exp run -S``: DVC sets the keys in a file of JSON, which is read at once."""

    def switch(*overrides):
        path = tmp_path / "params.json"
        path.write_text(json.dumps(plain))
        apply_overrides(path, list(overrides))
        return validate_params(json.loads(path.read_text()), place=path)

    return switch


@pytest.mark.parametrize(
    "overrides",
    [
        ["model.decode_head.name=ocr", "+model.cascade_heads=[{name: fcn}]"],
        ["model.backbone.name=test_vit", "model.auxiliary_heads=[]", "++model.norm.num_groups=4"],
        ["schedule.name=step", "schedule.length=12", "optimizer.name=sgd"],
    ],
)
def test_dvc_sets_the_same_in_the_file_of_yaml(shipped_params, switched, tmp_path, overrides):
    path = tmp_path / "params.yaml"
    path.write_bytes(shipped_params.read_bytes())
    apply_overrides(path, overrides)
    assert load_params(path) == switched(*overrides) != load_params(shipped_params)


def on_plain(name):
    """Overrides that give features of one resolution to what needs them."""
    if name == "eomt":
        return ["model.backbone.name=test_vit", "model.auxiliary_heads=[]"]
    return ["model.backbone.name=vit_tiny"] if name in ALIKE else []


def step(params, *, side=64):
    """Train a step on noise."""
    torch.manual_seed(0)
    model = segmentor(params.model, num_classes=2)
    images, target = torch.randn(2, 3, side, side), torch.randint(0, 2, (2, side, side))
    target[:, :8] = 255
    made = optimizer(params.optimizer, model)
    set_rates(made, schedule(params.schedule, iterations=params.train.iterations, epoch_iterations=10.0), 60)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    losses = criteria(params.model)
    pairs = model.supervise_heads(images, target)
    assert pairs.keys() == losses.keys()
    values = [losses[name](logits, truth, 255) for name, (logits, truth) in pairs.items()]
    sum(sum(value.values()) if isinstance(value, dict) else value for value in values).backward()
    made.step()
    after = list(model.parameters())
    assert all(torch.isfinite(parameter).all() for parameter in after)
    assert any(not torch.equal(old, new) for old, new in zip(before, after, strict=True))


@pytest.mark.parametrize("name", HEADS)
def test_every_head(switched, name):
    step(switched(f"model.decode_head.name={name}", *on_plain(name)), side=32)


@pytest.mark.parametrize("name", AUXILIARY)
def test_a_head_of_borders_is_auxiliary(switched, name):
    step(switched(f"++model.auxiliary_heads=[{{name: {name}, channels: 8}}]"))
    with pytest.raises(ParamsError, match="move it to auxiliary_heads"):
        switched(f"model.decode_head.name={name}")


@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone(switched, name):
    step(switched(f"model.backbone.name={name}"))


@pytest.mark.parametrize("name", names(NeckParams))
def test_every_neck(switched, name):
    step(switched(f"model.neck.name={name}", *on_plain(name)), side=32)


@pytest.mark.parametrize("name", ALIKE)
def test_what_takes_one_resolution_says_so(switched, name):
    params = switched(f"model.{'decode_head' if name in HEADS else 'neck'}.name={name}")
    with pytest.raises(DataError, match=rf"strides \[.* for (the head )?{name}; give it .* vit"):
        segmentor(params.model, num_classes=2)


@pytest.mark.parametrize("name", literal(ScheduleParams))
def test_every_schedule(switched, name):
    params = switched(f"schedule.name={name}")
    made = schedule(params.schedule, iterations=1200, epoch_iterations=10.0)
    assert 0 <= made.factor(1199) <= 1
    step(params, side=32)


@pytest.mark.parametrize("name", literal(OptimizerParams))
def test_every_optimizer(switched, name):
    step(switched(f"optimizer.name={name}"), side=32)


@pytest.mark.parametrize("name", ["bn", "syncbn", "gn"])
def test_every_norm(switched, name):
    step(switched(f"model.norm.name={name}", "++model.norm.num_groups=4"))


@pytest.mark.parametrize("name", names(LossParams))
def test_every_loss(switched, name):
    step(switched(f"model.decode_head.losses=[{{name: {name}}}]"), side=32)


@pytest.mark.parametrize("name", REFINING)
def test_the_remedy_of_a_head_that_refines_can_be_pasted(switched, name):
    with pytest.raises(ParamsError, match=f"decode_head {name} refines the logits of a head before it") as caught:
        switched(f"model.decode_head.name={name}")
    flag, override = shlex.split(str(caught.value).rsplit("give it one: ", maxsplit=1)[1])
    assert flag == "-S"
    step(switched(f"model.decode_head.name={name}", override), side=32)


def test_steps_that_nobody_has_set_are_at_two_thirds_and_eight_ninths(switched):
    params = switched("schedule.name=step").schedule
    assert schedule(params, iterations=1200, epoch_iterations=10.0).milestones == (800, 1067)
    assert schedule(params, iterations=1000, epoch_iterations=10.0).milestones == (667, 889)
    half = switched("schedule.name=step", "schedule.length=600").schedule
    assert schedule(half, iterations=1200, epoch_iterations=10.0).milestones == (400, 534)
    every = switched("schedule.name=step", "schedule.step_every=100").schedule
    assert schedule(every, iterations=1200, epoch_iterations=10.0).factor(250) == pytest.approx(0.01)
    epochs = switched("schedule.name=step", "schedule.length=12", "schedule.unit=epochs", "schedule.warmup_length=1")
    assert schedule(epochs.schedule, iterations=1200, epoch_iterations=10.0).milestones == (80, 107)


def rates(name, **changes):
    made = schedule(ScheduleParams(name=name, **changes), iterations=1200, epoch_iterations=10.0)
    return [made.rate(i, 0.002) for i in range(1200)]


def test_an_exponential_decay_that_nobody_has_set_ends_at_a_hundredth():
    assert rates("exponential")[-1] == pytest.approx(0.002 / 100)
    assert rates("exponential", gamma=0.5)[60] == pytest.approx(0.002 * 0.5**10)


def test_params_and_schedules_agree_on_who_reads_what():
    """A key that is not read makes no difference; one that is read makes one."""
    values = {"length": 900, "power": 2.0, "end_factor": 0.5, "end_lr": 0.001, "milestones": (300,), "step_every": 70}
    values |= {"gamma": 0.9, "cycle_start": 0.5, "cycle_peak": 0.7, "cycles": 3}
    assert values.keys() == marked(ScheduleParams).keys()
    for name in literal(ScheduleParams):
        for key, value in values.items():
            assert (rates(name) != rates(name, **{key: value})) == reads(ScheduleParams, key, name), (name, key)


@pytest.mark.parametrize("name", literal(OptimizerParams))
def test_params_and_optimizers_agree_on_who_reads_what(name):
    assert {key for key in KNOBS if not reads(OptimizerParams, key, name)} == set(unread_knobs(name))


def marked(kind):
    return {
        key: field.json_schema_extra["read_by"] for key, field in kind.model_fields.items() if field.json_schema_extra
    }


@pytest.mark.parametrize(
    ("kind", "known"), [(BackboneParams, FAMILIES), (OptimizerParams, None), (ScheduleParams, None)]
)
def test_every_mark_fits_a_name(kind, known):
    for key, readers in marked(kind).items():
        for reader in readers:
            assert any(re.fullmatch(reader, name) for name in known or literal(kind)), (key, reader)


@pytest.mark.parametrize(
    ("name", "read"),
    [
        (
            "unet",
            {"strides", "dilations", "base_channels", "num_stages", "encoder_convs", "decoder_convs"}
            | {"decoder_dilations", "downsamples", "upsample"},
        ),
        (
            "resnet18_v1c",
            {"output_stride", "stem_channels", "strides", "dilations", "contract_dilation", "multi_grid"},
        ),
        ("resnet18", {"output_stride"}),
        ("mixvit_b0", {"drop_path", "dropout", "attention_dropout"}),
        ("hrnet18", set()),
        ("convnext_tiny_normed", {"drop_path"}),
        ("swin_tiny", {"drop_path", "dropout", "attention_dropout"}),
        (
            "beit_base",
            {"drop_path", "attention_dropout", "patch_size", "image_size", "out_indices", "final_norm"}
            | {"layer_norm_eps"},
        ),
        ("bisenet_v2", set()),
        ("mscan_b", {"drop_path", "dropout"}),
        ("erfnet", {"dropout"}),
        ("little_unet", {"base_channels", "num_stages"}),
        ("vit_small_patch14_dinov2", {"output_stride", "patch_size", "out_indices", "final_norm"}),
        ("nets/mine.py:Net", {"options"}),
    ],
)
def test_what_a_backbone_reads(name, read):
    assert {key for key in marked(BackboneParams) if reads(BackboneParams, key, name)} == read


def logged(values, caplog):
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="maskline"):
        validate_params(values, place="params.yaml")
    return caplog.text


def test_nothing_is_said_of_the_shipped_file(plain, caplog):
    assert logged(plain, caplog) == ""


def test_the_card_of_a_model_says_nothing_of_its_keys(plain, caplog):
    card = validate_params(plain).model.model_dump(mode="json")
    card["backbone"] |= {"name": "resnet18", "num_stages": 3}
    with caplog.at_level(logging.INFO, logger="maskline"):
        validate_model(card, place="model.json")
    assert caplog.text == ""


def with_model(plain, **changes):
    values = copy.deepcopy(plain)
    values["model"] |= changes
    return values


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"decode_head": {"name": "psp", "num_convs": 1}}, "model.decode_head.num_convs (by psp)"),
        ({"decode_head": {"name": "psp", "num_convs": None, "dilations": []}}, ""),
        (
            {"decode_head": {"name": "psp", "num_convs": 1, "concat_input": False}},
            "model.decode_head.num_convs, model.decode_head.concat_input (by psp)",
        ),
        (
            {"auxiliary_heads": [{"name": "psp", "num_fcs": 2, "losses": [{"name": "dice", "radius": 2}]}]},
            "model.auxiliary_heads.0.num_fcs (by psp); model.auxiliary_heads.0.losses.0.radius (by dice)",
        ),
        ({"norm": {"name": "gn", "momentum": 0.5, "num_groups": 4}}, "model.norm.momentum (by gn)"),
        ({"decode_head": {"name": "own/a.py:A", "bins": [1]}}, "model.decode_head.bins (by own/a.py:A)"),
        (
            {"auxiliary_heads": [{"name": "fcn"}, {"name": "fcn", "losses": [{"name": "dice", "gamma": 2.0}]}]},
            "model.auxiliary_heads.1.losses.0.gamma (by dice)",
        ),
        ({"cascade_heads": [{"name": "uper", "strides": [4]}]}, "model.cascade_heads.0.strides (by uper)"),
        ({"neck": {"name": "select", "out_channels": 8}}, "model.neck.out_channels (by select)"),
        ({"neck": {"name": "none", "indices": [0]}}, "model.neck.indices (by none)"),
        ({"smp": {"losses": [{"name": "focal", "beta": 0.1}]}}, "model.smp.losses.0.beta (by focal)"),
        ({"backbone": {"name": "resnet18", "strides": [1, 1, 1, 1]}}, "model.backbone.strides (by resnet18)"),
        ({"backbone": {"name": "resnet18_v1c", "strides": [1, 2, 2, 2]}}, ""),
        ({"backbone": {"base_channels": 32}}, ""),
        ({"backbone": {"multi_grid": [1, 2]}}, "model.backbone.multi_grid (by unet)"),
    ],
)
def test_a_key_that_the_chosen_one_does_not_read_is_named(plain, caplog, changes, text):
    found = logged(with_model(plain, **changes), caplog)
    assert (f"params.yaml: not read: {text}\n" in found) if text else found == ""


@pytest.mark.parametrize(
    ("section", "changes", "text"),
    [
        ("optimizer", {"name": "sgd", "betas": [0.5, 0.9]}, "optimizer.betas (by sgd)"),
        ("optimizer", {"name": "sgd", "momentum": 0.5}, ""),
        ("schedule", {"gamma": 0.5}, "schedule.gamma (by poly)"),
        ("schedule", {"milestones": [5]}, "schedule.milestones (by poly)"),
    ],
)
def test_of_knobs_that_stand_side_by_side_too(plain, caplog, section, changes, text):
    values = copy.deepcopy(plain)
    values[section] |= changes
    found = logged(values, caplog)
    assert (f"params.yaml: not read: {text}\n" in found) if text else found == ""


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"decode_head": {"name": "psp", "bin": [1]}}, "model.decode_head.bin: unknown key; did you mean bins?"),
        ({"decode_head": {"channels": 8}}, "model.decode_head.name: missing; add the key name to its section"),
        ({"neck": {"indices": [0]}}, "model.neck.name: missing; add the key name to its section"),
        (
            {"neck": {"name": "fpn", "outchannels": 8}},
            "model.neck.outchannels: unknown key; did you mean out_channels?",
        ),
        (
            {"neck": {"name": "fnp"}},
            'model.neck.name: "fnp" is not one of none, fpn, select, resize_concat, jpu, ic, multi_level, '
            "feature2pyramid, mla; did you mean fpn?",
        ),
        (
            {"auxiliary_heads": [{"name": "fcn"}, {"name": "fcn", "losses": [{"name": "focal", "gama": 2.0}]}]},
            "model.auxiliary_heads.1.losses.0.gama: unknown key; did you mean gamma?",
        ),
        (
            {"auxiliary_heads": [{"name": "fcn", "losses": [{"weight": 2.0}]}]},
            "model.auxiliary_heads.0.losses.0.name: missing; add the key name to its section",
        ),
        ({"cascade_heads": [{"name": "upr"}]}, 'model.cascade_heads.0.name: "upr" is not one of fcn,'),
        ({"cascade_heads": [{"name": "qqq"}]}, "mask2former, eomt, path/to/file.py:Name; choose one of them"),
        ({"smp": {"losses": [{"name": "dise"}]}}, "did you mean dice?"),
        (
            {"backbone": {"name": "unet", "base_chanels": 8}},
            "model.backbone.base_chanels: unknown key; did you mean base_channels?",
        ),
        (
            {"decode_head": {"name": "own/a.py:A", "optionz": {}}},
            "model.decode_head.optionz: unknown key; did you mean options?",
        ),
        (
            {"decode_head": {"name": "own/a.py"}},
            "model.decode_head.name: 'own/a.py' is not of the form path/to/file.py:Name",
        ),
        ({"decode_head": {"name": "/own/a.py:A"}}, "is outside of the project's folder"),
        ({"backbone": {"name": "../a.py:A"}}, "model.backbone.name: '../a.py:A' is outside of the project's folder"),
    ],
)
def test_a_key_that_none_knows_is_an_error(plain, changes, text):
    with pytest.raises(ParamsError) as caught:
        validate_params(with_model(plain, **changes), place="params.yaml")
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_schema_of_editors_takes_what_the_check_takes(plain):
    jsonschema = pytest.importorskip("jsonschema")
    check = jsonschema.Draft202012Validator(json_schema())
    check.validate(plain)

    def validate(**model):
        check.validate({"model": model})  # what is left out need not be checked again for each name

    heads = [{**plain["model"]["decode_head"], "name": name} for name in [*HEADS, "own/mine.py:Head"]]
    for head in heads:
        validate(decode_head=head)
    validate(auxiliary_heads=heads)
    losses = [{"name": name} for name in names(LossParams)] + [{"name": "own/a.py:f", "options": {"a": 1}}]
    validate(decode_head={"name": "own/a.py:A", "options": {"b": [1]}, "losses": losses})
    for name in FAMILIES:
        validate(backbone={**plain["model"]["backbone"], "name": name, "options": {}})
    for name in names(NeckParams):
        validate(neck={"name": name, "indices": [0]})
    for head in ({"name": "psp", "bin": [1]}, {"name": "own/mine.py"}, {"name": "ps"}):
        with pytest.raises(jsonschema.ValidationError):
            validate(decode_head=head)


def test_a_union_is_told_apart_in_one_place():
    for union in (HeadParams, LossParams, NeckParams):
        assert any(isinstance(mark, ByName) for mark in union.__metadata__)
