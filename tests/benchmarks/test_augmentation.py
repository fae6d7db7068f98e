"""Augmentation: drawing, one batch's pixels, the warp beside kornia's, and what training waits for. ``make bench``.

Where two things are compared they take turns, so that a disturbance meets both; ``extra_info`` has the ratio.
"""

import statistics
import time

import kornia.augmentation
import numpy as np
import pytest
import torch

from maskline.augment import geometric
from maskline.augment.geometric import Geometry
from maskline.augment.loader import iterate
from maskline.augment.warp import Reading, warp
from maskline.builders.augment import build_batches
from maskline.builders.training import build_training
from maskline.data.dataset import PreparedSplit
from maskline.engine.state import TrainState
from maskline.engine.train import step
from tools.loop_cases import settings as settings_of

SIDE = 256
BATCH = 8
CPU = torch.device("cpu")


@pytest.fixture
def batches(prepared, settings):
    split = PreparedSplit.open(prepared, "train", cache="ram")
    return build_batches(split, augment=settings.augment, look=settings.model, train=settings.train)


def test_draw(benchmark, batches, settings):
    mask = batches.split.sample(0).mask
    draw = benchmark(batches.augmentation.draw, mask, seed=settings.train.seed, iteration=5, position=2, index=None)
    low, high = settings.augment.ratio_range
    assert draw == batches.augmentation.draw(mask, seed=settings.train.seed, iteration=5, position=2, index=None)
    assert draw != batches.augmentation.draw(mask, seed=settings.train.seed, iteration=6, position=2, index=None)
    assert "geometry" in draw.to_dict()
    assert low < high


def test_apply(benchmark, batches, settings):
    made = benchmark(batches.augmentation.apply, batches.batch(0), CPU)
    assert made.images.shape == (settings.train.batch_size, 3, *settings.augment.crop_size)
    assert made.images.dtype == torch.float32
    assert bool(made.images.isfinite().all())
    assert made.targets.dtype == torch.int64
    assert set(made.targets.unique().tolist()) <= {0, 1, settings.data.ignore_index}


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def in_turns(benchmark, ours, theirs, *, rounds):
    """Time two functions in turns; return how many times longer the second one takes."""
    times = {"ours": [], "theirs": []}

    def timed(name, function):
        started = time.perf_counter()
        result = function()
        times[name].append(time.perf_counter() - started)
        return result

    timed("ours", ours)
    timed("theirs", theirs)
    times["ours"].clear()
    times["theirs"].clear()
    benchmark.pedantic(
        lambda: timed("ours", ours), setup=lambda: timed("theirs", theirs) and None, rounds=rounds, iterations=1
    )
    if not times["theirs"]:  # --benchmark-disable
        return float("nan")
    return statistics.median(times["theirs"]) / statistics.median(times["ours"])


def pictures():
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 256, (BATCH, 3, SIDE, SIDE), dtype=np.uint8))
    return images, torch.from_numpy(rng.integers(0, 5, (BATCH, SIDE, SIDE), dtype=np.uint8))


def reading():
    """Scale, crop, rotation and flips of a batch, as params.yaml has them."""
    rng = np.random.default_rng(1)
    matrices = []
    for _ in range(BATCH):
        side = int(SIDE * rng.uniform(0.75, 1.5))
        origin = int(rng.integers(max(side - SIDE, 0) + 1)), int(rng.integers(max(side - SIDE, 0) + 1))
        drawn = Geometry(
            scaled_size=(side, side),
            crop_origin=origin,
            rotate_degrees=float(rng.uniform(-15, 15)),
            flip_horizontal=bool(rng.random() < 0.5),
            flip_vertical=bool(rng.random() < 0.5),
            bend=None,
        )
        matrices.append(geometric.matrix(drawn, size=(SIDE, SIDE), crop_size=(SIDE, SIDE)))
    return Reading(
        transforms=torch.from_numpy(np.stack(matrices).astype(np.float32)),
        boxes=torch.tensor([[0.0, 0.0, SIDE, SIDE]] * BATCH),
        sizes=torch.tensor([[float(SIDE), float(SIDE)]] * BATCH),
        crop_size=(SIDE, SIDE),
        fields={},
        projective=False,
    )


def sequential():
    """The same operations as kornia has them, with the ignore index outside: it fills masks with 0."""
    operations = kornia.augmentation.AugmentationSequential(
        kornia.augmentation.RandomAffine(0, scale=(0.75, 1.5), p=1.0),
        kornia.augmentation.RandomRotation(15, p=1.0),
        kornia.augmentation.RandomHorizontalFlip(p=0.5),
        kornia.augmentation.RandomVerticalFlip(p=0.5),
        kornia.augmentation.RandomCrop((SIDE, SIDE), pad_if_needed=True),
        data_keys=["input", "mask"],
    )

    def run(images, masks):
        warped, labels = operations(images.float(), masks[:, None].int() - 255)
        return warped, labels[:, 0].long() + 255

    return run


def test_warp_beside_kornia(benchmark, one_thread):
    benchmark.group = f"scale, crop, rotation, flips of {BATCH} x 3 x {SIDE} x {SIDE}; extra_info: kornia over ours"
    images, masks = pictures()
    where, fill, theirs = reading(), torch.tensor([0.0, 0.0, 0.0]), sequential()
    benchmark.extra_info["ratio"] = in_turns(
        benchmark,
        lambda: warp(images, [(masks, 255)], where, fill=fill),
        lambda: theirs(images, masks),
        rounds=20,
    )
    warped, (labels,), _ = warp(images, [(masks, 255)], where, fill=fill)
    other, other_labels = theirs(images, masks)
    assert warped.shape == other.shape
    assert set(labels.unique().tolist()) <= {0, 1, 2, 3, 4, 255}
    assert set(other_labels.unique().tolist()) <= {0, 1, 2, 3, 4, 255}


def test_training_waits_for_data(benchmark, prepared):
    """SMP's Unet on a ResNet-18 at 256x256, default augmentation: share of a step that goes into the batch."""
    benchmark.group = "a step of smp-unet-r18 at 256x256; extra_info: share that it waits for its batch"
    case = settings_of("smp-unet-r18", threads=2, compiled=False, workers=0)
    large = {"crop_size": (SIDE, SIDE), "ratio_range": (2.0, 3.0)}  # the benchmark's images are 128x128
    train = case.train.model_copy(update={"batch_size": 2})
    case = case.model_copy(update={"augment": case.augment.model_copy(update=large), "train": train})
    shares = _waits(benchmark, build_training(case, prepared))
    if shares:
        benchmark.extra_info["waits"] = statistics.median(shares)
    assert all(0 < share < 1 for share in shares)


def _waits(benchmark, job):
    state = TrainState(model=job.model, optimizer=job.optimizer, average=None)
    source = iterate(job.loop.batches, start=0, stop=100, workers=0, device=CPU)
    times = {"wait": [], "step": []}

    def one():
        started = time.perf_counter()
        batch = next(source)
        job.loop.batches.augmentation.apply(batch, CPU)  # what the step does once more
        waited = time.perf_counter()
        step(state, job.loop, batch)
        times["wait"].append(waited - started)
        times["step"].append(time.perf_counter() - waited)

    benchmark.pedantic(one, rounds=5, iterations=1, warmup_rounds=1)
    source.close()
    return [wait / taken for wait, taken in zip(times["wait"][1:], times["step"][1:], strict=True)]
