"""maskline import-weights: other projects' files become model folders."""

import json
import shutil

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

from maskline.builders.inference import load_segmentor
from maskline.builders.model import segmentor
from maskline.commands.main import main
from maskline.core.errors import CheckpointError
from maskline.models.backbones.encoder import encoder
from maskline.models.stem import adapt_input_channels
from maskline.params.whole import load_params, validate_params
from maskline.runtime.checkpoint import save_model
from maskline.runtime.libraries import declare_missing_operators
from tools.trial import complete_params

BN = "dict(type='SyncBN', requires_grad=True)"
CONFIG = f"""
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(type='SegDataPreProcessor', mean=[1.0, 2.0, 3.0], std=[4.0, 5.0, 6.0], bgr_to_rgb=True),
    backbone=dict(type='UNet', base_channels=4, num_stages=3, strides=(1, 1, 1), enc_num_convs=(2, 2, 2),
        dec_num_convs=(2, 2), downsamples=(True, True), enc_dilations=(1, 1, 1), dec_dilations=(1, 1), norm_cfg={BN}),
    decode_head=dict(type='FCNHead', in_channels=4, in_index=2, channels=4, num_convs=1, concat_input=False,
        num_classes=2, norm_cfg={BN}, loss_decode=[dict(type='CrossEntropyLoss', loss_weight=1.0),
            dict(type='DiceLoss', loss_weight=3.0), dict(type='HuasdorffDisstanceLoss', loss_weight=1.0)]),
    auxiliary_head=dict(type='FCNHead', in_channels=8, in_index=1, channels=4, num_convs=1, concat_input=False,
        num_classes=2, norm_cfg={BN}, loss_decode=dict(type='CrossEntropyLoss', loss_weight=0.4)),
    train_cfg=dict(), test_cfg=dict(mode='slide', crop_size=(64, 64), stride=(42, 42)))
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=0.0005))
param_scheduler = [dict(type='PolyLR', eta_min=0.0001, power=0.9, begin=0, end=40000, by_epoch=False)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=40000, val_interval=4000)
"""
META = {"cfg": CONFIG, "dataset_meta": {"classes": ("background", "vessel"), "palette": [[1, 2, 3], [4, 5, 6]]}}


def invoke(*arguments):
    return CliRunner().invoke(main, ["import-weights", *map(str, arguments)])


def fails(message, *arguments):
    result = invoke(*arguments)
    assert result.exit_code == 2, result.output
    assert message in result.output
    assert len(result.output.strip().splitlines()) == 1, result.output


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """The tensors of the configured network, by way of a folder that was imported from nothing but names."""
    folder = tmp_path_factory.mktemp("network")
    torch.save({"state_dict": {"decode_head.conv_seg.bias": torch.zeros(2)}, "meta": META}, folder / "c.pth")
    result = invoke(folder / "c.pth", "-o", folder / "m", "--allow-partial")
    assert result.exit_code == 0, result.output
    generator = torch.Generator().manual_seed(0)
    state = load_segmentor(folder / "m").state_dict()
    return {
        key: torch.rand(value.shape, generator=generator) if value.is_floating_point() else value
        for key, value in state.items()
    }


@pytest.fixture
def checkpoint(network, tmp_path):
    torch.save({"state_dict": network, "meta": META}, tmp_path / "c.pth")
    return tmp_path / "c.pth"


@pytest.mark.parametrize(
    ("kind", "change", "problem"),
    [
        ("conv_seg.weight", lambda value: value * float("nan"), "is not finite"),
        ("conv_seg.weight", lambda value: value / 0, "is not finite"),
        ("conv_seg.weight", lambda value: value.to(torch.complex64), "is of type complex64"),
        ("conv_seg.weight", lambda value: value > 0, "is of type bool"),
        ("running_var", lambda value: -value, "has negative variances"),
    ],
)
def test_values_that_no_training_leaves_are_refused(network, tmp_path, kind, change, problem):
    name = next(key for key in network if key.endswith(kind))
    torch.save({"state_dict": {**network, name: change(network[name])}, "meta": META}, tmp_path / "c.pth")
    fails(f"{name} {problem}", tmp_path / "c.pth", "-o", tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_a_folder_of_weights_that_no_training_leaves(checkpoint, network, tmp_path):
    """A model folder, and weights by a recipe, go through the same check."""
    assert invoke(checkpoint, "-o", tmp_path / "m").exit_code == 0
    card = json.loads((tmp_path / "m/model.json").read_text())
    weights = {name: value.to(torch.complex64) if name.endswith("bias") else value for name, value in network.items()}
    save_model(tmp_path / "m", weights=weights, last=None, card=card)
    with pytest.raises(CheckpointError, match=r"model\.safetensors: .*bias is of type complex64"):
        load_segmentor(tmp_path / "m")


@pytest.mark.parametrize(
    ("tensors", "problem"),
    [
        ({"decode_head.conv_seg.weight": torch.tensor(1.0)}, "its tensors are no network's (IndexError"),
        ({"decode_head.conv_seg.weight": torch.zeros(2**40, 0)}, "1099511627776 classes"),
        ({"attn.q.weight": torch.zeros(2, 2), "attn.kv.weight": torch.zeros(2, 3)}, "no network's (RuntimeError"),
        (
            {
                "attn_mask_probs": torch.tensor(1.0),
                "query.weight": torch.ones(1),
                "class_predictor.weight": torch.ones(1),
            },
            "its tensors are no network's (TypeError",
        ),
    ],
)
def test_shapes_that_no_network_has(network, tmp_path, shipped_params, tensors, problem):
    save_file({**network, **tensors}, tmp_path / "c.safetensors")
    source = (tmp_path / "c.safetensors", "--recipe", shipped_params)
    fails(problem, *source, "-o", tmp_path / "m", "--allow-partial")
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("tensors", "problem"),
    [
        ({"decode_head.conv_seg.bias": torch.zeros(2, dtype=torch.complex64)}, "conv_seg.bias is of type complex64"),
        ({"decode_head.conv_seg.bias": torch.zeros(2).to(torch.float8_e4m3fn)}, "is of type float8_e4m3fn"),
        ({"decode_head.conv_seg.weight": torch.zeros(2**40, 0)}, "not of the network of"),
        ({"decode_head.conv_seg.weight": torch.zeros(1, 4)}, "1 classes by its last layer"),
    ],
)
def test_weights_by_a_recipe_go_through_the_same_check(shipped_params, tmp_path, pictures, tensors, problem):
    state = segmentor(load_params(shipped_params).model, num_classes=2).state_dict()
    save_file({**state, **tensors}, tmp_path / "w.safetensors")
    arguments = [
        "predict",
        str(shipped_params),
        str(pictures / "eye.png"),
        "--weights",
        str(tmp_path / "w.safetensors"),
    ]
    result = CliRunner().invoke(main, [*arguments, "-o", str(tmp_path / "out")])
    assert result.exit_code == 2, result.output
    assert problem in result.output
    assert not (tmp_path / "out").exists()


def test_a_users_own_folder_is_not_replaced(checkpoint, tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "photo.jpg").write_text("mine")
    fails("holds photo.jpg, which is no part of a model", checkpoint, "-o", tmp_path / "own")
    fails("a file; give a folder", checkpoint, "-o", tmp_path / "own" / "photo.jpg")
    assert (tmp_path / "own" / "photo.jpg").read_text() == "mine"
    for _ in range(2):  # an empty folder, and a model
        assert invoke(checkpoint, "-o", tmp_path / "m").exit_code == 0


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("base_channels=4", "base_channels=20_000", "describes a network much larger than its weights"),
        ("num_classes=2", "num_classes=100_000_000", "100000000 classes"),
        ("channels=4, num_convs=1", "channels=1, num_convs=10_000_000", "much larger than its weights"),
        ("type='UNet'", "type='UNet', in_channels=1_000_000_000", "in_channels 1000000000"),
        ("num_stages=3", "num_stages=1_000_000_000", "num_stages 1000000000"),
        ("strides=(1, 1, 1)", "strides=5", "not the form of a configuration"),
        ("lr=0.01", "lr='x'", "not the form of a configuration (ValueError"),
        ("lr=0.01", "lr=1e400", "not the form of a configuration (ValueError"),
        ("max_iters=40000", "max_iters=1e400", "not the form of a configuration (OverflowError"),
        ("decode_head=dict(", "decode_head=[], init_cfg=dict(", "not the form of a configuration (IndexError"),
        ("mean=[1.0, 2.0, 3.0]", "mean=['x']", "not the form of a configuration (ValueError"),
    ],
)
def test_configurations_that_no_network_has(checkpoint, tmp_path, old, new, problem):
    assert old in CONFIG
    (tmp_path / "config.py").write_text(CONFIG.replace(old, new))
    fails(problem, checkpoint, "--mmseg-config", tmp_path / "config.py", "-o", tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_names_and_colors_that_are_none(network, tmp_path):
    """Whatever a file holds under these keys: the weights come, with standard names and colors, and a note says so."""
    told = {"classes": ("a\x1b[2J", "b"), "palette": ["x", "yy"]}
    state = {**network, "\x1b[31mevil": torch.ones(1)}
    torch.save({"state_dict": state, "meta": {"cfg": CONFIG, "dataset_meta": told}}, tmp_path / "c.pth")
    result = invoke(tmp_path / "c.pth", "-o", tmp_path / "m", "--allow-partial", "--verbose")
    assert result.exit_code == 0, result.output
    assert "note: its class names are none of 2 classes" in result.output
    assert "note: its palette is none of 2 classes" in result.output
    assert "\n  \\x1b[31mevil\n" in result.output
    assert "\x1b" not in result.output
    labels = json.loads((tmp_path / "m" / "model.json").read_text())["labels"]
    assert labels["class_names"] == ["class_0", "class_1"]
    assert labels["palette"] == [[0, 0, 0], [128, 0, 0]]


def test_a_card_that_describes_more_than_the_weights_takes_no_memory(checkpoint, tmp_path):
    invoke(checkpoint, "-o", tmp_path / "m")
    card = json.loads((tmp_path / "m/model.json").read_text())
    card["params"]["model"]["backbone"]["base_channels"] = 20_000
    (tmp_path / "m/model.json").write_text(json.dumps(card))
    with pytest.raises(CheckpointError, match="much larger than its weights"):
        load_segmentor(tmp_path / "m")


def test_the_checkpoints_own_configuration(checkpoint, network, tmp_path):
    result = invoke(checkpoint, "-o", tmp_path / "model")
    assert result.exit_code == 0, result.output
    assert f"matched: {len(network)}\n" in result.output
    assert "note: model.decode_head: loss HuasdorffDisstanceLoss is not taken over" in result.output
    card = json.loads((tmp_path / "model" / "model.json").read_text())
    assert card["labels"]["class_names"] == ["background", "vessel"]
    assert card["labels"]["palette"] == [[1, 2, 3], [4, 5, 6]]
    assert card["preprocessing"] == {"mean": [1.0, 2.0, 3.0], "std": [4.0, 5.0, 6.0], "scale": 255}
    assert card["params"]["optimizer"] == {"name": "sgd", "lr": 0.01, "momentum": 0.9, "weight_decay": 0.0005}
    assert card["params"]["schedule"] == {
        "warmup_length": 0,
        "name": "poly",
        "power": 0.9,
        "end_lr": 0.0001,
    }
    assert card["params"]["train"] == {"iterations": 40000, "val_every": 4000}
    assert card["params"]["evaluate"] == {"inference": "slide", "window": [64, 64], "stride": [42, 42]}
    losses = card["params"]["model"]["decode_head"]["losses"]
    assert [(loss["name"], loss["weight"]) for loss in losses] == [("cross_entropy_mmseg", 1.0), ("dice_mmseg", 3.0)]
    state = load_segmentor(tmp_path / "model").state_dict()
    assert all(torch.equal(state[key], value) for key, value in network.items())


def test_training_starts_from_the_folder(checkpoint, network, tmp_path, shipped_params):
    assert invoke(checkpoint, "-o", tmp_path / "model").exit_code == 0
    values = complete_params(shipped_params)
    card = json.loads((tmp_path / "model" / "model.json").read_text())
    values["model"] = {**card["params"]["model"], "weights": str(tmp_path / "model")}
    model = segmentor(validate_params(values).model, num_classes=5)
    own = model.state_dict()
    assert own["decode_head.conv_seg.bias"].shape == (5,)
    key = "backbone.encoder.0.0.convs.0.conv.weight"
    assert torch.equal(own[key], network[key])


def test_images_are_segmented(checkpoint, tmp_path, pictures):
    assert invoke(checkpoint, "-o", tmp_path / "model").exit_code == 0
    arguments = ["predict", str(tmp_path / "model"), str(pictures / "eye.png"), "-o", str(tmp_path / "out")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output


def test_a_partial_load_is_refused_unless_told(checkpoint, network, tmp_path):
    fewer = {key: value for key, value in network.items() if not key.startswith("auxiliary_head")}
    torch.save({"state_dict": {**fewer, "ema.x": torch.ones(1)}, "meta": META}, checkpoint)
    fails("1 left over", checkpoint, "-o", tmp_path / "model")
    assert not (tmp_path / "model").exists()
    result = invoke(checkpoint, "-o", tmp_path / "model", "--allow-partial")
    assert result.exit_code == 0
    assert "left over: 1\n  ema.x\n" in result.output
    assert "missing: 7\n  auxiliary_head." in result.output


def test_another_architecture(checkpoint, tmp_path):
    torch.save({"state_dict": {"conv9.weight": torch.ones(3)}, "meta": META}, checkpoint)
    fails("no tensor fits this network", checkpoint, "-o", tmp_path / "model")


def test_another_width(checkpoint, tmp_path):
    config = tmp_path / "config.py"
    config.write_text(CONFIG.replace("base_channels=4", "base_channels=8"))
    fails("of another shape; the first: backbone", checkpoint, "--mmseg-config", config, "-o", tmp_path / "model")


def test_a_truncated_file(checkpoint, tmp_path):
    checkpoint.write_bytes(checkpoint.read_bytes()[:-200])
    fails("damaged, or no checkpoint", checkpoint, "-o", tmp_path / "model")


def test_no_configuration(checkpoint, network, tmp_path):
    torch.save(network, checkpoint)
    fails("holds no configuration; give --mmseg-config FILE or --recipe NAME", checkpoint, "-o", tmp_path / "model")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("type='UNet'", "type='Swin'", "type Swin has no counterpart"),
        ("type='FCNHead', in_channels=4", "type='VPDDepthHead', in_channels=4", "type VPDDepthHead has no counterpart"),
        ("train_cfg=dict(), ", "neck=dict(type='CSPNeck'), ", "type CSPNeck has no counterpart"),
        ("num_classes=2, norm_cfg", "num_classes=2, surprise=1, norm_cfg", "surprise 1 has no counterpart"),
    ],
)
def test_what_has_no_counterpart_is_named(checkpoint, tmp_path, old, new, message):
    config = tmp_path / "config.py"
    config.write_text(CONFIG.replace(old, new))
    fails(message, checkpoint, "--mmseg-config", config, "-o", tmp_path / "model")


def recipe(shipped_params, tmp_path, **changes):
    from ruamel.yaml import YAML

    values = complete_params(shipped_params)
    values["model"] = {**values["model"], **changes}
    path = tmp_path / "recipe.yaml"
    with path.open("w") as stream:
        YAML().dump(values, stream)
    return path


def test_an_smp_model_with_its_own_names(shipped_params, tmp_path):
    path = recipe(shipped_params, tmp_path, type="smp")
    model = segmentor(load_params(path).model, num_classes=3)
    state = {key.removeprefix("model."): value for key, value in model.state_dict().items()}
    torch.save(state, tmp_path / "c.pth")
    result = invoke(tmp_path / "c.pth", "--recipe", path, "-o", tmp_path / "model")
    assert result.exit_code == 0, result.output
    assert "names: segmentation-models-pytorch, whole model" in result.output
    card = json.loads((tmp_path / "model" / "model.json").read_text())
    assert card["labels"]["class_names"] == ["class_0", "class_1", "class_2"]
    loaded = load_segmentor(tmp_path / "model").state_dict()
    assert all(torch.equal(loaded[f"model.{key}"], value) for key, value in state.items())


def test_an_smp_model_of_one_channel(shipped_params, tmp_path):
    declare_missing_operators()
    import segmentation_models_pytorch as smp

    theirs = smp.Unet("resnet18", encoder_weights=None, classes=1).eval()
    torch.save(theirs.state_dict(), tmp_path / "c.pth")
    path = recipe(shipped_params, tmp_path, type="smp")
    result = invoke(tmp_path / "c.pth", "--recipe", path, "-o", tmp_path / "model")
    assert result.exit_code == 0, result.output
    assert "note: one channel became two" in result.output
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        logits, theirs_logit = load_segmentor(tmp_path / "model")(image), theirs(image)
    torch.testing.assert_close(logits, torch.cat([torch.zeros_like(theirs_logit), theirs_logit], dim=1))
    torch.testing.assert_close(logits.softmax(1)[:, 1:], theirs_logit.sigmoid())


def test_a_timm_resnet_in_our_own(shipped_params, tmp_path):
    declare_missing_operators()
    import timm

    backbone = complete_params(shipped_params)["model"]["backbone"]
    path = recipe(shipped_params, tmp_path, backbone={**backbone, "name": "resnet18_v1b"})
    theirs = timm.create_model("resnet18", num_classes=0, features_only=True).eval()
    torch.save(theirs.state_dict(), tmp_path / "c.pth")
    result = invoke(tmp_path / "c.pth", "--recipe", path, "-o", tmp_path / "model", "--allow-partial")
    assert result.exit_code == 0, result.output
    assert "names: torchvision or timm ResNet" in result.output
    ours = load_segmentor(tmp_path / "model").backbone
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        for mine, other in zip(ours(image), theirs(image)[1:], strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5)


def test_a_mix_transformer_of_its_authors(shipped_params, tmp_path):
    # segmentation-models-pytorch keeps the names of the authors' files: q beside kv, and linear layers.
    theirs = encoder("mit_b0", in_channels=3, output_stride=32, pretrained=False).eval()
    state = {key.removeprefix("encoder."): value for key, value in theirs.state_dict().items()}
    torch.save({**state, "head.weight": torch.ones(1000, 256), "head.bias": torch.ones(1000)}, tmp_path / "mit_b0.pth")
    backbone = complete_params(shipped_params)["model"]["backbone"]
    path = recipe(shipped_params, tmp_path, backbone={**backbone, "name": "mixvit_b0"})
    result = invoke(tmp_path / "mit_b0.pth", "--recipe", path, "-o", tmp_path / "model", "--allow-partial")
    assert result.exit_code == 0, result.output
    assert "names: Mix Transformer with q and kv (NVlabs, SMP)" in result.output
    assert "left over: 2\n  head.weight\n  head.bias\n" in result.output
    assert "of another shape: 0\n" in result.output
    image = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    ours = load_segmentor(tmp_path / "model").backbone
    with torch.inference_mode():
        for mine, other in zip(ours(image), theirs(image), strict=True):
            # Their norms of patches and keys have another eps.
            torch.testing.assert_close(mine, other, rtol=0, atol=1e-3 * float(other.abs().max()))


@pytest.mark.parametrize("prefix", ["", "model.", "module."])
@pytest.mark.parametrize(
    ("architecture", "name"), [("Segformer", "mit_b0"), ("FPN", "tu-mobilenetv3_small_050"), ("DPT", "tu-test_vit")]
)
def test_whole_smp_models(shipped_params, tmp_path, architecture, name, prefix):
    smp = complete_params(shipped_params)["model"]["smp"]
    path = recipe(shipped_params, tmp_path, type="smp", smp={**smp, "architecture": architecture, "encoder": name})
    state = segmentor(load_params(path).model, num_classes=4).state_dict()
    torch.save({f"{prefix}{key.removeprefix('model.')}": value for key, value in state.items()}, tmp_path / "c.pth")
    result = invoke(tmp_path / "c.pth", "--recipe", path, "-o", tmp_path / "model")
    assert result.exit_code == 0, result.output
    assert f"matched: {len(state)}\n" in result.output
    loaded = load_segmentor(tmp_path / "model").state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in state.items())


def test_another_number_of_image_channels(checkpoint, network, tmp_path):
    config = tmp_path / "config.py"
    four = CONFIG.replace("type='UNet'", "type='UNet', in_channels=4").replace("[1.0, 2.0, 3.0]", "[1.0, 2, 3, 4]")
    config.write_text(four.replace("[4.0, 5.0, 6.0]", "[4.0, 5.0, 6.0, 7.0]"))
    result = invoke(checkpoint, "--mmseg-config", config, "-o", tmp_path / "model")
    assert result.exit_code == 0, result.output
    stem = "backbone.encoder.0.0.convs.0.conv.weight"
    assert f"matched: {len(network) - 1}\nreshaped: 1\n  {stem}\n" in result.output
    loaded = load_segmentor(tmp_path / "model").state_dict()
    assert torch.equal(loaded[stem], adapt_input_channels(network[stem], 4))


def test_one_channel_becomes_two(checkpoint, network, tmp_path):
    config = tmp_path / "config.py"
    loss = "loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=True)"
    start, end = CONFIG.index("num_classes=2, norm_cfg"), CONFIG.index("),\n    auxiliary_head")
    config.write_text(f"{CONFIG[:start]}num_classes=2, out_channels=1, norm_cfg={BN}, {loss}{CONFIG[end:]}")
    single = {key: value[1:] if key.startswith("decode_head.conv_seg") else value for key, value in network.items()}
    torch.save({"state_dict": single}, checkpoint)
    result = invoke(checkpoint, "--mmseg-config", config, "-o", tmp_path / "model")
    assert result.exit_code == 0, result.output
    assert "reshaped: 2\n  decode_head.conv_seg.weight\n  decode_head.conv_seg.bias\n" in result.output
    assert "note: MMSegmentation predicts class 1 from 0.3: see evaluate.threshold" in result.output
    card = json.loads((tmp_path / "model" / "model.json").read_text())
    assert card["params"]["evaluate"]["threshold"] == 0.3
    model = load_segmentor(tmp_path / "model")
    with torch.inference_mode():
        background, vessel = model(torch.randn(1, 3, 32, 32))[0]
    assert background.abs().max() == 0
    assert vessel.abs().max() > 0


OLD_CONFIG = """
norm_cfg = dict(type='SyncBN', requires_grad=True)
img_norm_cfg = dict(mean=[1.0, 2.0, 3.0], std=[4.0, 5.0, 6.0], to_rgb=True)
{model}
optimizer = dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=0.0005)
optimizer_config = dict(grad_clip=dict(max_norm=5))
lr_config = dict(policy='poly', power=0.9, min_lr=0.0001, by_epoch=False)
runner = dict(type='IterBasedRunner', max_iters=40000)
"""


def test_a_checkpoint_of_the_years_before(network, tmp_path):
    start, end = CONFIG.index("model = "), CONFIG.index("optim_wrapper")
    preprocessor = CONFIG[CONFIG.index("data_preprocessor") : CONFIG.index("backbone=")]
    text = OLD_CONFIG.format(model=CONFIG[start:end].replace(preprocessor, "pretrained='open-mmlab://x', "))
    content = {
        "meta": {"mmseg_version": "0.30.0", "config": text, "CLASSES": ["a", "b"], "PALETTE": [[1, 2, 3], [4, 5, 6]]},
        "state_dict": {f"module.{key}": value for key, value in network.items()},
        "optimizer": {"state": {0: {"momentum_buffer": torch.ones(3)}}, "param_groups": [{"lr": 0.01}]},
    }
    torch.save(content, tmp_path / "c.pth", _use_new_zipfile_serialization=False)
    result = invoke(tmp_path / "c.pth", "-o", tmp_path / "model")
    assert result.exit_code == 0, result.output
    assert f"matched: {len(network)}\n" in result.output
    card = json.loads((tmp_path / "model" / "model.json").read_text())
    assert card["labels"]["class_names"] == ["a", "b"]
    assert card["preprocessing"] == {"mean": [1.0, 2.0, 3.0], "std": [4.0, 5.0, 6.0], "scale": 255}
    assert card["params"]["optimizer"]["clip_norm"] == 5.0
    assert card["params"]["schedule"] == {
        "warmup_length": 0,
        "name": "poly",
        "power": 0.9,
        "end_lr": 0.0001,
    }
    assert card["params"]["train"] == {"iterations": 40000}


def test_a_moving_average_beside_the_weights(network, tmp_path):
    # MMEngine keeps it apart, and the averaged weights under the usual names.
    average = {"steps": torch.tensor(5), **{f"module.{key}": value + 1 for key, value in network.items()}}
    torch.save({"ema_state_dict": average, "state_dict": network, "meta": META}, tmp_path / "c.pth")
    result = invoke(tmp_path / "c.pth", "-o", tmp_path / "model")
    assert result.exit_code == 0, result.output
    state = load_segmentor(tmp_path / "model").state_dict()
    assert all(torch.equal(state[key], value) for key, value in network.items())


def test_an_unknown_recipe(checkpoint, tmp_path):
    fails("recipe nonsense: no such recipe", checkpoint, "--recipe", "nonsense", "-o", tmp_path / "model")


def test_the_network_is_written_into_a_params_file(checkpoint, tmp_path, shipped_params):
    """Comments and other sections stay; training builds the imported network and starts from its weights."""
    path = tmp_path / "project" / "params.yaml"
    path.parent.mkdir()
    before = shipped_params.read_text()
    path.write_text(before.replace("  name: synthetic_fundus\n", "  # mine\n  name: drive\n"))
    result = invoke(checkpoint, "-o", tmp_path / "project" / "start", "--params", path)
    assert result.exit_code == 0, result.output
    after = path.read_text()
    assert "  # mine\n  name: drive\n" in after
    assert "  # bn | syncbn | gn, for backbone, neck and heads; encoders of the libraries keep their own.\n" in after
    params = load_params(path)
    assert (params.model.weights, params.model.mean) == ("start", (1.0, 2.0, 3.0))
    assert params.optimizer == load_params(shipped_params).optimizer
    folder = load_segmentor(tmp_path / "project" / "start").state_dict()
    started = segmentor(params.model.model_copy(update={"weights": str(path.parent / "start")}), num_classes=2)
    assert all(torch.equal(value, folder[name]) for name, value in started.state_dict().items())


def test_names_that_are_not_utf_8(checkpoint, network, tmp_path, shipped_params):
    odd = tmp_path / "g\udcff.pth"
    odd.symlink_to(checkpoint)
    fails("model.json: would hold g\\udcff.pth, which is not UTF-8", odd, "-o", tmp_path / "m")
    params = shutil.copy(shipped_params, tmp_path / "params.yaml")
    fails("would hold m\\udcff, which is not UTF-8", checkpoint, "-o", tmp_path / "m\udcff", "--params", params)
    assert sorted(path.name for path in tmp_path.iterdir()) == [checkpoint.name, odd.name, "params.yaml"]
    torch.save({"state_dict": {**network, "\ud800": torch.zeros(1)}, "meta": META}, checkpoint)
    result = invoke(checkpoint, "-o", tmp_path / "o\udcff", "--allow-partial")
    assert (result.exit_code, "\n  \\ud800\n" in result.output, "o\\udcff\n" in result.output) == (0, True, True)


def test_no_params_file_to_write_to_writes_nothing(checkpoint, tmp_path):
    fails("no such file; make one first", checkpoint, "-o", tmp_path / "m", "--params", tmp_path / "none.yaml")
    assert not (tmp_path / "m").exists()
