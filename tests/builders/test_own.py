"""Heads, backbones and losses of the user's own: built at every place, refused in one line, loaded again as trained."""

import copy

import pytest
import torch

from maskline.builders.inference import load_segmentor
from maskline.builders.losses import criteria, loss
from maskline.builders.model import segmentor, without_start_weights
from maskline.core import own_code
from maskline.core.errors import CheckpointError, MasklineError
from maskline.data.labels import LabelSet
from maskline.params.base.reading import read_yaml
from maskline.params.whole import validate_params
from maskline.runtime import checkpoint

HEAD = """
from maskline.models.heads.base import Head
from maskline.models.layers import ConvNormAct, resize

class Mine(Head):
    def __init__(self, *, side=1, input_transform=None, **options):
        super().__init__(options, input_transform=input_transform)
        self.conv = ConvNormAct(self.in_channels, self.channels, kernel_size=side, norm=self.norm)

    def forward(self, features, previous=None):
        logits = self.classify(self.conv(self.select(features)))
        return logits if previous is None else logits + resize(previous, logits.shape[2:], align_corners=False)

class Incomplete(Head):
    pass

class Stranger:
    pass

def function():
    pass
"""
BACKBONE = """
from torch import nn
from maskline.models.backbones.base import BackboneBase

class Net(BackboneBase):
    def __init__(self, *, in_channels, norm, width=4):
        super().__init__()
        self.channels, self.strides, self.size_divisor = (width, 2 * width), (2, 4), 4
        self.first = nn.Conv2d(in_channels, width, 3, stride=2, padding=1)
        self.second = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)

    def forward(self, images):
        x = self.first(images).relu()
        return [x, self.second(x).relu()]

    def stages(self):
        return [[], [self.first], [self.second]]

class Bare(BackboneBase):
    def __init__(self, *, in_channels, norm):
        super().__init__()

    def forward(self, images):
        return []

    def stages(self):
        return []
"""
LOSS = """
def mine(logits, target, ignore_index, *, factor=1.0):
    return factor * (logits.square().mean() + 0 * target.sum())

class AsClass:
    pass

number = 1
"""
LABELS = LabelSet(class_names=("background", "vessel"), palette=((0, 0, 0), (230, 60, 60)))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in (("head", HEAD), ("net", BACKBONE), ("loss", LOSS)):
        (tmp_path / f"{name}.py").write_text(text)
    return tmp_path


@pytest.fixture
def model_params(shipped_params):
    values = read_yaml(shipped_params)
    values["model"]["backbone"] |= {"base_channels": 4, "num_stages": 3}

    def make(**changes):
        section = copy.deepcopy(values["model"])
        for key, value in changes.items():
            section[key] = {**section[key], **value} if isinstance(value, dict) else value
        return validate_params({**values, "model": section}).model

    return make


MINE = {"name": "head.py:Mine", "channels": 8}


@pytest.mark.parametrize(
    "changes",
    [
        {"decode_head": MINE},
        {"decode_head": {**MINE, "in_index": 0, "with_norm": False, "options": {"side": 3}}},
        {"decode_head": {**MINE, "in_index": [0, 1], "options": {"input_transform": "resize_concat"}}},
        {"auxiliary_heads": [MINE, {**MINE, "in_index": -2}]},
        {"cascade_heads": [{"name": "fcn"}], "decode_head": MINE},
        {"cascade_heads": [MINE], "decode_head": {"name": "ocr"}},
        {"backbone": {"name": "net.py:Net"}},
        {"backbone": {"name": "net.py:Net", "options": {"width": 8}, "frozen_stages": 1}, "decode_head": MINE},
        {"decode_head": {"losses": [{"name": "loss.py:mine"}, {"name": "dice"}]}},
        {"decode_head": {"losses": [{"name": "loss.py:mine", "weight": 2.0, "options": {"factor": 0.5}}]}},
        {"type": "smp", "smp": {"auxiliary_heads": [MINE], "losses": [{"name": "loss.py:mine"}]}},
    ],
)
def test_it_stands_wherever_others_do(model_params, changes):
    params = model_params(**changes)
    model = segmentor(params, num_classes=2)
    images, target = torch.randn(2, 3, 32, 40), torch.randint(0, 2, (2, 32, 40))
    losses = criteria(params)
    pairs = model.supervise_heads(images, target)
    assert pairs.keys() == losses.keys()
    sum(losses[name](logits, truth, 255) for name, (logits, truth) in pairs.items()).backward()
    assert model.eval()(images).shape == (2, 2, 32, 40)


def test_options_reach_it(model_params):
    params = model_params(
        decode_head={**MINE, "options": {"side": 3}}, backbone={"name": "net.py:Net", "options": {"width": 6}}
    )
    model = segmentor(params, num_classes=2)
    assert model.decode_head.conv.conv.kernel_size == (3, 3)
    assert model.backbone.channels == (6, 12)
    part = model_params(
        decode_head={"losses": [{"name": "loss.py:mine", "options": {"factor": 3.0}}]}
    ).decode_head.losses[0]
    assert loss(part)(torch.ones(1, 2, 4, 4), torch.zeros(1, 4, 4), 255) == 3.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decode_head": {"name": "none.py:Mine"}}, "params.yaml: none.py:Mine: no such file"),
        ({"decode_head": {"name": "head.py:Yours"}}, "head.py:Yours: nothing called Yours in it"),
        ({"decode_head": {"name": "head.py:Stranger"}}, "no Head; derive it from maskline.models.heads.base.Head"),
        ({"decode_head": {"name": "head.py:function"}}, "no Head; derive it from"),
        ({"decode_head": {"name": "head.py:Incomplete"}}, "lacks forward; define it, as Head says"),
        (
            {"decode_head": {**MINE, "options": {"channels": 4}}},
            "channels is given anyway; take channels out of options",
        ),
        ({"backbone": {"name": "net.py:Net", "options": {"wdth": 4}}}, "does not take its keywords (got an unexpected"),
        ({"backbone": {"name": "head.py:Mine"}}, "no BackboneBase; derive it from maskline.models.backbones.base."),
        ({"backbone": {"name": "net.py:Bare"}}, "net.py:Bare: has no channels; set self.channels in its __init__"),
        ({"backbone": {"name": "net.py:Net", "pretrained": True}}, "net.py:Net has no ImageNet weights"),
        (
            {"decode_head": {"losses": [{"name": "loss.py:AsClass"}]}},
            "no function; define a function of logits, target,",
        ),
        ({"decode_head": {"losses": [{"name": "loss.py:number"}]}}, "no function"),
        (
            {"decode_head": {"losses": [{"name": "loss.py:mine", "options": {"x": 1}}]}},
            "does not take its keywords (got an unexpected keyword argument 'x'); it gets logits, target, ignore_index",
        ),
    ],
)
def test_what_is_none_is_told_in_one_line(model_params, changes, message):
    with pytest.raises(MasklineError) as caught:
        params = model_params(**changes)
        segmentor(params, num_classes=2)
        criteria(params)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_which_code_a_model_is_of(model_params):
    head = {**MINE, "losses": [{"name": "loss.py:mine"}], "options": {"name": "x.py:Y"}}
    params = model_params(decode_head=head, auxiliary_heads=[{"name": "fcn"}, MINE], backbone={"name": "net.py:Net"})
    assert params.own_code() == {
        "model.backbone.name": "net.py:Net",
        "model.decode_head.losses.0.name": "loss.py:mine",
        "model.decode_head.name": "head.py:Mine",
        "model.auxiliary_heads.1.name": "head.py:Mine",
    }
    assert "model.decode_head.losses.0.name" not in params.own_code(losses=False)
    assert model_params(decode_head=head, type="smp").own_code() == {}


@pytest.fixture
def trained(folder, model_params):
    """A model folder as training writes it."""
    params = model_params(decode_head={**MINE, "losses": [{"name": "loss.py:mine"}]}, auxiliary_heads=[])
    weights = segmentor(without_start_weights(params), num_classes=2).state_dict()
    card = {
        "params": {"model": params.model_dump(mode="json")},
        "labels": LABELS.to_dict(),
        "preprocessing": {"mean": list(params.mean), "std": list(params.std), "scale": 255},
        "receipt": {"own_code": own_code.hashes(params.own_code().values(), place="params.yaml")},
    }
    checkpoint.save_model(folder / "models", weights=weights, last=weights, card=card)
    return folder / "models"


def test_a_trained_model_names_the_file_and_is_loaded_again(folder, trained):
    assert type(load_segmentor(trained).decode_head).__name__ == "Mine"
    assert set(checkpoint.read_card(trained)["receipt"]["own_code"]) == {"head.py", "loss.py"}
    (folder / "loss.py").unlink()  # of which evaluation needs nothing
    load_segmentor(trained)


def test_a_trained_model_without_its_file(folder, trained):
    (folder / "head.py").unlink()
    with pytest.raises(CheckpointError) as caught:
        load_segmentor(trained)
    assert str(caught.value) == (
        f"{trained}/model.json: head.py: no such file, and the network is made of it; "
        "bring it back, or run in the project's folder"
    )


def test_a_trained_model_with_another_file(folder, trained):
    (folder / "head.py").write_text(HEAD + "# edited\n")
    with pytest.raises(
        CheckpointError, match=r"head\.py: not what the model was trained with; undo the edit, or train"
    ):
        load_segmentor(trained)
