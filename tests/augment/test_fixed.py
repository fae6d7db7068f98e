"""The form for a GPU, run on a CPU: the same pixels and labels, one copy, nothing that is read back."""

import threading
from collections import Counter

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from maskline.augment import fixed
from maskline.augment.color_jitter import ColorJitter
from maskline.augment.packed import Packed
from maskline.augment.prefetch import ahead
from tests.augment.conftest import augmentation, batch_of, bending, effects, mixing, picture
from tests.augment.test_extra import built

CPU = torch.device("cpu")
SIZE = (32, 40)


def steps(mode):
    return ColorJitter(
        mode=mode, prob=0.7, brightness=32.0, contrast=(0.5, 1.5), saturation=(0.5, 1.5), hue_degrees=36.0
    )


def everything(**changes):
    """All operations, each of them now and then."""
    off = {
        "rotate_degrees": 40.0,
        "flip_horizontal": 0.5,
        "flip_vertical": 0.5,
        "deform": bending(affine_prob=0.5, perspective_prob=0.5, elastic_prob=0.5),
        "photometric_prob": 0.5,
        "blur_prob": 0.5,
        "noise_prob": 0.5,
        "pixel_ops": effects(
            clahe_prob=0.3,
            gamma_prob=0.5,
            grayscale_prob=0.3,
            channel_dropout_prob=0.3,
            erase_prob=0.5,
        ),
        "mixing": mixing(copy_paste_prob=0.5, cutmix_prob=0.5, mixup_prob=0.4),
        "extra": (built("RandomGamma", size=SIZE), built("RandomRotation", size=SIZE)),
    }
    return augmentation(**{**off, **changes})


def pictures(seed=0):
    return [picture(60 + 9 * i, 90 - 11 * i, classes=(1, 2, 3, 7), seed=4 * seed + i) for i in range(4)]


CASES = {
    "matrix": {},
    "mmseg": {"color_jitter": steps("mmseg")},
    "jitter": {"color_jitter": steps("jitter")},
    "labels kept": {"pixel_ops": effects(erase_prob=0.7, erase_labels="keep"), "extra": ()},
    "nothing": {"deform": None, "pixel_ops": None, "mixing": None, "extra": (), "blur_prob": 0.0, "noise_prob": 0.0},
}


@pytest.mark.parametrize("case", CASES)
def test_the_same_as_on_a_cpu_within_a_gray_level(case):
    made = everything(**CASES[case])
    did = Counter()
    for iteration in range(6):
        extra = [(mask == 2, np.where(mask == 3, 1, mask).astype(np.uint8)) for _, mask in pictures(iteration)]
        batch = batch_of(made, pictures(iteration), iteration=iteration, annotations=True, extra=extra)
        did.update(name.split()[0] for draw in batch.draws for name in draw.happened())
        here, there = made.apply(batch, CPU), made.apply(fixed.pack(made, batch), CPU)
        assert torch.equal(here.targets, there.targets)
        assert torch.equal(here.valid, there.valid)
        assert torch.equal(here.second, there.second)
        assert (here.other_targets is None) == (there.other_targets is None)
        if here.other_targets is not None:
            assert torch.equal(here.other_targets, there.other_targets)
        assert here.share == there.share
        assert (here.images - there.images).abs().max() < 1
    if case == "matrix":
        parts = {"affine", "perspective", "elastic", "blur", "noise", "clahe", "gamma", "grayscale", "lost", "erased"}
        assert parts | {"copy", "cutmix", "mixup", "Gamma", "Rotation"} <= did.keys(), "all of them were seen"


class Seen(TorchDispatchMode):
    """Names of all operations."""

    def __init__(self):
        super().__init__()
        self.count = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


WAITS = {"_local_scalar_dense", "item", "nonzero", "is_nonzero", "masked_select", "lift_fresh", "index_put_"}


@pytest.mark.parametrize("case", ["matrix", "mmseg", "nothing"])
def test_nothing_is_read_back_and_nothing_but_one_buffer_is_copied(case):
    """``lift_fresh`` is a tensor that is made of Python numbers: on a GPU it would be copied there."""
    quiet = effects(gamma_prob=0.5, grayscale_prob=0.3, channel_dropout_prob=0.3, erase_prob=0.5)
    blended = mixing(copy_paste_prob=0.5, cutmix_prob=0.5, mixup_prob=1.0)
    made = everything(**{"extra": (), "pixel_ops": quiet, "mixing": blended, **CASES[case]})
    counts = []
    for iteration in range(3):
        packed = fixed.pack(made, batch_of(made, pictures(iteration), iteration=iteration))
        assert packed.packed.buffer.dim() == 1
        with Seen() as seen:
            made.apply(packed, CPU)
        assert not WAITS & seen.count.keys(), seen.count
        counts.append(seen.count)
    assert counts[0] == counts[1] == counts[2], "a fixed series"


def test_one_buffer_holds_all_types():
    given = {
        "a": torch.arange(3, dtype=torch.uint8),
        "b": torch.tensor([[1.5, -2.0]], dtype=torch.float64),
        "c": torch.tensor([True, False, True]),
        "d": torch.zeros(0, 4),
        "e": torch.tensor([2**40]),
    }
    packed = Packed.of(given).to(CPU)
    assert packed.buffer.dtype == torch.uint8
    for name, tensor in packed.tensors().items():
        assert torch.equal(tensor, given[name])
        assert tensor.dtype == given[name].dtype


def test_batches_are_made_ahead_in_a_thread_and_in_order():
    made, threads = [], set()

    def make(number):
        made.append(number)
        threads.add(threading.current_thread())
        return 10 * number

    ready = ahead(iter(range(9)), make)
    assert next(ready) == 0
    assert [next(ready) for _ in range(3)] == [10, 20, 30]
    assert threading.current_thread() not in threads
    assert len(made) <= 6, "two ahead, and the one under way"
    ready.close()
    assert not any(thread.is_alive() for thread in threads)
    assert list(ahead(iter(range(3)), make)) == [0, 10, 20]


def test_an_error_comes_after_the_batches_before_it():
    def source():
        yield 1
        yield 2
        raise OSError("torn")

    ready = ahead(source(), lambda number: number)
    assert [next(ready), next(ready)] == [1, 2]
    with pytest.raises(OSError, match="torn"):
        next(ready)
