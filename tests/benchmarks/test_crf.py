"""The dense CRF of 512 x 512 pixels, two classes, radius 5, five iterations, beside pydensecrf2's.

``python -m pytest tests/benchmarks/test_crf.py`` prints both with their ratio.
"""

import numpy as np
import pytest
import torch

from maskline.inference.crf import DenseCrf
from maskline.inference.crf_full import FullCrf

SIZE = 512
VALUES = {
    "iterations": 5, "bilateral_weight": 4.0, "bilateral_px": 20.0, "bilateral_grey": 13.0, "smooth_weight": 1.0,
    "smooth_px": 1.5,
}  # fmt: skip


@pytest.fixture(scope="module")
def scene():
    generator = np.random.default_rng(0)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    truth = (rows // 64 + columns // 48) % 2
    gray = 60 + 60 * truth + generator.normal(0, 6, (SIZE, SIZE))
    image = np.stack([gray, gray + 20, gray + 40]).clip(0, 255).astype(np.uint8)
    logits = np.eye(2)[truth] * 1.5 + generator.normal(0, 1.2, (SIZE, SIZE, 2))
    probabilities = torch.from_numpy(logits).float().softmax(-1).permute(2, 0, 1).contiguous()
    return probabilities[None], torch.from_numpy(image)[None], torch.from_numpy(truth)


@pytest.mark.parametrize("method", ["window", "pydensecrf2"])
def test_dense_crf(benchmark, scene, method):
    benchmark.group = f"dense CRF of {SIZE}x{SIZE}, two classes"
    if method == "pydensecrf2":
        pytest.importorskip("pydensecrf")
    field = DenseCrf(**VALUES, radius=5) if method == "window" else FullCrf(**VALUES)
    probabilities, image, truth = scene
    found = benchmark(field, probabilities, image)[0].argmax(0)
    assert (found == truth).float().mean() > 0.99
    assert (probabilities[0].argmax(0) == truth).float().mean() < 0.9
