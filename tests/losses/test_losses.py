"""Values, gradients and edges that hold for every loss."""

import functools

import pytest
import torch
from scipy import ndimage
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from maskline.core.errors import ShapeError
from maskline.losses import mmseg, pixel, region, shape
from maskline.losses.composite import CompositeLoss
from maskline.runtime import gpu_forms


def settled(function, **settings):
    """A loss with all settings but those named given: no class weights, smooth 1."""
    return functools.partial(function, **settings)


cross_entropy = settled(pixel.cross_entropy, class_weights=None, label_smoothing=0.0)
dice = settled(region.dice, class_weights=None, smooth=1.0)
tversky = settled(region.tversky, class_weights=None, alpha=0.3, beta=0.7, smooth=1.0)
WEIGHTS = (1.0, 2.0, 0.5)
# Losses whose gradient reaches every pixel that counts.
DENSE = {
    "cross_entropy": cross_entropy,
    "smoothed": settled(pixel.cross_entropy, class_weights=WEIGHTS, label_smoothing=0.1),
    "focal": settled(pixel.focal, class_weights=WEIGHTS, gamma=2.0, alpha=None, activation="softmax"),
    "focal_sigmoid": settled(pixel.focal, class_weights=WEIGHTS, gamma=2.0, alpha=0.25, activation="sigmoid"),
    "dice": dice,
    "dice_mmseg": settled(region.dice_mmseg, activation="sigmoid", naive=False, eps=1e-3, count_ignored=False),
    "jaccard": settled(region.jaccard, class_weights=WEIGHTS, smooth=1.0),
    "tversky": tversky,
    "focal_tversky": settled(region.focal_tversky, class_weights=WEIGHTS, alpha=0.3, beta=0.7, gamma=0.75, smooth=1.0),
    "composite": CompositeLoss([(cross_entropy, 1.0), (dice, 3.0)]),
    "cross_entropy_mmseg": settled(
        mmseg.cross_entropy_mmseg, class_weights=WEIGHTS, activation="softmax", reduction="mean"
    ),
    "cross_entropy_mmseg_sigmoid": settled(
        mmseg.cross_entropy_mmseg, class_weights=WEIGHTS, activation="sigmoid", reduction="sum"
    ),
    "focal_mmseg": settled(
        mmseg.focal_mmseg, class_weights=WEIGHTS, gamma=2.0, alpha=(0.2, 0.5, 0.7), reduction="mean"
    ),
    "tversky_mmseg": settled(mmseg.tversky_mmseg, class_weights=WEIGHTS, alpha=0.3, beta=0.7, smooth=1.0),
}
OHEM_MMSEG = {"class_weights": WEIGHTS, "min_kept": 10, "count_ignored": True}
LOVASZ_MMSEG = {"class_weights": WEIGHTS, "reduction": "mean"}
LOSSES = {
    **DENSE,
    "ohem_batch": settled(pixel.ohem_batch, class_weights=WEIGHTS, threshold=0.5, min_kept=10),
    "ohem": settled(pixel.ohem, class_weights=WEIGHTS, threshold=0.5, min_kept=10),
    "ohem_mmseg": settled(mmseg.ohem_mmseg, threshold=0.5, **OHEM_MMSEG),
    "ohem_mmseg_largest": settled(mmseg.ohem_mmseg, threshold=None, **OHEM_MMSEG | {"class_weights": None}),
    "lovasz": settled(region.lovasz, class_weights=WEIGHTS),
    "lovasz_mmseg": settled(mmseg.lovasz_mmseg, classes="present", per_image=False, **LOVASZ_MMSEG),
    "lovasz_mmseg_per_image": settled(mmseg.lovasz_mmseg, classes="all", per_image=True, **LOVASZ_MMSEG),
    "boundary": settled(shape.boundary, class_weights=None, radius=2),
    "cldice": settled(shape.cldice, class_weights=WEIGHTS, iterations=2, smooth=1.0),
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
    torch.testing.assert_close(dice(logits, target, IGNORE).double(), expected, atol=1e-6, rtol=1e-6)


def test_dice_of_a_perfect_prediction_is_zero():
    target = torch.tensor([[[0, 1], [1, 0]]])
    logits = 100.0 * F.one_hot(target, 2).permute(0, 3, 1, 2).float()
    assert dice(logits, target, IGNORE).item() == pytest.approx(0, abs=1e-6)


def test_dice_leaves_absent_classes_out():
    target = torch.zeros(1, 4, 4, dtype=torch.int64)
    logits = torch.zeros(1, 3, 4, 4)
    logits[:, 0] = 100
    assert region.dice(logits, target, IGNORE, class_weights=None, smooth=1e-3).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
class TestEveryLoss:
    def test_no_gradient_on_ignored_pixels(self, loss, batch):
        logits, target = batch
        logits.requires_grad_()
        loss(logits, target, IGNORE).backward()
        ignored = (target == IGNORE).unsqueeze(1).expand_as(logits)
        assert logits.grad[ignored].abs().max() == 0
        assert logits.grad[~ignored].abs().max() > 0
        if loss in DENSE.values():
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
        assert loss(logits + 3 * hint, target, IGNORE) < loss(logits, target, IGNORE)


def test_composite_is_the_weighted_sum(batch):
    logits, target = batch
    expected = cross_entropy(logits, target, IGNORE) + 3 * dice(logits, target, IGNORE)
    torch.testing.assert_close(LOSSES["composite"](logits, target, IGNORE), expected)


def test_gradients_are_right(batch):
    logits, target = batch
    logits = logits[:, :, :3, :3].double().requires_grad_()
    small = target[:, :3, :3]

    def loss64(x):  # the losses compute in float32, so the check is coarse
        return LOSSES["composite"](x, small, IGNORE).double()

    assert torch.autograd.gradcheck(loss64, logits, eps=1e-2, atol=1e-3, rtol=1e-2)


GOLDEN_LOGITS = torch.tensor([[[[2.0, -1], [0, 1]], [[0, 1], [1, -1]], [[-1, 0], [2, 0]]]])
GOLDEN = torch.tensor([[[0, 1], [2, IGNORE]]])
# MMSegmentation's Dice takes an ignored pixel for one that is of no class, yet counts what is predicted there: its
# values come out for such a class.
GOLDEN_AS_COUNTED = torch.tensor([[[0, 1], [2, 3]]])


@pytest.mark.parametrize(
    ("loss", "target", "value"),
    [  # printed by MMSegmentation 1.2.2
        (cross_entropy, GOLDEN, 0.328353),
        (settled(region.lovasz, class_weights=None), GOLDEN, 0.275241),
        (tversky, GOLDEN, 0.137705),
        (
            settled(region.dice_mmseg, activation="sigmoid", naive=False, eps=1e-3, count_ignored=False),
            GOLDEN_AS_COUNTED,
            0.323929,
        ),
        (
            settled(region.dice_mmseg, activation="softmax", naive=False, eps=1e-3, count_ignored=False),
            GOLDEN_AS_COUNTED,
            0.173346,
        ),
        (
            settled(region.dice_mmseg, activation="softmax", naive=True, eps=1e-3, count_ignored=False),
            GOLDEN_AS_COUNTED,
            0.378724,
        ),
    ],
)
def test_mmsegmentations_values(loss, target, value):
    assert loss(GOLDEN_LOGITS, target, IGNORE).item() == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_weights_and_smoothing_are_torchs(batch, weights, smoothing):
    logits, target = batch
    expected = F.cross_entropy(
        logits,
        target,
        weight=None if weights is None else torch.tensor(weights),
        ignore_index=IGNORE,
        label_smoothing=smoothing,
    )
    found = pixel.cross_entropy(logits, target, IGNORE, class_weights=weights, label_smoothing=smoothing)
    torch.testing.assert_close(found, expected)


def test_mean_over_pixels_that_count():
    # With 63 of 64 pixels ignored MMSegmentation divides by 64: 0.0139 instead of this pixel's own loss.
    target = torch.full((1, 8, 8), IGNORE)
    target[0, 3, 3] = 1
    logits = torch.zeros(1, 2, 8, 8)
    logits[:, 0] = 0.359  # log(1 + exp(0.359)) = 0.888
    assert cross_entropy(logits, target, IGNORE).item() == pytest.approx(0.8885, abs=1e-3)


def test_class_weights_of_another_number_of_classes(batch):
    with pytest.raises(ShapeError, match="class_weights: 2 values for 3 classes"):
        pixel.cross_entropy(*batch, IGNORE, class_weights=(1.0, 2.0), label_smoothing=0.0)


def test_focal_without_focus_is_cross_entropy(batch):
    found = pixel.focal(*batch, IGNORE, class_weights=None, gamma=0.0, alpha=None, activation="softmax")
    torch.testing.assert_close(found, cross_entropy(*batch, IGNORE))


def test_sigmoid_focal_by_its_formula(batch):
    logits, target = batch
    valid = target != IGNORE
    p = logits.double().sigmoid().movedim(1, -1)[valid]
    t = F.one_hot(target[valid], 3).bool()
    expected = torch.where(t, -0.25 * (1 - p) ** 2 * p.log(), -0.75 * p**2 * (1 - p).log()).mean()
    found = pixel.focal(logits, target, IGNORE, class_weights=None, gamma=2.0, alpha=0.25, activation="sigmoid")
    torch.testing.assert_close(found, expected.float())


def test_ohem_keeps_the_hard_pixels(batch):
    logits, target = batch
    valid = target != IGNORE
    losses = F.cross_entropy(logits, target, ignore_index=IGNORE, reduction="none")[valid]
    own = torch.exp(-losses)
    found = pixel.ohem(logits, target, IGNORE, class_weights=None, threshold=0.4, min_kept=0)
    torch.testing.assert_close(found, losses[own < 0.4].mean())
    kept = pixel.ohem(logits, target, IGNORE, class_weights=None, threshold=0.0, min_kept=5)
    torch.testing.assert_close(kept, losses.sort(descending=True).values[:10].mean())


def test_overlap_losses_agree_where_they_must(batch):
    logits, target = batch
    settings = {"class_weights": None, "smooth": 1e-6}
    halves = region.tversky(logits, target, IGNORE, alpha=0.5, beta=0.5, **settings)
    torch.testing.assert_close(halves, region.dice(logits, target, IGNORE, **settings))
    wholes = region.tversky(logits, target, IGNORE, alpha=1.0, beta=1.0, **settings)
    torch.testing.assert_close(wholes, region.jaccard(logits, target, IGNORE, **settings))
    powers = region.focal_tversky(logits, target, IGNORE, alpha=1.0, beta=1.0, gamma=1.0, **settings)
    torch.testing.assert_close(wholes, powers)


def test_weights_of_classes_in_overlap_losses(batch):
    logits, target = batch
    alone = [region.dice(*batch, IGNORE, class_weights=[float(i == c) for i in range(3)], smooth=1.0) for c in range(3)]
    expected = sum(weight * value for weight, value in zip(WEIGHTS, alone, strict=True)) / sum(WEIGHTS)
    torch.testing.assert_close(region.dice(logits, target, IGNORE, class_weights=WEIGHTS, smooth=1.0), expected)


def test_dilation_is_scipys():
    regions = torch.rand(1, 1, 9, 11, generator=torch.Generator().manual_seed(0))
    for radius in (1, 3):
        expected = ndimage.grey_dilation(regions[0, 0].numpy(), size=2 * radius + 1, mode="nearest")
        assert torch.equal(shape.dilate(regions, radius)[0, 0], torch.from_numpy(expected))


def line(shift=0, width=3):
    target = torch.zeros(1, 21, 31, dtype=torch.int64)
    target[:, 9 + shift : 9 + shift + width, 4:27] = 1
    return target


def certain(target):
    return 40.0 * F.one_hot(target, 2).permute(0, 3, 1, 2).float()


def test_outlines_within_the_radius_are_found():
    loss = settled(shape.boundary, class_weights=None, radius=2)
    assert loss(certain(line()), line(), IGNORE).item() == pytest.approx(0, abs=1e-5)
    assert loss(certain(line(2)), line(), IGNORE).item() == pytest.approx(0, abs=1e-5)
    assert loss(certain(line(7)), line(), IGNORE).item() > 0.4


def test_a_gap_costs_centre_lines_more_than_a_width():
    loss = settled(shape.cldice, class_weights=None, iterations=3, smooth=1.0)
    assert loss(certain(line()), line(), IGNORE).item() == pytest.approx(0, abs=1e-3)
    thick = loss(certain(line(-1, width=5)), line(), IGNORE)
    broken = line()
    broken[:, :, 12:18] = 0
    gap = loss(certain(broken), line(), IGNORE)
    assert thick.item() < 0.05
    assert gap.item() > 0.1


def test_skeleton_of_a_bar_is_its_middle():
    bar = line().unsqueeze(1).float()
    found = shape.skeleton(bar, 3)[0, 0]
    assert found.nonzero()[:, 0].unique().tolist() == [10]


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_the_forms_of_a_gpu_are_the_same_loss(batch, name):
    """And nothing in them, or in their gradient, is what torch sorts on a GPU that has to be deterministic."""
    logits, target = batch
    found = []
    for forms in (torch.enable_grad, gpu_forms.everywhere):
        given = logits.double().float().requires_grad_()
        with forms(), Operations() as operations:
            loss = LOSSES[name](given, target, IGNORE)
            loss.backward()
        found.append((loss.detach(), given.grad))
    torch.testing.assert_close(found[1][0], found[0][0], rtol=1e-6, atol=0)
    torch.testing.assert_close(found[1][1], found[0][1], rtol=1e-5, atol=1e-8)
    allowed = {"aten.gather"} if name.startswith("lovasz") else set()  # of values without a gradient
    assert not operations.seen & {"aten.scatter_add", "aten.scatter", "aten.scatter_", "aten.index_put_"}
    assert not operations.seen & ({"aten.gather", "aten.index_select", "aten.index_add"} - allowed)


class Operations(TorchDispatchMode):
    """Names of what is run."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.seen.add(str(function.overloadpacket))
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("radius", [1, 2, 9])
def test_neighbours_by_slices_are_those_by_index(radius):
    regions = torch.randn(2, 3, 5, 7)
    expected = shape.dilate(regions, radius)
    with gpu_forms.everywhere():
        assert torch.equal(shape.dilate(regions, radius), expected)
