"""ResNet with MMSegmentation's names: 7x7 or deep stem, dilated stages, multi-grid.

Source: He et al., "Deep Residual Learning for Image Recognition", 2016; the deep stem (V1c) and average-pooled
shortcut (V1d): He et al., "Bag of Tricks for Image Classification", 2019; dilation and multi-grid: Chen et al.,
"Rethinking Atrous Convolution", 2017; contracted dilation as in MMSegmentation (Apache-2.0).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from maskline.core.errors import ShapeError
from maskline.models.backbones.base import BackboneBase
from maskline.models.backbones.residual import BasicBlock, Block, Bottleneck, Style, conv, zero_last_norm
from maskline.models.layers import BATCH_NORM, Norm

_DEPTHS: dict[int, tuple[Block, tuple[int, ...]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}


@dataclass(frozen=True, kw_only=True)
class StagePlan:
    """Where the stages stride and where they are dilated instead.

    Args:
        strides: Stride of each stage's first block; their number is the number of stages.
        dilations: Dilation of each stage.
        contract_dilation: The first block of a dilated stage has half its dilation.
        multi_grid: Dilation of each block of the last stage, in place of the stage's own; None: the stage's own.
        style: Which convolution of a bottleneck strides; see ``Bottleneck``.
        average_shortcut: Strided shortcuts average before their 1x1 convolution (V1d).
    """

    strides: tuple[int, ...] = (1, 2, 2, 2)
    dilations: tuple[int, ...] = (1, 1, 1, 1)
    contract_dilation: bool = True
    multi_grid: tuple[int, ...] | None = None
    style: Style = "pytorch"
    average_shortcut: bool = False

    @classmethod
    def for_output_stride(cls, output_stride: Literal[8, 16, 32], *, multi_grid: Sequence[int] | None) -> "StagePlan":
        """Return the plan of a stride of the deepest feature; ``multi_grid`` as in the class."""
        strides, dilations = {
            8: ((1, 2, 1, 1), (1, 1, 2, 4)),
            16: ((1, 2, 2, 1), (1, 1, 1, 2)),
            32: ((1, 2, 2, 2), (1, 1, 1, 1)),
        }[output_stride]
        return cls(strides=strides, dilations=dilations, multi_grid=None if multi_grid is None else tuple(multi_grid))

    def block_dilations(self, stage: int, num_blocks: int) -> tuple[int, ...]:
        """Return the dilation of each block of a stage."""
        if self.multi_grid is not None and stage == len(self.strides) - 1:
            return self.multi_grid[:num_blocks]
        dilation = self.dilations[stage]
        first = dilation // 2 if dilation > 1 and self.contract_dilation else dilation
        return (first, *[dilation] * (num_blocks - 1))


@dataclass(frozen=True, kw_only=True)
class Stem:
    """What comes before the stages.

    Args:
        kind: ``7x7``: one convolution; ``deep``: three 3x3 convolutions (V1c, V1d).
        channels: Channels after it.
    """

    kind: Literal["7x7", "deep"]
    channels: int = 64


class ResNet(BackboneBase):
    """ResNet-18/34/50/101/152; features of the stages, fine to coarse.

    Args:
        depth: 18, 34, 50, 101 or 152.
        in_channels: Channels of the images.
        plan: Strides and dilations.
        stem: What comes before the stages.
        base_channels: Width of the first stage; each further one is twice as wide.
        out_indices: Stages whose output is a feature.
        norm: Norm after each convolution.
        block: Another residual block than the depth's own, as ``Bottleneck`` is called and as wide.
        zero_init: Blocks start as the identity.
    """

    def __init__(
        self,
        *,
        depth: int,
        in_channels: int,
        plan: StagePlan,
        stem: Stem,
        base_channels: int = 64,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        norm: Norm = BATCH_NORM,
        block: Block | None = None,
        zero_init: bool = True,
    ) -> None:
        super().__init__()
        usual, num_blocks = _checked(depth, plan)
        block = block or usual
        self._norm_key = norm.key
        self._add_stem(stem, in_channels, norm=norm)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        before, stride, widths, strides = stem.channels, 4, [], []
        for stage, step in enumerate(plan.strides):
            width = base_channels * 2**stage
            blocks = _stage(block, before, width, plan=plan, stage=stage, num_blocks=num_blocks[stage], norm=norm)
            self.add_module(f"layer{stage + 1}", blocks)
            before, stride = width * block.expansion, stride * step
            widths.append(before)
            strides.append(stride)
        self._out_indices = tuple(out_indices)
        self.channels = tuple(widths[i] for i in self._out_indices)
        self.strides = tuple(strides[i] for i in self._out_indices)
        self.size_divisor = 1
        if zero_init:
            zero_last_norm(self)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map images (NCHW, any size) to features, finest first."""
        x = images
        stem, *stages = self.stages()
        for module in stem:
            x = module(x)
        outputs = []
        for (stage,) in stages:
            x = stage(x)
            outputs.append(x)
        return [outputs[i] for i in self._out_indices]

    def stages(self) -> list[list[nn.Module]]:
        """See ``BackboneBase``."""
        if hasattr(self, "stem"):
            stem: list[nn.Module] = [self.stem, self.maxpool]
        else:
            stem = [self.conv1, self.get_submodule(f"{self._norm_key}1"), nn.ReLU(), self.maxpool]
        return [stem, *([module] for name, module in self.named_children() if name.startswith("layer"))]

    def _add_stem(self, stem: Stem, in_channels: int, *, norm: Norm) -> None:
        if stem.kind == "7x7":
            self.conv1 = conv(in_channels, stem.channels, kernel_size=7, stride=2)
            self.add_module(f"{norm.key}1", norm.build(stem.channels))
            return
        half = stem.channels // 2
        widths = ((in_channels, half, 2), (half, half, 1), (half, stem.channels, 1))
        self.stem = nn.Sequential(
            *(
                layer
                for before, after, stride in widths
                for layer in (conv(before, after, kernel_size=3, stride=stride), norm.build(after), nn.ReLU())
            )
        )


def _checked(depth: int, plan: StagePlan) -> tuple[Block, tuple[int, ...]]:
    if depth not in _DEPTHS:
        raise ShapeError("ResNet", f"depth {depth} does not exist", f"valid: {', '.join(map(str, _DEPTHS))}")
    block, num_blocks = _DEPTHS[depth]
    if plan.multi_grid is not None and len(plan.multi_grid) < num_blocks[len(plan.strides) - 1]:
        raise ShapeError("ResNet", f"multi_grid {plan.multi_grid} is too short", "give one dilation a block")
    return block, num_blocks


def _stage(
    block: Block, in_channels: int, width: int, *, plan: StagePlan, stage: int, num_blocks: int, norm: Norm
) -> nn.Sequential:
    blocks: list[nn.Module] = []
    step, out_channels = plan.strides[stage], width * block.expansion
    for index, dilation in enumerate(plan.block_dilations(stage, num_blocks)):
        first = index == 0
        shortcut = None
        if first and (step != 1 or in_channels != out_channels):
            shortcut = _shortcut(in_channels, out_channels, step, average=plan.average_shortcut, norm=norm)
        blocks.append(
            block(
                in_channels if first else out_channels,
                width,
                stride=step if first else 1,
                dilation=dilation,
                downsample=shortcut,
                style=plan.style,
                norm=norm,
            )
        )
    return nn.Sequential(*blocks)


def _shortcut(in_channels: int, out_channels: int, stride: int, *, average: bool, norm: Norm) -> nn.Module:
    if not average:
        return nn.Sequential(conv(in_channels, out_channels, kernel_size=1, stride=stride), norm.build(out_channels))
    return nn.Sequential(
        nn.AvgPool2d(stride, stride=stride, ceil_mode=True, count_include_pad=False),
        conv(in_channels, out_channels, kernel_size=1),
        norm.build(out_channels),
    )
