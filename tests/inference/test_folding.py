import pytest
import torch
from torch import nn

from maskline.inference.folding import fold_norms
from maskline.models.layers import ConvNormAct, Norm


@pytest.mark.parametrize("norm", ["bn", "syncbn", "gn", None])
def test_folded_is_the_same_function(norm):
    torch.manual_seed(0)
    layer = None if norm is None else Norm(kind=norm, num_groups=4)
    network = nn.Sequential(
        ConvNormAct(3, 8, kernel_size=3, norm=layer), ConvNormAct(8, 8, groups=2, norm=layer)
    ).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.SyncBatchNorm):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    images = torch.randn(2, 3, 9, 11)
    with torch.inference_mode():
        expected = network(images)
        torch.testing.assert_close(fold_norms(network)(images), expected, rtol=1e-4, atol=1e-5)
    left = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d | nn.SyncBatchNorm)]
    assert not left
