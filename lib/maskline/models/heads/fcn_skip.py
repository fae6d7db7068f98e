"""FCN-32s, FCN-16s and FCN-8s: scores of coarse features, added to scores of finer ones.

Source: Long, Shelhamer, Darrell, "Fully Convolutional Networks for Semantic Segmentation", 2015.
"""

from typing import Literal, Unpack

import torch
from torch import Tensor, nn

from maskline.models.heads.base import Features, Head, HeadOptions, classifier
from maskline.models.layers import ConvNormAct, resize, size_of


class FCNSkipHead(Head):
    """Takes one feature (32s), two (16s) or three (8s), or more, finest first.

    The coarsest feature is convolved and classified; each finer one is classified as it is. From coarse to fine,
    scores are brought to the next size and added.

    Args:
        kernel_size: Side of the first convolution on the coarsest feature, px; a 1x1 convolution follows.
        upsample: ``bilinear``; ``deconv``: a transposed convolution that starts as bilinear and learns.
        options: See ``HeadOptions``.
    """

    def __init__(
        self, *, kernel_size: int, upsample: Literal["bilinear", "deconv"], **options: Unpack[HeadOptions]
    ) -> None:
        super().__init__(options, input_transform="multiple_select")
        *fine, coarse = self.in_widths
        self.convs = nn.Sequential(
            ConvNormAct(coarse, self.channels, kernel_size=kernel_size, norm=self.norm),
            ConvNormAct(self.channels, self.channels, norm=self.norm),
        )
        self.skip_seg = nn.ModuleList(classifier(width, self.num_classes) for width in fine)
        self.upsample = (
            nn.ModuleList(_bilinear_deconv(self.num_classes) for _ in fine) if upsample == "deconv" else None
        )

    def forward(self, features: Features, previous: Tensor | None = None) -> Tensor:
        """Map features to logits at the finest feature's resolution."""
        del previous
        *fine, coarse = self.select_all(features)
        scores = self.classify(self.convs(coarse))
        for i in range(len(fine) - 1, -1, -1):
            if self.upsample is not None:
                scores = self.upsample[i](scores)
            # The deconvolution doubles exactly; the skip may be a pixel smaller, or have another ratio.
            scores = resize(scores, size_of(fine[i]), align_corners=self.align_corners) + self.skip_seg[i](fine[i])
        return scores


def _bilinear_deconv(channels: int) -> nn.ConvTranspose2d:
    """Return a transposed convolution that doubles each channel bilinearly, until it has learnt something else."""
    layer = nn.ConvTranspose2d(channels, channels, kernel_size=4, stride=2, padding=1, bias=False)
    ramp = torch.tensor([0.25, 0.75, 0.75, 0.25])
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[range(channels), range(channels)] = ramp.outer(ramp)
    return layer
