"""Large images by windows, where nobody says otherwise."""

import logging

import numpy as np
import pytest
import torch
from torch import nn

from maskline.core.errors import CheckpointError
from maskline.export.runtime_torch import TorchModel
from maskline.predict import large_images
from maskline.predict.inference_model import WholeOrWindows


def models(monkeypatch, network):
    for name, value in {"WHOLE_PIXELS": 40 * 50, "LONGEST": 32, "OVERLAP": 8, "_MULTIPLE": 8}.items():
        monkeypatch.setattr(large_images, name, value)
    threads = torch.get_num_threads()

    def logits(images):
        return network((images.permute(0, 3, 1, 2).float() - 100) / 50)

    whole = TorchModel(logits, threads=threads, network=network)
    return whole, WholeOrWindows(whole, mean=(100.0,) * 3, std=(50.0,) * 3)


def image(height, width):
    return np.random.default_rng(0).integers(0, 256, (1, height, width, 3), dtype=np.uint8)


def test_only_large_images_go_by_windows_and_it_is_told_once(monkeypatch, caplog):
    torch.manual_seed(0)
    seen = []
    network = nn.Conv2d(3, 3, 1).eval()
    network.register_forward_hook(lambda module, inputs, output: seen.append(tuple(output.shape[2:])))
    whole, both = models(monkeypatch, network)
    with caplog.at_level(logging.INFO, logger="maskline"):
        both.predict(image(40, 50))
        assert seen == [(40, 50)]
        assert not caplog.messages
        found = both.predict(image(41, 50))
        both.predict(image(41, 50))
    assert set(seen[1:]) == {(32, 32)}
    assert caplog.messages == ["predict: 50x41 px is large: by windows of 32x32 px, as all above 2000 px"]
    expected = whole.predict(image(41, 50))
    np.testing.assert_array_equal(found.labels, expected.labels)  # it sees one pixel at a time
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-6)
    assert (found.labels.dtype, found.probabilities.dtype) == (np.uint8, np.float32)


def test_what_is_not_finite_is_an_error_by_windows_too(monkeypatch):
    network = nn.Conv2d(3, 3, 1)
    nn.init.constant_(network.bias, float("nan"))
    with pytest.raises(CheckpointError, match="not finite"):
        models(monkeypatch, network)[1].predict(image(60, 60))
