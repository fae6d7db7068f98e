"""What other segmentation libraries get wrong with ignored pixels and class weights, as tests of the losses here."""

import math

import pytest
import torch

from maskline.losses import pixel, region

IGNORE = 255


def scene(*, classes=4, ignored=0.5):
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(2, classes, 8, 8, generator=generator)
    target = torch.randint(classes, (2, 8, 8), generator=generator)
    target[torch.rand(2, 8, 8, generator=generator) < ignored] = IGNORE
    return logits.requires_grad_(), target


def test_class_weights_beside_ignored_pixels():
    # There: IndexError, because 255 is looked up in the list of weights.
    logits, target = scene()
    weights = (0.1, 1.0, 2.0, 4.0)
    found = pixel.cross_entropy(logits, target, IGNORE, class_weights=weights, label_smoothing=0.0)
    expected = torch.nn.functional.cross_entropy(logits, target, torch.tensor(weights), ignore_index=IGNORE)
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("classes", [2, 3, 19])
def test_focal_loss_of_several_classes_on_a_cpu(activation, classes):
    # There: a crash for more than one class without a GPU.
    logits, target = scene(classes=classes)
    loss = pixel.focal(logits, target, IGNORE, class_weights=None, gamma=2.0, alpha=None, activation=activation)
    loss.backward()
    assert math.isfinite(loss.item())
    assert loss.item() > 0
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize(
    "dice",
    [
        lambda *given: region.dice(*given, class_weights=None, smooth=1.0),
        lambda *given: region.dice_mmseg(*given, activation="softmax", naive=False, eps=1e-3, count_ignored=False),
        lambda *given: region.dice_mmseg(*given, activation="sigmoid", naive=True, eps=1e-3, count_ignored=False),
    ],
)
def test_dice_has_no_gradient_on_ignored_pixels(dice):
    # There: what is predicted on ignored pixels counts in the denominator.
    logits, target = scene()
    dice(logits, target, IGNORE).backward()
    ignored = (target == IGNORE).unsqueeze(1).expand_as(logits)
    assert (logits.grad[ignored] == 0).all()
    assert (logits.grad[~ignored] != 0).any()


def test_ignored_pixels_do_not_thin_the_mean():
    # There: with 63 of 64 pixels ignored the mean is over 64, 0.0139 for the 0.888 of the one that counts.
    logits, target = scene(ignored=0.0)
    logits, target = logits[:1], target[:1].clone()
    own = torch.nn.functional.cross_entropy(logits, target, reduction="none")[0, 2, 5].item()
    kept = target[0, 2, 5].item()
    target[:] = IGNORE
    target[0, 2, 5] = kept
    found = pixel.cross_entropy(logits, target, IGNORE, class_weights=None, label_smoothing=0.0)
    assert found.item() == pytest.approx(own, rel=1e-6)
