import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from maskline.inference.predictor import Predictor
from maskline.predict.stream import stream_classes


def predictor(**changes):
    torch.manual_seed(0)
    parts = {
        "model": nn.Conv2d(3, 4, 3, padding=1).eval(), "mean": (100.0,) * 3, "std": (50.0,) * 3, "mode": "slide",
        "window": (20, 24), "stride": (13, 17), "batch_size": 3, "weighting": "gaussian", "average": "probabilities",
        "precision": "fp32",
    }  # fmt: skip
    return Predictor(**(parts | changes))


class Reader:
    def __init__(self, image):
        self.image, self.top = image, 0

    def __call__(self, count):
        self.top += count
        assert self.top <= len(self.image)
        return self.image[self.top - count : self.top]


@pytest.mark.parametrize("size", [(97, 61), (20, 24), (16, 200)])
@pytest.mark.parametrize("average", ["logits", "probabilities"])
def test_equals_the_sliding_window_over_the_whole(size, average, tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    used = predictor(average=average)
    found = np.concatenate(list(stream_classes(used, Reader(image), size=size, memory_bytes=1 << 30, scratch=tmp_path)))
    np.testing.assert_array_equal(found, used.classes(torch.from_numpy(image)[None])[0].numpy())


@pytest.mark.parametrize("weighting", ["uniform", "gaussian"])
def test_sums_on_the_disk_change_nothing(weighting, tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (97, 61, 3)).astype(np.uint8)
    used = predictor(weighting=weighting)
    found, expected = (
        np.concatenate(list(stream_classes(used, Reader(image), size=(97, 61), memory_bytes=n, scratch=tmp_path)))
        for n in (0, 1 << 30)
    )
    np.testing.assert_array_equal(found, expected)
    assert not list(tmp_path.iterdir())  # the file has no name


def test_memory_does_not_grow_with_the_height():
    code = """
import numpy as np, torch
from pathlib import Path
from tests.predict.test_stream import predictor
from maskline.predict.stream import stream_classes
torch.set_num_threads(1)
def peak(height):
    read = lambda count: np.zeros((count, 2048, 3), np.uint8)
    used = predictor(window=(64, 64), stride=(64, 64), batch_size=32)
    room = {"memory_bytes": 1 << 30, "scratch": Path(".")}
    rows = sum(len(part) for part in stream_classes(used, read, size=(height, 2048), **room))
    assert rows == height
    # getrusage would count what the parent held when it started this process
    return int(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))
small = peak(256)
print(peak(16384) - small)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 40_000  # KiB; the image's bytes alone are 98,000
