"""Training of a head whose loss matches masks with classes: columns of the curve, learning, the same bits again."""

import pytest
import torch

from maskline.engine import mixup_loss
from maskline.engine.capture import reason_against
from maskline.engine.inputs import Inputs
from maskline.engine.journal import Journal
from maskline.engine.process import StopFlag
from maskline.engine.run import Job, start_state
from maskline.engine.train import fit
from maskline.losses.mask_classification import MaskClassification, MaskPoints
from maskline.models.backbones.unet import UNet
from maskline.models.heads.mask2former import Mask2FormerHead
from maskline.models.segmentor import Segmentor
from maskline.runtime.torch_seeds import seed_torch
from tests.engine import conftest

WEIGHTS = {"class_loss_weight": 2.0, "mask_loss_weight": 5.0, "dice_loss_weight": 5.0, "void_weight": 0.1}


def network():
    seed_torch(0, "weights")
    sizes = {"num_queries": 4, "num_layers": 2, "num_heads": 2, "feedforward_channels": 16, "num_levels": 1}
    pixels = {"encoder_layers": 1, "encoder_feedforward_channels": 16, "num_points": 2}
    shared = {"channels": 8, "num_classes": 2, "align_corners": False, "dropout": 0.0}
    head = Mask2FormerHead(in_channels=(8, 16), in_index=(1, 0), strides=(1, 2), **sizes, **pixels, **shared)
    backbone = UNet(in_channels=3, base_channels=8, num_stages=2)
    return Segmentor(
        backbone=backbone, decode_heads=[head], auxiliary_heads=[], neck=None, num_classes=2, align_corners=False
    )


def trained(folder, monkeypatch, **changes):
    monkeypatch.setattr(conftest, "model", network)
    points = MaskPoints(count=64, oversample=3.0, uncertain_share=0.75)
    loss = MaskClassification(mask_loss="cross_entropy", points=points, count_ignored=False, **WEIGHTS)
    fresh, loop = conftest.run(criteria={"decode_head": loss}, **changes)
    state = start_state(Job(model=fresh.model, optimizer=fresh.optimizer, loop=loop, card={}))
    fit(state, loop, journal=Journal(folder), stop=StopFlag())
    return state


def test_it_learns_and_says_what_each_layer_loses(tmp_path, monkeypatch):
    state = trained(tmp_path / "one", monkeypatch, iterations=8, val_every=8, log_every=1)
    first, last = state.steps[0], state.steps[-1]
    layers = ["loss_decode_head.layer_0", "loss_decode_head.layer_1", "loss_decode_head"]
    assert [name for name in last if name.startswith("loss_")] == layers
    assert last["loss"] == pytest.approx(sum(last[name] for name in layers), rel=1e-5)
    assert last["loss"] < 0.8 * first["loss"]
    assert 0 < state.validations[-1]["val_loss"] < 1
    again = trained(tmp_path / "two", monkeypatch, iterations=8, val_every=8, log_every=1)
    assert [row["loss"] for row in again.steps] == [row["loss"] for row in state.steps]


def test_why_its_step_is_not_captured():
    loss = MaskClassification(mask_loss="focal", points=None, count_ignored=False, **WEIGHTS)
    assert reason_against(torch.nn.Identity(), [loss]) == "MaskClassification reads its matches"


def test_blended_targets_are_matched_each_by_itself():
    targets = torch.tensor([[[0, 1]]]), torch.tensor([[[1, 255]]])
    batch = Inputs(images=torch.zeros(1, 3, 1, 2), targets=targets[0], other_targets=targets[1], share=(0.75, 0.25))

    def criterion(_, target, ignore_index):
        return {".layer_0": target.float().sum(), "": (target == ignore_index).float().sum()}

    losses = mixup_loss.loss(criterion, None, mixup_loss.packed(batch), ignore_index=255, batch=batch)
    assert {name: float(value) for name, value in losses.items()} == {".layer_0": 0.75 * 1 + 0.25 * 256, "": 0.25}
