"""FCN head of depthwise separable convolutions.

Source: Poudel, Liwicki, Cipolla, "Fast-SCNN: Fast Semantic Segmentation Network", 2019; names as in MMSegmentation
(Apache-2.0).
"""

from torch import nn

from maskline.models.heads.fcn import FCNHead
from maskline.models.layers import SeparableConv


class SeparableFCNHead(FCNHead):
    """See ``FCNHead``; each convolution is 3x3 one a channel, then 1x1."""

    def make_conv(self, in_channels: int, out_channels: int, *, kernel_size: int, dilation: int = 1) -> nn.Module:
        """See ``FCNHead``; the side of the kernel is 3."""
        del kernel_size
        return SeparableConv(in_channels, out_channels, dilation=dilation, norm=self.norm, depthwise_activation=False)
