"""HRNet: branches at four resolutions that exchange features, with MMSegmentation's names.

Source: Wang et al., "Deep High-Resolution Representation Learning for Visual Recognition", 2020.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from maskline.core.errors import ShapeError
from maskline.models.backbones.base import BackboneBase
from maskline.models.backbones.residual import BasicBlock, Block, Bottleneck, conv, zero_last_norm
from maskline.models.layers import BATCH_NORM, Norm, resize, size_of

_BLOCKS: dict[str, Block] = {"basic": BasicBlock, "bottleneck": Bottleneck}


@dataclass(frozen=True, kw_only=True)
class HRStage:
    """One stage: modules in a row, each with the same branches.

    Args:
        num_modules: Modules, each of which ends with an exchange between its branches.
        block: Residual block of the branches.
        num_blocks: Blocks of each branch, finest first.
        widths: Width of each branch's blocks.
    """

    num_modules: int
    block: Literal["basic", "bottleneck"]
    num_blocks: tuple[int, ...]
    widths: tuple[int, ...]

    @property
    def channels(self) -> list[int]:
        """Channels of each branch."""
        return [width * _BLOCKS[self.block].expansion for width in self.widths]


def hrnet_stages(width: int, *, small: bool = False) -> tuple[HRStage, HRStage, HRStage, HRStage]:
    """Return the stages of HRNet-W18, W32, W48 (any width), or of the small W18."""
    widths = tuple(width * 2**i for i in range(4))
    blocks, modules = (2, (1, 1, 3, 2)) if small else (4, (1, 1, 4, 3))
    first = HRStage(num_modules=modules[0], block="bottleneck", num_blocks=(blocks,), widths=(64,))
    second, third, fourth = (
        HRStage(num_modules=modules[n - 1], block="basic", num_blocks=(blocks,) * n, widths=widths[:n])
        for n in (2, 3, 4)
    )
    return first, second, third, fourth


class HRNet(BackboneBase):
    """High-resolution network; one feature a branch, fine to coarse.

    Args:
        in_channels: Channels of the images.
        stages: The four stages; see ``hrnet_stages``.
        multiscale_output: False: only the finest feature.
        norm: Norm after each convolution.
        zero_init: Blocks start as the identity.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        stages: Sequence[HRStage],
        multiscale_output: bool = True,
        norm: Norm = BATCH_NORM,
        zero_init: bool = False,
    ) -> None:
        super().__init__()
        if len(stages) != 4:
            raise ShapeError("HRNet", f"{len(stages)} stages", "give four")
        self._norm_key = norm.key
        self.conv1 = conv(in_channels, 64, kernel_size=3, stride=2)
        self.add_module(f"{norm.key}1", norm.build(64))
        self.conv2 = conv(64, 64, kernel_size=3, stride=2)
        self.add_module(f"{norm.key}2", norm.build(64))
        first, *others = stages
        self.layer1 = _branch(_BLOCKS[first.block], 64, first.widths[0], first.num_blocks[0], norm=norm)
        widths = first.channels[:1]
        for number, stage in enumerate(others, start=1):
            self.add_module(f"transition{number}", _transition(widths, stage.channels, norm=norm))
            last = number == len(others)
            modules = [
                _Module(stage, finest_only=last and not multiscale_output and i == stage.num_modules - 1, norm=norm)
                for i in range(stage.num_modules)
            ]
            self.add_module(f"stage{number + 1}", nn.Sequential(*modules))
            widths = stage.channels
        kept = len(widths) if multiscale_output else 1
        self.channels = tuple(widths[:kept])
        self.strides = tuple(4 * 2**i for i in range(kept))
        self.size_divisor = 1
        if zero_init:
            zero_last_norm(self)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map images (NCHW, any size) to features, finest first."""
        x = F.relu(self.get_submodule(f"{self._norm_key}1")(self.conv1(images)))
        x = F.relu(self.get_submodule(f"{self._norm_key}2")(self.conv2(x)))
        features = [self.layer1(x)]
        for number in (1, 2, 3):
            transition = self.get_submodule(f"transition{number}")
            assert isinstance(transition, nn.ModuleList)
            known = len(features)
            features = [step(features[min(i, known - 1)]) for i, step in enumerate(transition)]
            features = self.get_submodule(f"stage{number + 1}")(features)
        return features

    def stages(self) -> list[list[nn.Module]]:
        """See ``BackboneBase``; a stage's transition to the next belongs to it, as in MMSegmentation."""
        stem = [
            self.conv1,
            self.get_submodule(f"{self._norm_key}1"),
            self.conv2,
            self.get_submodule(f"{self._norm_key}2"),
        ]
        named = ["layer1", "stage2", "stage3", "stage4"]
        stages = [[self.get_submodule(name)] for name in named]
        for number in (1, 2, 3):
            stages[number - 1].append(self.get_submodule(f"transition{number}"))
        return [stem, *stages]


class _Module(nn.Module):
    """Branches side by side, then an exchange: each branch gets the sum of all, brought to its shape."""

    def __init__(self, stage: HRStage, *, finest_only: bool, norm: Norm) -> None:
        super().__init__()
        block, channels = _BLOCKS[stage.block], stage.channels
        self.branches = nn.ModuleList(
            _branch(block, channels[i], width, stage.num_blocks[i], norm=norm) for i, width in enumerate(stage.widths)
        )
        count = 1 if finest_only else len(channels)
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(_exchange(channels, source=j, target=i, norm=norm) for j in range(len(channels)))
            for i in range(count if len(channels) > 1 else 0)
        )

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        features = [branch(x) for branch, x in zip(self.branches, features, strict=True)]
        if len(features) == 1:
            return features
        fused = []
        for i, steps in enumerate(self.fuse_layers):
            assert isinstance(steps, nn.ModuleList)
            terms = [step(x) for step, x in zip(steps, features, strict=True)]
            size = size_of(features[i])
            # Odd sizes: twice the coarse size is not the fine one.
            terms = [x if j <= i else resize(x, size, align_corners=False) for j, x in enumerate(terms)]
            total = terms[0]
            for term in terms[1:]:
                total = total + term
            fused.append(F.relu(total))
        return fused


def _branch(block: Block, in_channels: int, width: int, num_blocks: int, *, norm: Norm) -> nn.Sequential:
    blocks: list[nn.Module] = []
    for _ in range(num_blocks):
        out_channels = width * block.expansion
        shortcut = None
        if in_channels != out_channels:
            shortcut = nn.Sequential(conv(in_channels, out_channels, kernel_size=1), norm.build(out_channels))
        blocks.append(block(in_channels, width, stride=1, dilation=1, downsample=shortcut, style="pytorch", norm=norm))
        in_channels = out_channels
    return nn.Sequential(*blocks)


def _transition(before: Sequence[int], after: Sequence[int], *, norm: Norm) -> nn.ModuleList:
    """Bring the branches of a stage to the widths of the next; new branches start from the coarsest."""
    steps: list[nn.Module] = []
    for i, width in enumerate(after):
        if i < len(before):
            same = before[i] == width
            steps.append(nn.Identity() if same else _conv_norm(before[i], width, stride=1, relu=True, norm=norm))
            continue
        halvings = i + 1 - len(before)
        widths = [before[-1]] * halvings + [width]
        steps.append(
            nn.Sequential(
                *(_conv_norm(widths[k], widths[k + 1], stride=2, relu=True, norm=norm) for k in range(halvings))
            )
        )
    return nn.ModuleList(steps)


def _exchange(channels: Sequence[int], *, source: int, target: int, norm: Norm) -> nn.Module:
    """Bring the branch ``source`` to the shape of the branch ``target``."""
    if source == target:
        return nn.Identity()
    if source > target:
        return nn.Sequential(
            conv(channels[source], channels[target], kernel_size=1),
            norm.build(channels[target]),
            nn.Upsample(scale_factor=2 ** (source - target), mode="bilinear", align_corners=False),
        )
    halvings = target - source
    widths = [channels[source]] * halvings + [channels[target]]
    return nn.Sequential(
        *(_conv_norm(widths[k], widths[k + 1], stride=2, relu=k < halvings - 1, norm=norm) for k in range(halvings))
    )


def _conv_norm(in_channels: int, out_channels: int, *, stride: int, relu: bool, norm: Norm) -> nn.Sequential:
    layers = [conv(in_channels, out_channels, kernel_size=3, stride=stride), norm.build(out_channels)]
    return nn.Sequential(*layers, nn.ReLU()) if relu else nn.Sequential(*layers)
