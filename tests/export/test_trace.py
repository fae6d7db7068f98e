import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from maskline.builders.model import segmentor
from maskline.core.errors import ExportError
from maskline.export import trace as trace_module
from maskline.export.trace import Deployable, trace
from maskline.params.network.model import validate_model


@pytest.mark.parametrize(("height", "width"), [(16, 16), (17, 29), (64, 31)])
def test_deployable_equals_the_network_it_wraps(trained, height, width):
    images = np.random.default_rng(0).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    with torch.no_grad():
        labels, probabilities = trained.deployable()(torch.from_numpy(images))
    expected = trained.runtime(threads=1).predict(images)
    np.testing.assert_array_equal(labels, expected.labels)
    # Channels last, as NHWC input makes it here, sums a convolution in another order.
    np.testing.assert_allclose(probabilities, expected.probabilities, atol=1e-5)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(33, 47), (35, 46), (64, 65)])
def test_a_row_of_networks_is_padded_once_in_both(height, width):
    """Each network by itself would see, where the image ends, what the exported one does not."""
    torch.manual_seed(0)
    parts = {"backbone": {"name": "little_unet", "base_channels": 4, "num_stages": 3}, "decode_head": {"name": "fcn"}}
    parts["decode_head"] |= {"in_index": -1, "channels": 4, "num_convs": 0, "concat_input": False}
    section = validate_model({**parts, "refiners": [parts]}, place="test")
    network = segmentor(section, num_classes=2).eval()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.weight.mul_(3)  # so that the second network's answer is not all but one class
        pixels = np.random.default_rng(0).integers(0, 256, (1, height, width, 3), dtype=np.uint8)
        deployable = Deployable(network, num_classes=2, stride=network.stride, mean=(120.0,) * 3, std=(60.0,) * 3)
        _, found = deployable(torch.from_numpy(pixels))
        expected = network((torch.from_numpy(pixels).permute(0, 3, 1, 2).float() - 120) / 60).softmax(1)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_many_classes_need_wider_labels():
    network = nn.Conv2d(3, 300, 1)
    model = Deployable(network, num_classes=300, stride=1, mean=(0, 0, 0), std=(1, 1, 1)).eval()
    labels, _ = model(torch.full((1, 16, 16, 3), 255, dtype=torch.uint8))
    assert labels.dtype == torch.uint16
    assert int(labels[0, 0, 0]) == int(network.bias.detach().add(network.weight.detach().sum((1, 2, 3)) * 255).argmax())


def test_example_smaller_than_the_stride_is_refused(trained):
    with pytest.raises(ExportError, match=r"export.example_size: 40x32 px; give at least 33 px a side"):
        trace(trained.deployable(), example_size=(40, 32))


class _OneSize(nn.Module):
    def forward(self, images):
        return images if images.shape[2] == 40 else images * 2


class _Asserts(nn.Module):
    def forward(self, images):
        assert images.shape[2] == 41, "made for 41 px"
        return images


@pytest.mark.parametrize("network", [_OneSize(), _Asserts()])
def test_network_of_one_size_is_refused(network):
    model = Deployable(network, num_classes=3, stride=1, mean=(0, 0, 0), std=(1, 1, 1)).eval()
    with pytest.raises(ExportError, match=r"_(OneSize|Asserts): cannot be traced for images of any size"):
        trace(model, example_size=(40, 48))


class _Pools(nn.Module):
    def forward(self, images):
        square = F.adaptive_avg_pool2d(images, output_size=(2, 2)).sum((2, 3), keepdim=True)
        return images + square + nn.AdaptiveAvgPool2d(1)(images)


def test_pooling_follows_the_size_of_the_image():
    model = Deployable(_Pools(), num_classes=3, stride=1, mean=(0, 0, 0), std=(50, 60, 70)).eval()
    program = trace(model, example_size=(40, 48))
    assert "adaptive_avg_pool2d" not in program.graph_module.code
    images = torch.randint(0, 256, (1, 37, 41, 3), dtype=torch.uint8)
    torch.testing.assert_close(program.module()(images)[1], model(images)[1])


def test_exported_softmax_is_torchs():
    logits = torch.tensor([0.0, 1e4, -1e4, 30.0]).view(1, 4, 1, 1) * torch.rand(2, 1, 3, 5)
    torch.testing.assert_close(trace_module._softmax(logits), logits.softmax(1))
