"""Copy-paste, CutMix, mixup: pixels come with their labels, exactly, whatever else the batch does."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from maskline.augment import mixing
from maskline.augment.mixing import CopyPaste, CutMix, Mix, Mixup
from tests.augment.conftest import augmentation, batch_of, effects, picture
from tests.augment.conftest import mixing as mixing_settings

NONE = Mix(copy_paste=None, cutmix=None, mixup=None)
ROWS = {0: 0, 1: 1, 2: 2}


def batch(count=3, size=(12, 16)):
    """Images whose value says which image and class a pixel is of, and their masks of classes 1 to 3."""
    rng = np.random.default_rng(0)
    masks = torch.from_numpy(rng.choice([1, 2, 3, 255], (count, *size)))
    values = 10.0 * torch.arange(count).view(-1, 1, 1) + masks % 250
    return values[:, None].repeat(1, 3, 1, 1), masks


def assert_labels_are_those_of_the_pixels(images, masks):
    assert torch.equal((images[:, 0] % 10).long(), masks % 250)


def test_copy_paste_takes_one_class_whole():
    images, masks = batch()
    before_images, before = images.clone(), masks.clone()
    samples = [Mix(copy_paste=CopyPaste(partner=2, choice=0.6), cutmix=None, mixup=None), NONE, NONE]
    mixing_settings().paste(images, [masks], samples, ROWS)
    taken = before[2] == 3  # classes 2 and 3 can be lent; 0.6 chooses the second
    assert torch.equal(masks[0], torch.where(taken, before[2], before[0]))
    assert torch.equal(images[0], torch.where(taken, before_images[2], before_images[0]))
    assert torch.equal(images[1:], before_images[1:])
    assert torch.equal(masks[1:], before[1:])


def test_a_class_that_must_not_be_lent_is_not():
    images, masks = batch()
    before = masks.clone()
    samples = [Mix(copy_paste=CopyPaste(partner=1, choice=0.0), cutmix=None, mixup=None), NONE, NONE]
    mixing_settings(classes=(7,)).paste(images, [masks], samples, ROWS)
    assert torch.equal(masks, before)


def test_cutmix_takes_a_box():
    images, masks = batch()
    before = masks.clone()
    samples = [NONE, Mix(copy_paste=None, cutmix=CutMix(partner=0, box=(2, 3, 7, 9)), mixup=None), NONE]
    mixing_settings().paste(images, [masks], samples, ROWS)
    assert torch.equal(masks[1, 2:7, 3:9], before[0, 2:7, 3:9])
    before[1, 2:7, 3:9] = before[0, 2:7, 3:9]
    assert torch.equal(masks, before)
    assert_labels_are_those_of_the_pixels(images, masks)


def test_lent_pixels_are_those_from_before():
    """All borrow at once: what one has borrowed is not lent on."""
    images, masks = batch()
    before = masks.clone()
    whole = (0, 0, 12, 16)
    samples = [Mix(copy_paste=None, cutmix=CutMix(partner=(i + 1) % 3, box=whole), mixup=None) for i in range(3)]
    mixing_settings().paste(images, [masks], samples, ROWS)
    assert torch.equal(masks, before.roll(-1, 0))


def test_mixup_blends_and_names_the_other():
    images, _ = batch()
    samples = [Mix(copy_paste=None, cutmix=None, mixup=Mixup(partner=(i + 1) % 3, share=0.75)) for i in range(3)]
    mixed, partners, share = mixing.blend(images, samples, ROWS)
    assert (partners, share) == ([1, 2, 0], 0.75)
    torch.testing.assert_close(mixed, 0.75 * images + 0.25 * images.roll(-1, 0))


def test_draws_happen_as_often_as_asked_and_never_with_oneself():
    made = mixing_settings(copy_paste_prob=0.3, cutmix_prob=0.6, mixup_prob=0.5)
    drawn = {
        (iteration, position): made.draw(1, iteration, position, crop_size=(32, 40))
        for iteration in range(200)
        for position in range(4)
    }
    assert 0.25 < np.mean([mix.copy_paste is not None for mix in drawn.values()]) < 0.35
    assert 0.55 < np.mean([mix.cutmix is not None for mix in drawn.values()]) < 0.65
    assert all(position not in mix.partners for (_, position), mix in drawn.items())
    assert all(mix.partners <= set(range(4)) for mix in drawn.values())
    by_batch = [[drawn[iteration, position].mixup for position in range(4)] for iteration in range(200)]
    assert 0.4 < np.mean([parts[0] is not None for parts in by_batch]) < 0.6
    for parts in by_batch:
        assert len({part and part.share for part in parts}) == 1, "mixup is the same for a whole batch"
    shares = [1 - _area(mix.cutmix.box) / (32 * 40) for mix in drawn.values() if mix.cutmix]
    assert 0.55 < np.mean(shares) < 0.75, "boxes are cut off at the border: more than half stays"


def _area(box):
    top, left, bottom, right = box
    return (bottom - top) * (right - left)


@settings(max_examples=30)
@given(
    sizes=st.lists(st.tuples(st.integers(8, 70), st.integers(8, 70)), min_size=4, max_size=4),
    seed=st.integers(0, 2**16),
    mixup=st.booleans(),
)
def test_labels_stay_labels_through_all_of_it(sizes, seed, mixup):
    """A gray image whose level is its class: after borrowing and erasing, level and label still agree."""
    made = augmentation(
        mixing=mixing_settings(copy_paste_prob=0.7, cutmix_prob=0.7, mixup_prob=float(mixup)),
        pixel_ops=effects(erase_prob=0.5),
        fill=(0.0, 0.0, 0.0),
        resize=augmentation().resize.__class__(ratio_range=(1.0, 1.0), scale=None, keep_ratio=True),
    )
    masks = [picture(*size, seed=seed + i)[1] for i, size in enumerate(sizes)]
    pictures = [(np.repeat(mask[..., None] * 40, 3, axis=2), mask) for mask in masks]
    out = made.apply(batch_of(made, pictures, seed=seed), torch.device("cpu"))
    level = out.images[:, 1]
    expected = torch.where(out.targets == 255, 0, out.targets * 40).float()
    if mixup:
        other = torch.where(out.other_targets == 255, 0, out.other_targets * 40)
        expected = out.share * expected + (1 - out.share) * other
    torch.testing.assert_close(level, expected, atol=0.05, rtol=0)
    assert set(out.targets.unique().tolist()) <= {1, 2, 3, 255}


@pytest.mark.parametrize("count", [1, 2])
def test_a_share_of_a_batch_is_the_batchs(count, cpu):
    """Another process makes only its own positions, and reads those that lend to them."""
    made = augmentation(mixing=mixing_settings(copy_paste_prob=0.5, cutmix_prob=0.5, mixup_prob=1.0))
    pictures = [picture(50, 60, seed=i) for i in range(4)]
    whole = batch_of(made, pictures)
    order = [*range(count, 4), *range(count)]  # the first rows are another process's own
    shuffled = batch_of(made, pictures)
    own = type(whole)(
        **{name: getattr(shuffled, name)[order] for name in ("images", "masks", "transforms", "boxes", "sizes")},
        valid=None,
        second=None,
        draws=tuple(shuffled.draws[i] for i in order),
        positions=tuple(order),
        count=4 - count,
    )
    expected, found = made.apply(whole, cpu), made.apply(own, cpu)
    assert torch.equal(found.targets, expected.targets[count:])
    assert torch.equal(found.other_targets, expected.other_targets[count:])
    torch.testing.assert_close(found.images, expected.images[count:], atol=1e-3, rtol=0)
