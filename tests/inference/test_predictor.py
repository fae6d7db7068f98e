import numpy as np
import pytest
import torch
from torch import nn

from maskline.errors import CheckpointError
from maskline.inference.predictor import Predictor, predict_classes, predict_logits

AVERAGE = {"weighting": "uniform", "average": "logits"}


def options(**changes):
    return {"mode": "whole", "window": (16, 16), "stride": (8, 8), "batch_size": 2, **AVERAGE} | changes


def predictor(model, **changes):
    return Predictor(model=model, mean=(10.0, 20.0, 30.0), std=(2.0, 4.0, 5.0), **options(**changes))


def test_whole_is_the_network_on_batches():
    torch.manual_seed(0)
    network = nn.Conv2d(3, 4, 3, padding=1).eval()
    images = torch.randn(5, 3, 20, 24)
    with torch.no_grad():
        expected = network(images)
    torch.testing.assert_close(predict_logits(network, images, **options()), expected)


def test_whole_respects_the_batch_size():
    seen = []

    def forward(images):
        seen.append(len(images))
        return images

    predict_logits(forward, torch.zeros(5, 3, 16, 16), **options())
    assert seen == [2, 2, 1]


@pytest.mark.parametrize("mode", ["whole", "slide"])
def test_classes_are_the_argmax_of_the_logits(mode):
    torch.manual_seed(0)
    network = nn.Conv2d(3, 4, 3, padding=1).eval()
    images = torch.randn(3, 3, 41, 24)
    classes = predict_classes(network, images, **options(mode=mode))
    assert classes.dtype == torch.uint8
    assert torch.equal(classes.long(), predict_logits(network, images, **options(mode=mode)).argmax(1))


def test_slide_equals_whole_for_a_pointwise_network():
    torch.manual_seed(0)
    network = nn.Conv2d(3, 4, 1).eval()
    images = torch.randn(2, 3, 41, 24)
    torch.testing.assert_close(
        predict_logits(network, images, **options(mode="slide")), predict_logits(network, images, **options())
    )


def test_more_classes_than_a_byte_holds():
    def forward(images):
        logits = torch.zeros(len(images), 400, *images.shape[2:])
        logits[:, 300] = 1
        return logits

    classes = predict_classes(forward, torch.zeros(1, 3, 16, 16), **options())
    assert classes.dtype == torch.int32
    assert (classes == 300).all()


def test_pictures_are_normalised_in_grey_levels():
    picture = torch.full((1, 16, 16, 3), 50, dtype=torch.uint8)
    logits = predictor(nn.Identity()).logits(picture)
    assert logits[0, :, 0, 0].tolist() == [20.0, 7.5, 4.0]


def test_result_is_free_of_gradients():
    network = nn.Conv2d(3, 2, 1)
    assert not predict_logits(network, torch.zeros(1, 3, 16, 16), **options()).requires_grad


@pytest.mark.parametrize("mode", ["whole", "slide"])
def test_nan_is_an_error(mode):
    network = nn.Conv2d(3, 2, 1)
    nn.init.constant_(network.weight, float("nan"))
    with pytest.raises(CheckpointError, match="output is nan"):
        predictor(network, mode=mode).classes(torch.zeros(1, 16, 16, 3, dtype=torch.uint8))


def test_classes_of_a_picture():
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
    found = predict_logits(network, images, **options(mode="slide", average="probabilities"))
    torch.testing.assert_close(found.softmax(1), expected)
    torch.testing.assert_close(found.exp(), expected)


def test_gaussian_weights_favour_the_centre_of_a_window():
    def forward(images):  # a window's own mean: neighbours disagree
        return images.mean((2, 3), keepdim=True).expand(-1, -1, *images.shape[2:])

    images = torch.zeros(1, 3, 16, 24)
    images[..., 16:] = 1
    found = predict_logits(forward, images, **options(mode="slide", weighting="gaussian"))[0, 0, 0]
    uniform = predict_logits(forward, images, **options(mode="slide"))[0, 0, 0]
    distance = np.arange(16) - 7.5
    weights = np.exp(-0.5 * (distance / 2) ** 2)
    share = weights[:8] / (weights[:8] + weights[8:])  # of the right window, over the pixels 8..15
    np.testing.assert_allclose(found[8:16].numpy(), 0.5 * share, rtol=1e-5)
    np.testing.assert_allclose(uniform[8:16].numpy(), 0.25, rtol=1e-5)
