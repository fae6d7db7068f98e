import sys

import numpy as np
import pytest
import torch

from maskline.core.errors import ParamsError
from maskline.inference.crf_full import FullCrf
from tests.inference.test_crf import field, fully_connected, scene

VALUES = {
    "iterations": 5, "bilateral_weight": 3.0, "bilateral_px": 6.0, "bilateral_grey": 20.0, "smooth_weight": 1.0,
    "smooth_px": 1.5,
}  # fmt: skip


def bytes_of(image):
    return image.clamp(0, 255).round().to(torch.uint8)


@pytest.mark.parametrize("num_classes", [2, 3])
def test_near_the_fully_connected_field(num_classes):
    pytest.importorskip("pydensecrf")
    image, probabilities, truth = scene((32, 32), num_classes=num_classes, seed=0)
    found = FullCrf(**VALUES)(probabilities[None], bytes_of(image)[None])[0].numpy()
    exact = fully_connected(probabilities, bytes_of(image).float(), field(radius=31))
    assert (found.argmax(0) == exact.argmax(0)).mean() > 0.98
    assert (found.argmax(0) == truth.numpy()).mean() > (probabilities.argmax(0) == truth).float().mean() + 0.05
    np.testing.assert_allclose(found.sum(0), 1, atol=1e-5)


def test_each_image_by_itself_and_the_same_twice():
    pytest.importorskip("pydensecrf")
    scenes = [scene((20, 24), num_classes=2, seed=seed) for seed in (4, 5)]
    probabilities, images = (
        torch.stack(parts) for parts in zip(*[(s[1], bytes_of(s[0])) for s in scenes], strict=True)
    )
    found = FullCrf(**VALUES)(probabilities, images)
    torch.testing.assert_close(found, FullCrf(**VALUES)(probabilities, images), rtol=0, atol=0)
    torch.testing.assert_close(found[1:], FullCrf(**VALUES)(probabilities[1:], images[1:]), rtol=0, atol=0)


def test_a_missing_package_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydensecrf", None)
    with pytest.raises(ParamsError, match=r"evaluate.crf.method: full needs the package pydensecrf2; pip install"):
        FullCrf(**VALUES)
