"""The loss of mask predictions: against its definition written out, one mask and one assignment at a time."""

import itertools
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from maskline.losses.class_masks import ClassMasks
from maskline.losses.mask_classification import MaskClassification, MaskPoints
from maskline.losses.matching import assign

IMAGES, QUERIES, CLASSES, IGNORED = 2, 4, 3, 255
WEIGHTS = {"class_loss_weight": 2.0, "mask_loss_weight": 5.0, "dice_loss_weight": 3.0, "void_weight": 0.1}
POINTS = MaskPoints(count=40, oversample=2.0, uncertain_share=0.0)


@pytest.fixture
def given():
    """Predictions of two layers whose masks cover 8x12 px, and a target of 8x10 with ignored pixels."""
    generator = torch.Generator().manual_seed(0)

    def noise(*size):
        return torch.randn(*size, generator=generator, dtype=torch.float64).requires_grad_()

    predictions = SimpleNamespace(
        classes=[noise(IMAGES, QUERIES, CLASSES + 1) for _ in range(2)],
        masks=[noise(IMAGES, QUERIES, 4, 6) for _ in range(2)],
        padded=(8, 12),
    )
    target = torch.randint(0, CLASSES, (IMAGES, 8, 10), generator=generator)
    target[1][target[1] == 2] = 0  # an image without a class
    target[:, :2, :3] = IGNORED
    return predictions, target


def loss(kind, *, points=None, count_ignored=False):
    return MaskClassification(mask_loss=kind, points=points, count_ignored=count_ignored, **WEIGHTS)


def of_mask(logits, truth, counted, kind):
    """The loss of one mask by its places, and by its Dice score: logits, truth and what counts, each (P,)."""
    p = logits.sigmoid()
    positive, negative = -p.log(), -(1 - p).log()
    if kind == "focal":
        positive, negative = 0.25 * (1 - p) ** 2 * positive, 0.75 * p**2 * negative
    by_place = (truth * positive + (counted - truth) * negative).sum() / counted.sum()
    dice = 1 - (2 * (p * truth).sum() + 1) / ((p * counted).sum() + truth.sum() + 1)
    return by_place, dice


def written_out(predictions, target, kind, *, count_ignored, points=None):
    """The sum over layers, with every assignment tried."""
    height, width = predictions.padded
    whole = F.pad(target, (0, width - target.shape[2], 0, height - target.shape[1]), value=IGNORED)
    total = 0.0
    for classes, masks in zip(predictions.classes, predictions.masks, strict=True):
        missed, factors, by_place, dice, count = 0.0, 0.0, 0.0, 0.0, 0
        for image in range(IMAGES):
            known = [c for c in range(CLASSES) if (whole[image] == c).any()]
            truth = {c: (whole[image] == c).double() for c in known}
            valid = torch.ones_like(whole[image]) if count_ignored else whole[image] != IGNORED
            valid = valid.double()
            small = {c: at(t, masks.shape[2:], points) for c, t in truth.items()}
            where = torch.ones_like(small[known[0]]) if count_ignored else at(valid, masks.shape[2:], points)
            seen = at_points(masks[image], points) if points is not None else masks[image].flatten(1)

            def cost(query, c):
                place, overlap = of_mask(seen[query], small[c], where, kind)  # noqa: B023
                return -2 * classes[image, query].softmax(0)[c] + 5 * place + 3 * overlap  # noqa: B023

            best = min(
                itertools.permutations(range(QUERIES), len(known)),
                key=lambda queries: sum(cost(q, c).item() for q, c in zip(queries, known, strict=True)),
            )
            chosen = dict(zip(best, known, strict=True))
            for query in range(QUERIES):
                label = chosen.get(query, CLASSES)
                factor = 1.0 if query in chosen else 0.1
                missed = missed - factor * classes[image, query].log_softmax(0)[label]
                factors += factor
            for query, c in chosen.items():
                if points is None:
                    full = F.interpolate(masks[image, query][None, None], predictions.padded, mode="bilinear").flatten()
                    place, overlap = of_mask(full, truth[c].flatten(), valid.flatten(), kind)
                else:
                    place, overlap = of_mask(seen[query], small[c], where, kind)
                by_place, dice, count = by_place + place, dice + overlap, count + 1
        total = total + 2 * missed / factors + 5 * by_place / count + 3 * dice / count
    return total


def at(mask, size, points):
    if points is not None:
        return at_points(mask[None], points)[0]
    return F.interpolate(mask[None, None], size, mode="nearest").flatten()


def at_points(maps, points):
    return F.grid_sample(maps[None], (2 * points - 1)[None, None], align_corners=False)[0, :, 0]


def summed(losses):
    return sum(losses.values())


@pytest.mark.parametrize("count_ignored", [False, True])
@pytest.mark.parametrize("kind", ["focal", "cross_entropy"])
def test_whole_masks(given, kind, count_ignored):
    predictions, target = given
    leaves = [*predictions.classes, *predictions.masks]
    value = summed(loss(kind, count_ignored=count_ignored)(predictions, target, IGNORED))
    expected = written_out(predictions, target, kind, count_ignored=count_ignored)
    torch.testing.assert_close(value, expected, rtol=1e-6, atol=0)
    for found, true in zip(torch.autograd.grad(value, leaves), torch.autograd.grad(expected, leaves), strict=True):
        torch.testing.assert_close(found, true, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("count_ignored", [False, True])
def test_points(given, monkeypatch, count_ignored):
    predictions, target = given
    points = torch.rand(1, POINTS.count, 2, generator=torch.Generator().manual_seed(1)).double()
    monkeypatch.setattr(torch, "rand", lambda rows, count, _, **__: points.repeat(rows, 2, 1)[:, :count])
    leaves = [*predictions.classes, *predictions.masks]
    value = summed(loss("cross_entropy", points=POINTS, count_ignored=count_ignored)(predictions, target, IGNORED))
    expected = written_out(predictions, target, "cross_entropy", count_ignored=count_ignored, points=points[0])
    torch.testing.assert_close(value, expected, rtol=1e-6, atol=0)
    for found, true in zip(torch.autograd.grad(value, leaves), torch.autograd.grad(expected, leaves), strict=True):
        torch.testing.assert_close(found, true, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("points", [None, MaskPoints(count=20, oversample=3.0, uncertain_share=0.75)])
def test_each_layer_by_name_and_the_same_from_the_same_seed(given, points):
    losses = []
    for _ in range(2):
        torch.manual_seed(0)
        losses.append(loss("cross_entropy", points=points)(*given, IGNORED))
    assert list(losses[0]) == [".layer_0", ""]
    assert losses[0] == losses[1]


def test_a_batch_without_a_labelled_pixel(given):
    predictions, target = given
    value = summed(loss("focal")(predictions, torch.full_like(target, IGNORED), IGNORED))
    value.backward()
    assert value.isfinite()
    assert all(x.grad.isfinite().all() for x in (*predictions.classes, *predictions.masks))
    assert all(float(x.grad.abs().max()) == 0 for x in predictions.masks)


def test_a_loss_that_is_not_finite_is_told_of_by_the_loss(given):
    predictions, target = given
    predictions.masks[0].data[0, 0, 0, 0] = float("nan")
    assert summed(loss("focal")(predictions, target, IGNORED)).isnan()


def test_scores_are_compared_by_their_shares():
    scores = torch.tensor([[1.0, 3.0], [0.2, 0.6]]).view(2, 2, 1, 1)
    value = loss("focal")(scores, torch.tensor([1, IGNORED]).view(2, 1, 1), IGNORED)
    assert float(value) == pytest.approx(-torch.tensor(0.75).log().item())


def test_more_classes_than_queries():
    costs = torch.tensor([[[0.0, 5.0, 1.0], [4.0, 5.0, 0.0]]])
    (matches,) = assign([costs], torch.tensor([[1.0, 0.0, 1.0]]))
    assert [part.tolist() for part in matches] == [[0, 0], [0, 1], [0, 2]]
    (matches,) = assign([costs[:, :1]], torch.ones(1, 3))
    assert [part.tolist() for part in matches] == [[0], [0], [0]]


def test_class_masks_at_pixel_centers_are_the_target():
    target = torch.tensor([[[0, 1], [IGNORED, 1]]])
    masks = ClassMasks(target, num_classes=2, ignore_index=IGNORED, count_ignored=False, dtype=torch.float32)
    centers = torch.tensor([[[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75], [0.5, 0.5]]])
    shares, counted = masks.at(centers)
    assert shares[0].tolist() == [[1, 0], [0, 1], [0, 0], [0, 1], [0.25, 0.5]]
    assert counted[0].tolist() == [1, 1, 0, 1, 0.75]
    assert masks.present().tolist() == [[1, 1]]
