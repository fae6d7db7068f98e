"""Training on soft labels: at whichever pixels a head compares, with mixup, resumed and captured bit by bit."""

import functools
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch

from maskline.augment.loader import TrainBatches
from maskline.engine import mixup_loss
from maskline.engine.capture import CapturedStep
from maskline.engine.inputs import Inputs
from maskline.engine.journal import Journal
from maskline.engine.process import StopFlag
from maskline.engine.state import weights_of
from maskline.engine.train import StoppedError, fit
from tests.augment.conftest import mixing
from tests.engine.conftest import MemorySplit, augmentation, run
from tests.engine.recorder import RecordedGraphs
from tests.engine.test_capture import REPLAYED, started, trained, unet

IGNORE = 255


ALL = (slice(None), slice(None))


class OneHot:
    """The masks themselves as soft labels."""

    def read(self, sample, part=ALL):
        return (255 * (sample.mask[part][..., None] == np.arange(2))).astype(np.uint8)


class Blurred:
    """The masks, less sure of each pixel the farther right it is; no labels in the bottom rows."""

    def read(self, sample, part=ALL):
        sure = np.linspace(1, 0.5, sample.mask.shape[1])[None, :, None]
        hard = sample.mask[..., None] == np.arange(2)
        planes = np.rint(255 * (sure * hard + (1 - sure) * ~hard)).astype(np.uint8)
        planes[-8:] = 0
        return planes[part]


def batches(soft, **changes):
    return TrainBatches(MemorySplit(6), replace(augmentation(), **changes), seed=3, batch_size=4, soft=soft)


def inputs(*, mixup):
    generator = torch.Generator().manual_seed(0)
    targets = torch.randint(0, 3, (2, 2, 4, 5), generator=generator)
    targets[:, :, 0] = IGNORE
    soft = torch.rand(2, 2, 3, 4, 5, generator=generator).softmax(2)
    soft[:, :, :, 1] = 0
    others = {"other_targets": targets[1], "other_soft": soft[1]} if mixup else {"other_targets": None}
    share = (0.75, 0.25) if mixup else (1.0, 0.0)
    return Inputs(images=torch.zeros(2, 3, 4, 5), targets=targets[0], share=share, soft=soft[0], **others)


def expected(targets, soft, weight):
    """Return the target NCHW, pixel by pixel."""
    joined = torch.zeros_like(soft)
    for n, y, x in np.ndindex(*targets.shape):
        if targets[n, y, x] != IGNORE:
            hard = torch.eye(3)[targets[n, y, x]]
            joined[n, :, y, x] = (
                hard if soft[n, :, y, x].sum() == 0 else weight * soft[n, :, y, x] + (1 - weight) * hard
            )
    return joined


@pytest.mark.parametrize("mixup", [False, True])
@pytest.mark.parametrize("weight", [0.3, 1.0])
def test_what_a_criterion_gets_is_that_of_the_pixels_which_a_head_chose(mixup, weight):
    batch, seen = inputs(mixup=mixup), []

    def criterion(_, target, ignore_index):
        assert ignore_index == IGNORE
        seen.append(target)
        return target.sum()

    whole = mixup_loss.packed(batch)
    chosen = torch.tensor([[3, 19, 0, 7], [12, 12, 6, 1]])  # of each image, as a point head reads
    at_points = whole.flatten(1).gather(1, chosen).unsqueeze(2)
    for target in (whole, at_points):
        mixup_loss.loss(criterion, None, target, ignore_index=IGNORE, batch=batch, soft_weight=weight)
    parts = [(batch.targets, batch.soft), (batch.other_targets, batch.other_soft)][: 1 + mixup]
    wholes = [expected(*part, weight) for part in parts]
    points = [each.flatten(2).gather(2, chosen[:, None].expand(-1, 3, -1)).unsqueeze(3) for each in wholes]
    for got, wanted in zip(seen, [*wholes, *points], strict=True):
        torch.testing.assert_close(got, wanted)


def test_one_hot_labels_train_as_their_masks(tmp_path):
    losses = []
    for soft in (None, OneHot()):
        still = {"rotate_degrees": 0.0, "resize": replace(augmentation().resize, ratio_range=(1.0, 1.0))}
        state, loop = run(iterations=3, batches=batches(soft, **still), soft_weight=0.7)
        fit(state, loop, journal=Journal(tmp_path / str(soft is None)), stop=StopFlag())
        losses.append([loss for loss, _ in state.trace])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_soft_labels_count_and_a_stopped_run_goes_on_bit_by_bit(tmp_path):
    start = functools.partial(run, soft_weight=0.5)
    whole, loop = start(batches=batches(Blurred()))
    fit(whole, loop, journal=Journal(tmp_path / "whole"), stop=StopFlag())
    hard, loop = start(batches=batches(None))
    fit(hard, loop, journal=Journal(tmp_path / "hard"), stop=StopFlag())
    assert whole.trace[0][0] != hard.trace[0][0]
    flag, journal, calls = StopFlag(), Journal(tmp_path / "stopped"), []

    class Stopping(Blurred):
        def read(self, sample, part=ALL):
            calls.append(sample.id)
            if len(calls) == 4 * 7:
                flag.set(signal.SIGTERM, None)
            return super().read(sample, part)

    state, loop = start(batches=batches(Stopping()))
    with pytest.raises(StoppedError):
        fit(state, loop, journal=journal, stop=flag)
    again, loop = start(batches=batches(Blurred()), workers=1)
    again.restore(journal.read())
    assert again.iteration == 7
    fit(again, loop, journal=journal, stop=StopFlag())
    assert again.trace == whole.trace
    one, two = weights_of(again.model), weights_of(whole.model)
    assert all(torch.equal(one[name], two[name]) for name in two)


def test_replayed_steps_are_the_steps_themselves(tmp_path):
    made = {"mixing": mixing(mixup_prob=1.0)}
    options = {"graph": False, "soft_weight": 0.5}
    plain = trained(tmp_path / "plain", *started(unet, "sgd", batches=batches(Blurred(), **made), **options))
    state, loop = started(unet, "sgd", batches=batches(Blurred(), **made), **options)
    graphs = RecordedGraphs(state)
    state.captured = CapturedStep(graphs, undo=lambda: None)
    trained(tmp_path / "replayed", state, loop)
    assert (graphs.captures, graphs.replays) == (1, REPLAYED)
    assert state.trace == plain.trace
