"""Soft labels move with the image: one-hot ones are augmented as their masks are, on the way of a CPU and of a GPU."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from maskline.augment import fixed
from maskline.augment.loader import TrainBatches
from maskline.augment.sample import collate
from tests.augment.conftest import augmentation, mixing, picture, resize
from tests.augment.test_extra import built
from tests.augment.test_fixed import CASES, everything
from tests.engine.conftest import MemorySplit

CPU = torch.device("cpu")
CLASSES = 8


def blocks(height, width, seed):
    """An image and a mask of blocks of 12 px, of classes 1 to 7."""
    image, _ = picture(height, width, seed=seed)
    coarse = np.random.default_rng(seed).integers(1, CLASSES, (height // 12 + 1, width // 12 + 1), dtype=np.uint8)
    return image, np.kron(coarse, np.ones((12, 12), np.uint8))[:height, :width]


def one_hot(mask):
    return (255 * (mask[..., None] == np.arange(CLASSES))).astype(np.uint8)


def soft_batch(made, pictures, planes, *, iteration=0):
    regions = []
    for position, (image, mask) in enumerate(pictures):
        draw = made.draw(mask, seed=0, iteration=iteration, position=position, index=None)
        given = None if planes is None else planes[position].__getitem__
        regions.append(made.region(image, mask, draw, valid=None, second=None, planes=given))
    count = len(regions)
    return collate(regions, positions=range(count), count=count, annotations=False, ignore_index=255)


def inside(mask):
    """Return where a mask is the same within 2 px: bilinear and nearest agree there."""
    ids = mask[:, None].float()
    return (F.max_pool2d(ids, 5, 1, 2) == -F.max_pool2d(-ids, 5, 1, 2))[:, 0]


@pytest.mark.parametrize("case", ["matrix", "mmseg", "nothing"])
@pytest.mark.parametrize("way", ["cpu", "fixed"])
def test_one_hot_labels_are_augmented_as_their_masks(case, way):
    made = everything(**CASES[case], resize=resize(ratio_range=(1.5, 3.0)))
    seen = 0
    for iteration in range(4):
        pictures = [blocks(60 + 9 * i, 90 - 11 * i, seed=4 * iteration + i) for i in range(4)]
        batch = soft_batch(made, pictures, [one_hot(mask) for _, mask in pictures], iteration=iteration)
        got = made.apply(batch if way == "cpu" else fixed.pack(made, batch), CPU)
        bare = soft_batch(made, pictures, None, iteration=iteration)
        plain = made.apply(bare if way == "cpu" else fixed.pack(made, bare), CPU)
        assert plain.soft is None
        assert torch.equal(got.targets, plain.targets)
        torch.testing.assert_close(got.images, plain.images)
        pairs = [(got.targets, got.soft)]
        if got.other_targets is not None:
            pairs.append((got.other_targets, got.other_soft))
        for target, soft in pairs:
            assert soft.shape == (4, CLASSES, 32, 40)
            chosen = (target != 255) & inside(target)
            torch.testing.assert_close(soft.sum(1)[chosen], torch.ones(int(chosen.sum())))
            assert (soft.argmax(1)[chosen] == target[chosen]).float().mean() > 0.999
            seen += int(chosen.sum())
    assert seen > 2000


def test_a_flip_moves_each_share_and_nothing_recolors_it():
    image, mask = blocks(32, 40, seed=1)
    planes = np.zeros((32, 40, CLASSES), np.uint8)
    planes[..., 2] = np.random.default_rng(0).integers(0, 256, (32, 40))
    planes[..., 5] = 255 - planes[..., 2]
    made = augmentation(
        flip_horizontal=1.0, photometric_prob=1.0, blur_prob=1.0, resize=resize(ratio_range=(1.0, 1.0)),
        extra=(built("RandomGamma", size=(32, 40)), built("RandomHorizontalFlip", size=(32, 40), p=1.0)),
    )  # fmt: skip
    soft = made.apply(soft_batch(made, [(image, mask)], [planes]), CPU).soft
    torch.testing.assert_close(soft[0], torch.from_numpy(planes).permute(2, 0, 1) / 255)


def test_between_two_pixels_it_is_bilinear_and_where_little_is_known_it_is_nothing():
    image, mask = np.zeros((32, 40, 3), np.uint8), np.ones((32, 40), np.uint8)
    planes = np.zeros((32, 40, CLASSES), np.uint8)
    planes[:, :8, 1] = planes[:, 8:20, 2] = 255
    made = augmentation(crop_size=(64, 80), resize=resize(ratio_range=(2.0, 2.0)))
    soft = made.apply(soft_batch(made, [(image, mask)], [planes]), CPU).soft[0, :, 10]
    torch.testing.assert_close(soft[1, 14:18], torch.tensor([1.0, 0.75, 0.25, 0.0]))
    torch.testing.assert_close(soft.sum(0)[38:42], torch.tensor([1.0, 1.0, 0.0, 0.0]))


def test_those_of_a_lender_come_along():
    pictures = [blocks(60, 70, seed=i) for i in range(4)]
    made = augmentation(mixing=mixing(cutmix_prob=1.0, classes=(2,)), resize=resize(ratio_range=(1.0, 1.0)))
    planes = [np.zeros((60, 70, CLASSES), np.uint8) for _ in pictures]
    for i, each in enumerate(planes):
        each[..., i] = 255
    batch = soft_batch(made, pictures, planes)
    got = made.apply(batch, CPU).soft
    for row, draw in enumerate(batch.draws):
        top, left, bottom, right = draw.mix.cutmix.box
        assert bool((got[row, draw.mix.cutmix.partner, top:bottom, left:right] == 1).all())
        assert got[row].argmax(0).unique().tolist() in ([row], sorted([row, draw.mix.cutmix.partner]))


class Halves:
    """All classes alike, and which image it is of."""

    def read(self, sample, part=(slice(None), slice(None))):
        planes = np.full((*sample.mask.shape, 2), 100, np.uint8)
        planes[..., 1] += 10 * int(sample.id.rsplit("-", maxsplit=1)[1])
        return planes[part]


def test_a_split_on_a_device_gives_the_same():
    made = augmentation(mixing=mixing(mixup_prob=1.0), rotate_degrees=20.0, flip_horizontal=0.5)
    there = TrainBatches(MemorySplit(6), made, seed=0, batch_size=4, soft=Halves())
    here = TrainBatches(MemorySplit(6), made, seed=0, batch_size=4, soft=Halves())
    there.reside(CPU)
    for iteration in range(2):
        one, other = (each.finish(each.batch(iteration), CPU) for each in (there, here))
        for name in ("images", "targets", "soft", "other_soft"):
            assert torch.equal(getattr(one, name), getattr(other, name)), name
        assert len(one.soft[one.soft > 0].unique()) > 4
