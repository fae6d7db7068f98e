"""The preview, the replay and training see the same pixels; two targets of a blended sample both count."""

import dataclasses

import kornia.augmentation
import numpy as np
import pytest
import torch

from maskline.augment import loader
from maskline.augment.color_jitter import ColorJitter
from maskline.augment.deform import Deform
from maskline.augment.loader import TrainBatches, iterate
from maskline.augment.mixing import Mixing
from maskline.augment.pixel_ops import PixelOps
from maskline.augment.sample import Augmented, RegionBatch
from maskline.builders.extra import extra_transforms
from maskline.data.dataset import Sample
from maskline.engine import mixup_loss
from maskline.engine.inputs import Inputs
from maskline.engine.train import step
from maskline.losses.composite import CompositeLoss
from maskline.params.whole import load_params
from tests.engine.conftest import MemorySplit, augmentation, plain, run

CPU = torch.device("cpu")


class Annotated(MemorySplit):
    """Images of three sizes, some smaller than the crop; half have a valid area, a third a second annotation."""

    @property
    def sizes(self):
        return [(24 + 13 * (i % 3), 61 - 17 * (i % 3)) for i in range(self.length)]

    def sample(self, index):
        height, width = self.sizes[index]
        rng = np.random.default_rng(index)
        image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        mask = rng.choice([0, 1, 255], (height, width)).astype(np.uint8)
        valid = mask == 1 if index % 2 else None
        second = mask if index % 3 == 0 else None
        return Sample(id=self.ids[index], group="", image=image, mask=mask, valid=valid, second=second)


def everything(**changes):
    """All operations, each of them now and then."""
    families = {
        "deform": Deform(
            rotate_prob=0.5,
            affine_prob=0.5,
            shear_degrees=20.0,
            translate=0.2,
            perspective_prob=0.5,
            tilt=0.5,
            elastic_prob=0.5,
            magnitude_px=3.0,
            spacing_px=9.0,
        ),
        "color_jitter": ColorJitter(
            mode="mmseg", prob=0.5, brightness=32.0, contrast=(0.5, 1.5), saturation=(0.5, 1.5), hue_degrees=36.0
        ),
        "pixel_ops": PixelOps(
            channels=3,
            clahe_prob=0.2,
            clahe_clip=(1.0, 4.0),
            clahe_tiles=2,
            gamma_prob=0.3,
            gamma_exponent=(0.5, 2.0),
            grayscale_prob=0.2,
            channel_dropout_prob=0.2,
            erase_prob=0.3,
            erase_count=1,
            erase_area=(0.05, 0.2),
            erase_labels="ignore",
        ),
        "mixing": Mixing(
            batch_size=4,
            copy_paste_prob=0.4,
            classes=(1,),
            cutmix_prob=0.4,
            cutmix_alpha=1.0,
            mixup_prob=0.5,
            mixup_alpha=1.0,
        ),
    }
    return dataclasses.replace(augmentation(), **{**families, **changes})


def batches(split=None, **changes):
    return TrainBatches(split or Annotated(6), everything(**changes), seed=3, batch_size=4)


def trained_pixels(made, *, start, stop, workers):
    """What the network and the loss get in each iteration, as the trainer makes it."""
    found = {}
    for number, batch in enumerate(iterate(made, start=start, stop=stop, workers=workers, device=CPU), start):
        found[number] = made.finish(batch, CPU)
    return found


@pytest.mark.parametrize(
    ("workers", "device", "kind"), [(0, "cpu", RegionBatch), (1, "cpu", Augmented), (1, "cuda", RegionBatch)]
)
def test_loader_processes_augment_for_a_cpu_and_leave_it_to_a_gpu(workers, device, kind, monkeypatch):
    monkeypatch.setattr(loader, "on_gpu", lambda source, _augmentation, _device: source)
    made = iterate(batches(), start=0, stop=2, workers=workers, device=torch.device(device))
    assert [type(batch) for batch in made] == [kind] * 2


def test_pixels_do_not_depend_on_the_number_of_threads():
    """A loader process has one thread, the process that trains has all."""
    made = batches(split=Annotated(4), crop_size=(256, 256))  # enough pixels for several threads
    for number in range(3):
        found = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(made.finish(made.batch(number), CPU))
        one, two = found
        assert torch.equal(one.images, two.images)
        assert torch.equal(one.targets, two.targets)


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_replay_is_training_bit_by_bit(workers):
    trained = trained_pixels(batches(), start=0, stop=6, workers=workers)
    blended = []
    for number, made in trained.items():
        for position, sample in enumerate(batches().augmented(number, range(4), accumulate=1)):
            np.testing.assert_array_equal(sample.pixels, made.images[position].numpy())
            np.testing.assert_array_equal(sample.mask, made.targets[position].numpy())
            assert (sample.other_mask is None) == (made.other_targets is None)
            if made.other_targets is not None:
                np.testing.assert_array_equal(sample.other_mask, made.other_targets[position].numpy())
            assert (sample.iteration, sample.position) == (number, position)
        blended.append(made.other_targets is not None)
    assert set(blended) == {False, True}


@pytest.mark.parametrize("workers", [0, 2])
def test_a_restart_goes_on_with_the_same_pixels(workers):
    whole = trained_pixels(batches(), start=0, stop=7, workers=0)
    rest = trained_pixels(batches(), start=4, stop=7, workers=workers)
    assert sorted(rest) == [4, 5, 6]
    for number, made in rest.items():
        assert torch.equal(made.images, whole[number].images)
        assert torch.equal(made.targets, whole[number].targets)
        assert made.share == whole[number].share


def test_the_preview_is_the_first_samples():
    shown = list(batches().first(7, accumulate=1))
    assert [(sample.iteration, sample.position) for sample in shown] == [(i // 4, i % 4) for i in range(7)]
    (again,) = batches().augmented(1, [2], accumulate=1)
    np.testing.assert_array_equal(shown[6].pixels, again.pixels)
    assert shown[6].draw == again.draw


def test_positions_go_through_the_accumulated_batches():
    shown = list(batches().augmented(2, [0, 5, 11], accumulate=3))
    assert [sample.position for sample in shown] == [0, 5, 11]
    for sample, (number, row) in zip(shown, [(6, 0), (7, 1), (8, 3)], strict=True):
        (plain_sample,) = batches().augmented(number, [row], accumulate=1)
        np.testing.assert_array_equal(sample.pixels, plain_sample.pixels)
        assert sample.iteration == 2


def test_the_valid_area_and_the_second_annotation_move_along():
    """The valid area is class 1 and the second annotation the mask itself, so they must end where these do."""
    made = batches(mixing=None)
    seen = {"valid": 0, "second": 0}
    for sample in made.first(24, accumulate=1):
        index = made.split.ids.index(sample.id)
        assert (sample.valid is not None) == (index % 2 == 1)
        assert (sample.second is not None) == (index % 3 == 0)
        if sample.valid is not None:
            np.testing.assert_array_equal(sample.valid, sample.mask == 1)
            seen["valid"] += 1
        if sample.second is not None:
            np.testing.assert_array_equal(sample.second, sample.mask)
            seen["second"] += 1
    assert min(seen.values()) > 3


def test_training_ignores_what_is_outside_the_valid_area():
    made = batches(mixing=None, within_valid=True)
    for sample in made.first(24, accumulate=1):
        if made.split.ids.index(sample.id) % 2:
            assert set(np.unique(sample.mask)) <= {1, 255}


def test_both_targets_of_a_blended_sample_count():
    criterion = CompositeLoss([(plain, 1.0)])
    logits = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    own = torch.randint(0, 3, (2, 8, 8), generator=torch.Generator().manual_seed(1))
    other = torch.randint(0, 3, (2, 8, 8), generator=torch.Generator().manual_seed(2))
    own[0, 0], other[0, 1] = 65535, 65535
    made = Augmented(images=logits, targets=own, valid=None, second=None, other_targets=other, share=0.7)
    given = Inputs.of(made, memory_format=torch.contiguous_format)
    found = mixup_loss.loss(criterion, logits, mixup_loss.packed(given), ignore_index=65535, batch=given)
    expected = 0.7 * criterion(logits, own, 65535) + 0.3 * criterion(logits, other, 65535)
    torch.testing.assert_close(sum(found.values()), expected, rtol=0, atol=0)
    alone = dataclasses.replace(given, other_targets=None, share=(1.0, 0.0))
    assert mixup_loss.packed(alone) is own
    found = mixup_loss.loss(criterion, logits, own, ignore_index=65535, batch=alone)
    assert torch.equal(sum(found.values()), criterion(logits, own, 65535))


def test_a_step_of_training_uses_both_targets():
    """The loss that training reports for a blended batch is the weighed one, of every head."""
    made = everything(mixing=dataclasses.replace(everything().mixing, mixup_prob=1.0))
    batch = TrainBatches(MemorySplit(6), made, seed=3, batch_size=4).batch(0)
    blended = made.apply(batch, CPU)
    assert blended.other_targets is not None

    def losses(augmented):
        state, loop = run()
        loop.batches.augmentation = _Fixed(augmented)
        return step(state, loop, batch)

    own, other = (
        losses(dataclasses.replace(blended, targets=targets, other_targets=None, share=1.0))
        for targets in (blended.targets, blended.other_targets)
    )
    found = losses(blended)
    for name in ("loss", "loss_decode_head", "loss_auxiliary_head.0"):
        assert found[name] == pytest.approx(blended.share * own[name] + (1 - blended.share) * other[name], rel=1e-5)
        assert own[name] != pytest.approx(other[name], rel=1e-4)


def test_kornia_runs_in_a_step_of_training_on_the_batchs_device(root, monkeypatch):
    """The row of params.yaml as shipped; what was drawn is in the batch, and kornia gets the images of its samples."""
    rows = load_params(root / "params.yaml").augment.extra
    (shipped,) = extra_transforms(rows, channels=3, crop_size=(32, 32))
    state, loop = run()
    loop.batches.augmentation = dataclasses.replace(loop.batches.augmentation, extra=(shipped,))
    kind, seen = getattr(kornia.augmentation, shipped.name), []
    plain_transform = kind.apply_transform

    def noted(self, images, *args, **kwargs):
        seen.append(images.device)
        return plain_transform(self, images, *args, **kwargs)

    monkeypatch.setattr(kind, "apply_transform", noted)
    for number in range(3):
        batch = loop.batches.batch(number)
        happened = sum(draw.extra[0].happens for draw in batch.draws)
        step(state, loop, batch)
        assert seen == [loop.compute.device] * happened
        assert happened or number < 2
        seen.clear()


class _Fixed:
    """An augmentation that gives one batch."""

    ignore_index = 255

    def __init__(self, made):
        self.made = made

    def apply(self, batch, device):
        return self.made
