import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from maskline.inference.predictor import Predictor
from maskline.inference.stream import stream_classes


def predictor(**changes):
    torch.manual_seed(0)
    parts = {
        "model": nn.Conv2d(3, 4, 3, padding=1).eval(), "mean": (100.0,) * 3, "std": (50.0,) * 3, "mode": "slide",
        "window": (20, 24), "stride": (13, 17), "batch_size": 3, "weighting": "gaussian", "average": "probabilities",
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
def test_equals_the_sliding_window_over_the_whole(size, average):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    used = predictor(average=average)
    found = np.concatenate(list(stream_classes(used, Reader(image), size=size)))
    np.testing.assert_array_equal(found, used.classes(torch.from_numpy(image)[None])[0].numpy())


def test_memory_does_not_grow_with_the_height():
    code = """
import resource, numpy as np, torch
from tests.inference.test_stream import predictor
from maskline.inference.stream import stream_classes
torch.set_num_threads(1)
def peak(height):
    read = lambda count: np.zeros((count, 2048, 3), np.uint8)
    used = predictor(window=(64, 64), stride=(64, 64), batch_size=32)
    rows = sum(len(part) for part in stream_classes(used, read, size=(height, 2048)))
    assert rows == height
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
small = peak(256)
print(peak(16384) - small)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 40_000  # KiB; the picture's bytes alone are 98,000
