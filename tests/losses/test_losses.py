"""Values, gradients and edges that hold for every loss."""

import functools

import pytest
import torch
from torch.nn import functional as F

from maskline.losses.composite import CompositeLoss
from maskline.losses.pixel import cross_entropy
from maskline.losses.region import dice

LOSSES = {
    "cross_entropy": cross_entropy,
    "dice": functools.partial(dice, smooth=1.0),
    "composite": CompositeLoss([(cross_entropy, 1.0), (functools.partial(dice, smooth=1.0), 3.0)]),
}
IGNORE = 255


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 5, 7, generator=generator)
    target = torch.randint(0, 3, (2, 5, 7), generator=generator)
    target[:, :2] = IGNORE
    return logits, target


def test_cross_entropy_of_four_pixels_by_hand():
    # The golden vector of MMSegmentation's CrossEntropyLoss with avg_non_ignore=True.
    logits = torch.tensor([[[[2.0, -1], [0, 1]], [[0, 1], [1, -1]], [[-1, 0], [2, 0]]]])
    target = torch.tensor([[[0, 1], [2, IGNORE]]])
    assert cross_entropy(logits, target, IGNORE).item() == pytest.approx(0.328353, abs=1e-6)


def test_cross_entropy_is_torchs(batch):
    logits, target = batch
    expected = F.cross_entropy(logits, target, ignore_index=IGNORE)
    torch.testing.assert_close(cross_entropy(logits, target, IGNORE), expected)


def test_dice_by_its_formula(batch):
    logits, target = batch
    valid = target != IGNORE
    scores = []
    for c in range(3):
        p = logits.double().softmax(1)[:, c][valid]
        t = (target[valid] == c).double()
        scores.append((2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1))
    expected = 1 - torch.stack(scores).mean()
    torch.testing.assert_close(dice(logits, target, IGNORE, smooth=1.0).double(), expected, atol=1e-6, rtol=1e-6)


def test_dice_of_a_perfect_prediction_is_zero():
    target = torch.tensor([[[0, 1], [1, 0]]])
    logits = 100.0 * F.one_hot(target, 2).permute(0, 3, 1, 2).float()
    assert dice(logits, target, IGNORE, smooth=1.0).item() == pytest.approx(0, abs=1e-6)


def test_dice_leaves_absent_classes_out():
    target = torch.zeros(1, 4, 4, dtype=torch.int64)
    logits = torch.zeros(1, 3, 4, 4)
    logits[:, 0] = 100
    assert dice(logits, target, IGNORE, smooth=1e-3).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
class TestEveryLoss:
    def test_no_gradient_on_ignored_pixels(self, loss, batch):
        logits, target = batch
        logits.requires_grad_()
        loss(logits, target, IGNORE).backward()
        ignored = (target == IGNORE).unsqueeze(1).expand_as(logits)
        assert logits.grad[ignored].abs().max() == 0
        assert logits.grad[~ignored].abs().min() > 0

    def test_ignored_logits_have_no_part(self, loss, batch):
        logits, target = batch
        ignored = (target == IGNORE).unsqueeze(1).expand_as(logits)
        poisoned = logits.masked_fill(ignored, float("nan")).requires_grad_()
        value = loss(poisoned, target, IGNORE)
        value.backward()
        torch.testing.assert_close(value, loss(logits, target, IGNORE))
        assert poisoned.grad.isfinite().all()

    def test_all_ignored_gives_zero(self, loss, batch):
        logits, target = batch
        logits.requires_grad_()
        value = loss(logits, torch.full_like(target, IGNORE), IGNORE)
        value.backward()
        assert value.item() == 0
        assert logits.grad.abs().max() == 0

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
    def test_any_float_type_gives_float32(self, loss, batch, dtype):
        logits, target = batch
        value = loss(logits.to(dtype), target, IGNORE)
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, loss(logits, target, IGNORE), atol=2e-2, rtol=2e-2)

    def test_autocast_changes_nothing(self, loss, batch):
        logits, target = batch
        expected = loss(logits, target, IGNORE)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            value = loss(logits, target, IGNORE)
        torch.testing.assert_close(value, expected, atol=0, rtol=0)

    def test_a_better_prediction_costs_less(self, loss, batch):
        logits, target = batch
        hint = F.one_hot(target.masked_fill(target == IGNORE, 0), 3).permute(0, 3, 1, 2)
        assert loss(logits + hint, target, IGNORE) < loss(logits, target, IGNORE)


def test_composite_is_the_weighted_sum(batch):
    logits, target = batch
    expected = cross_entropy(logits, target, IGNORE) + 3 * dice(logits, target, IGNORE, smooth=1.0)
    torch.testing.assert_close(LOSSES["composite"](logits, target, IGNORE), expected)


def test_gradients_are_right(batch):
    logits, target = batch
    logits = logits[:, :, :3, :3].double().requires_grad_()
    small = target[:, :3, :3]

    def loss64(x):  # the losses compute in float32, so the check is coarse
        return LOSSES["composite"](x, small, IGNORE).double()

    assert torch.autograd.gradcheck(loss64, logits, eps=1e-2, atol=1e-3, rtol=1e-2)
