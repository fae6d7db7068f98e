"""DPT head: four features of a plain transformer become a pyramid, and are fused from the coarsest to the finest.

Source: Ranftl et al., "Vision Transformers for Dense Prediction", 2021; names as in MMSegmentation (Apache-2.0).
"""

from collections.abc import Sequence
from typing import Literal, Unpack

from torch import Tensor, nn
from torch.nn import functional as F

from maskline.core.errors import ShapeError
from maskline.models.heads.base import Features, Head, HeadOptions
from maskline.models.layers import ConvNormAct, Norm, enlarge, resize, size_of
from maskline.models.transformer import to_map, to_tokens

Readout = Literal["ignore", "add", "project"]


class DPTHead(Head):
    """Takes four features of one resolution, shallowest first.

    Args:
        widths: Channels of each level of the pyramid, finest first.
        readout: What becomes of the class token, which the second half of a feature's channels repeats: ``add`` it to
            each patch, or ``project`` both to one; ``ignore``: features are patches alone.
        options: See ``HeadOptions``.
    """

    def __init__(
        self,
        *,
        widths: Sequence[int] = (96, 192, 384, 768),
        readout: Readout = "ignore",
        **options: Unpack[HeadOptions],
    ) -> None:
        super().__init__(options, input_transform="multiple_select")
        if not len(self.in_widths) == len(widths) == 4 or len(set(self.in_widths)) != 1:
            told = f"features of {self.in_widths} channels for levels of {list(widths)}"
            raise ShapeError("DPT head", told, "give it four of a plain transformer")
        width = self.in_channels if readout == "ignore" else self.in_channels // 2
        self.reassemble_blocks = _Reassemble(width, widths, readout=readout)
        self.convs = nn.ModuleList(_Bare(before, self.channels) for before in widths)
        norm = self.norm
        self.fusion_blocks = nn.ModuleList(_Fusion(self.channels, norm=norm, joins=i > 0) for i in range(4))
        self.project = ConvNormAct(self.channels, self.channels, kernel_size=3, norm=norm)

    def forward(self, features: Features, previous: Tensor | None = None) -> Tensor:
        """Map features to logits at eight times their resolution."""
        del previous
        levels = self.reassemble_blocks(self.select_all(features))
        levels = [conv(level) for conv, level in zip(self.convs, levels, strict=True)]
        x = self.fusion_blocks[0](levels[3], None)
        for block, level in zip(list(self.fusion_blocks)[1:], (levels[2], levels[1], levels[0]), strict=True):
            x = block(x, level)
        return self.classify(self.project(x))


class _Reassemble(nn.Module):
    """Features (with or without the class token) to a pyramid of 4, 2, 1 and 1/2 of their resolution."""

    def __init__(self, width: int, widths: Sequence[int], *, readout: Readout) -> None:
        super().__init__()
        self.readout = readout
        self.projects = nn.ModuleList(ConvNormAct(width, level, norm=None, activation=False) for level in widths)
        self.resize_layers = nn.ModuleList(
            [
                nn.ConvTranspose2d(widths[0], widths[0], 4, stride=4),
                nn.ConvTranspose2d(widths[1], widths[1], 2, stride=2),
                nn.Identity(),
                nn.Conv2d(widths[3], widths[3], 3, stride=2, padding=1),
            ]
        )
        if readout == "project":
            self.readout_projects = nn.ModuleList(nn.Sequential(nn.Linear(2 * width, width), nn.GELU()) for _ in widths)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        patches = [self._read(x, i) for i, x in enumerate(features)]
        steps = zip(patches, self.projects, self.resize_layers, strict=True)
        return [resized(project(x)) for x, project, resized in steps]

    def _read(self, x: Tensor, position: int) -> Tensor:
        """Return the patches of a feature, with what the class token adds."""
        match self.readout:
            case "ignore":
                return x
            case "add":
                patches, token = x.chunk(2, dim=1)
                return patches + token
            case "project":
                return to_map(self.readout_projects[position](to_tokens(x)), size_of(x))


class _Fusion(nn.Module):
    """Adds a level to what came from the coarser ones, and doubles the resolution."""

    def __init__(self, channels: int, *, norm: Norm | None, joins: bool) -> None:
        super().__init__()
        self.res_conv_unit1 = _Residual(channels, norm=norm) if joins else None
        self.res_conv_unit2 = _Residual(channels, norm=norm)
        self.project = ConvNormAct(channels, channels, norm=None, activation=False)

    def forward(self, x: Tensor, level: Tensor | None) -> Tensor:
        if self.res_conv_unit1 is not None and level is not None:
            x = x + self.res_conv_unit1(resize(level, size_of(x), align_corners=False))
        return self.project(enlarge(self.res_conv_unit2(x), 2, align_corners=True))  # type: ignore[no-any-return]


class _Residual(nn.Module):
    """Two convolutions, each after a ReLU, on a residual branch."""

    def __init__(self, channels: int, *, norm: Norm | None) -> None:
        super().__init__()
        self.conv1 = ConvNormAct(channels, channels, kernel_size=3, norm=norm, activation=False)
        self.conv2 = ConvNormAct(channels, channels, kernel_size=3, norm=norm, activation=False)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.relu(self.conv1(F.relu(x))))  # type: ignore[no-any-return]


class _Bare(nn.Module):
    """A 3x3 convolution without bias, norm or activation."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)  # type: ignore[no-any-return]
