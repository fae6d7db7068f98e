"""SMP's SegFormer decoder with its linear steps joined gives what the trained one gives."""

import pytest
import torch
from torch import nn

from maskline.export.onnx_passes import segformer
from maskline.models.smp import smp_segmentor


def network(architecture, encoder):
    torch.manual_seed(0)
    model = smp_segmentor(
        architecture, encoder=encoder, in_channels=3, num_classes=3, pretrained=False, align_corners=False
    )
    for norm in (module for module in model.modules() if isinstance(module, nn.BatchNorm2d)):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    return model.eval()


@pytest.mark.parametrize("encoder", ["mit_b0", "resnet18"])
@torch.inference_mode()
def test_the_same_function(encoder):
    model = network("Segformer", encoder)
    fast = segformer.joined(model)
    assert fast is not model
    assert isinstance(fast.model.decoder, segformer.JoinedDecoder)
    assert not isinstance(model.model.decoder, segformer.JoinedDecoder)
    images = torch.randn(2, 3, 64, 96)
    expected = model(images)
    torch.testing.assert_close(fast(images), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_other_networks_stay():
    model = network("Unet", "resnet18")
    assert segformer.joined(model) is model
