"""Losses of soft labels: of one-hot ones those of the class ids; least where the network says what they say."""

import functools

import pytest
import torch
from torch.nn import functional as F

from maskline.losses import pixel, region
from maskline.losses.composite import CompositeLoss
from tests.losses.test_losses import IGNORE, WEIGHTS, settled

SOFT = {
    "cross_entropy": settled(pixel.cross_entropy, class_weights=WEIGHTS, label_smoothing=0.1),
    "dice": settled(region.dice, class_weights=WEIGHTS, smooth=1.0),
    "jaccard": settled(region.jaccard, class_weights=None, smooth=1.0),
    "tversky": settled(region.tversky, class_weights=WEIGHTS, alpha=0.3, beta=0.7, smooth=1.0),
    "focal_tversky": settled(region.focal_tversky, class_weights=None, alpha=0.3, beta=0.7, gamma=0.75, smooth=1.0),
}


def pair(*, without=()):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 5, 7, generator=generator)
    target = torch.randint(0, 3, (2, 5, 7), generator=generator)
    for each in without:
        target[target == each] = 0
    target[:, :2] = IGNORE
    return logits, target


def shares(seed=1):
    soft = torch.rand(2, 3, 5, 7, generator=torch.Generator().manual_seed(seed)).softmax(1)
    soft[:, :, :2] = 0
    return soft


@pytest.mark.parametrize("without", [(), (2,)], ids=["all classes", "one is absent"])
@pytest.mark.parametrize("loss", SOFT.values(), ids=SOFT.keys())
def test_one_hot_labels_give_the_loss_of_the_class_ids_and_its_gradient(loss, without):
    logits, target = pair(without=without)
    one_hot = (target.unsqueeze(1) == torch.arange(3).view(1, 3, 1, 1)).float()
    results = []
    for each in (target, one_hot):
        given = logits.clone().requires_grad_()
        value = loss(given, each, IGNORE)
        results.append((value.detach(), *torch.autograd.grad(value, given)))
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=1e-6)


@pytest.mark.parametrize("loss", SOFT.values(), ids=SOFT.keys())
def test_gradient(loss, monkeypatch):
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)  # the losses compute in float32
    monkeypatch.setattr(torch, "float32", torch.float64)
    logits, soft = pair()[0].double().requires_grad_(), shares().double()
    assert torch.autograd.gradcheck(lambda given: loss(given, soft, IGNORE), (logits,))
    (gradient,) = torch.autograd.grad(loss(logits, soft, IGNORE), logits)
    assert bool((gradient[:, :, :2] == 0).all()), "an ignored pixel has no part"
    assert bool((gradient[:, :, 2:] != 0).any())


@pytest.mark.parametrize("name", [name for name in SOFT if name != "cross_entropy"])
def test_regions_lose_nothing_where_the_network_says_the_same(name):
    soft = shares()
    same = soft.clamp(min=1e-9).log()
    assert SOFT[name](same, soft, IGNORE).item() < 1e-4
    sharper = (3 * same).requires_grad_()
    assert SOFT[name](sharper, soft, IGNORE).item() > 0.05


def test_a_class_that_soft_labels_hardly_hold_does_not_count():
    logits, soft = pair()[0], torch.zeros(2, 3, 5, 7)
    soft[:, 0] = 0.999
    soft[:, 1] = 0.001
    alone = torch.cat([soft[:, :1], torch.zeros(2, 2, 5, 7)], 1)
    loss = settled(region.dice, class_weights=None, smooth=1.0)
    assert loss(logits, soft, IGNORE).item() == pytest.approx(loss(logits, alone, IGNORE).item(), abs=1e-3)


def test_cross_entropy_is_torchs():
    logits, soft = pair()[0][:, :, 2:], shares()[:, :, 2:]
    loss = settled(pixel.cross_entropy, class_weights=None, label_smoothing=0.1)
    expected = F.cross_entropy(logits, soft, label_smoothing=0.1)
    torch.testing.assert_close(loss(logits, soft, IGNORE), expected)


def test_which_losses_of_a_sum_take_none():
    hard = functools.partial(pixel.focal, class_weights=None, gamma=2.0, alpha=None, activation="softmax")
    assert CompositeLoss([(SOFT["dice"], 1.0), (hard, 1.0), (SOFT["cross_entropy"], 1.0)]).hard_only() == ["focal"]
