import numpy as np
import pytest
import torch
from torch import nn

from maskline.core.errors import CheckpointError
from maskline.inference.predictor import Predictor

AVERAGE = {"weighting": "uniform", "average": "logits", "precision": "fp32"}


def predictor(model, **changes):
    values = {"mode": "whole", "window": (16, 16), "stride": (8, 8), "batch_size": 2, **AVERAGE} | changes
    return Predictor(model=model, mean=(10.0, 20.0, 30.0), std=(2.0, 4.0, 5.0), **values)


class Forward(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.forward = function


def logits(model, images, **changes):
    module = model if isinstance(model, nn.Module) else Forward(model)
    return predictor(module, **changes).logits_of(images)


def test_whole_is_the_network_on_batches():
    torch.manual_seed(0)
    network = nn.Conv2d(3, 4, 3, padding=1).eval()
    images = torch.randn(5, 3, 20, 24)
    with torch.no_grad():
        expected = network(images)
    torch.testing.assert_close(logits(network, images), expected)


def test_whole_respects_the_batch_size():
    seen = []

    def forward(images):
        seen.append(len(images))
        return images

    logits(forward, torch.zeros(5, 3, 16, 16))
    assert seen == [2, 2, 1]


@pytest.mark.parametrize("mode", ["whole", "slide"])
def test_classes_are_the_argmax_of_the_logits(mode):
    torch.manual_seed(0)
    network = nn.Conv2d(3, 4, 3, padding=1).eval()
    images = torch.randint(0, 256, (3, 41, 24, 3), dtype=torch.uint8)
    classes = predictor(network, mode=mode).classes(images)
    assert classes.dtype == torch.uint8
    assert torch.equal(classes.long(), predictor(network, mode=mode).logits(images).argmax(1))


def test_slide_equals_whole_for_a_pointwise_network():
    torch.manual_seed(0)
    network = nn.Conv2d(3, 4, 1).eval()
    images = torch.randn(2, 3, 41, 24)
    torch.testing.assert_close(logits(network, images, mode="slide"), logits(network, images))


def test_more_classes_than_a_byte_holds():
    def forward(images):
        logits = torch.zeros(len(images), 400, *images.shape[2:])
        logits[:, 300] = 1
        return logits

    classes = predictor(Forward(forward)).classes(torch.zeros(1, 16, 16, 3, dtype=torch.uint8))
    assert classes.dtype == torch.int32
    assert (classes == 300).all()


def test_images_are_normalized_in_gray_levels():
    picture = torch.full((1, 16, 16, 3), 50, dtype=torch.uint8)
    found = predictor(nn.Identity()).logits(picture)
    assert found[0, :, 0, 0].tolist() == [20.0, 7.5, 4.0]


def test_result_is_free_of_gradients():
    network = nn.Conv2d(3, 2, 1)
    assert not logits(network, torch.zeros(1, 3, 16, 16)).requires_grad


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("mode", ["whole", "slide"])
def test_what_is_not_finite_is_an_error(mode, value):
    network = nn.Conv2d(3, 2, 1)
    nn.init.constant_(network.bias, value)
    with pytest.raises(CheckpointError, match="output is not finite"):
        predictor(network, mode=mode).classes(torch.zeros(1, 16, 16, 3, dtype=torch.uint8))


def test_classes_of_a_image():
    # The brightest channel is the class.
    picture = np.zeros((1, 16, 16, 3), np.uint8)
    picture[0, :8, :, 2] = 255
    picture[0, 8:, :, 1] = 255
    classes = predictor(nn.Identity()).classes(torch.from_numpy(picture))
    assert (classes[0, :8] == 2).all()
    assert (classes[0, 8:] == 1).all()


def test_probabilities_are_averaged_where_asked_for():
    torch.manual_seed(0)
    network = nn.Conv2d(3, 3, 3, padding=1).eval()
    images = torch.randn(1, 3, 16, 24)
    with torch.no_grad():
        left, right = network(images[..., :16]).softmax(1), network(images[..., 8:]).softmax(1)
    expected = torch.cat([left[..., :8], (left[..., 8:] + right[..., :8]) / 2, right[..., 8:]], dim=3)
    found = logits(network, images, mode="slide", average="probabilities")
    torch.testing.assert_close(found.softmax(1), expected)
    torch.testing.assert_close(found.exp(), expected)


def test_gaussian_weights_favour_the_centre_of_a_window():
    def forward(images):  # a window's own mean: neighbours disagree
        return images.mean((2, 3), keepdim=True).expand(-1, -1, *images.shape[2:])

    images = torch.zeros(1, 3, 16, 24)
    images[..., 16:] = 1
    found = logits(forward, images, mode="slide", weighting="gaussian")[0, 0, 0]
    uniform = logits(forward, images, mode="slide")[0, 0, 0]
    distance = np.arange(16) - 7.5
    weights = np.exp(-0.5 * (distance / 2) ** 2)
    share = weights[:8] / (weights[:8] + weights[8:])  # of the right window, over the pixels 8..15
    np.testing.assert_allclose(found[8:16].numpy(), 0.5 * share, rtol=1e-5)
    np.testing.assert_allclose(uniform[8:16].numpy(), 0.25, rtol=1e-5)


@pytest.mark.parametrize("mode", ["whole", "slide"])
def test_bf16_is_near_and_comes_back_as_float(mode):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 1)).eval()
    images = torch.randint(0, 256, (2, 20, 24, 3), dtype=torch.uint8)
    exact, found = (predictor(network, mode=mode, precision=p).logits(images) for p in ("fp32", "bf16"))
    assert found.dtype == torch.float32
    assert not torch.equal(found, exact)
    torch.testing.assert_close(found, exact, rtol=0.02, atol=0.02 * float(exact.abs().max()))
