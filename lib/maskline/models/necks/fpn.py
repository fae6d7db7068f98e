"""Feature pyramid: coarse features flow into finer ones; all come out with one number of channels.

Source: Lin et al., "Feature Pyramid Networks for Object Detection", 2017; names as in MMSegmentation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from maskline.models.layers import ConvNormAct, Norm, size_of


@dataclass(frozen=True, kw_only=True)
class Pyramid:
    """Which levels a feature pyramid has.

    Args:
        start_level: First input that is used.
        end_level: Input before which to stop; None: all.
        extra_convs: Where further outputs come from, by strided convolution; None: by subsampling the last output.
        relu_before_extra_convs: ReLU before further convolutions but the first.
        upsample: How a coarse feature is brought to the finer one's size.
    """

    start_level: int = 0
    end_level: int | None = None
    extra_convs: Literal["on_input", "on_lateral", "on_output"] | None = None
    relu_before_extra_convs: bool = False
    upsample: Literal["nearest", "bilinear"] = "nearest"


_USUAL = Pyramid()


class FPN(nn.Module):
    """Feature pyramid.

    Args:
        in_channels: Channels of each input feature, finest first.
        out_channels: Channels of each output.
        num_outs: Outputs; those beyond the inputs are coarser still.
        plan: Which levels.
        norm: Norm after each convolution; None: convolutions with bias.
        norm_on_lateral: Whether the 1x1 convolutions have the norm too.
        activation: ReLU after each convolution.
    """

    def __init__(
        self,
        *,
        in_channels: Sequence[int],
        out_channels: int,
        num_outs: int,
        plan: Pyramid = _USUAL,
        norm: Norm | None = None,
        norm_on_lateral: bool = True,
        activation: bool = False,
    ) -> None:
        super().__init__()
        used = list(in_channels[plan.start_level : plan.end_level])
        self.plan, self.num_outs = plan, num_outs
        self.lateral_convs = nn.ModuleList(
            ConvNormAct(width, out_channels, norm=norm if norm_on_lateral else None, activation=activation)
            for width in used
        )
        self.fpn_convs = nn.ModuleList(
            ConvNormAct(out_channels, out_channels, kernel_size=3, norm=norm, activation=activation) for _ in used
        )
        for extra in range(num_outs - len(used) if plan.extra_convs else 0):
            width = used[-1] if extra == 0 and plan.extra_convs == "on_input" else out_channels
            self.fpn_convs.append(
                ConvNormAct(width, out_channels, kernel_size=3, stride=2, norm=norm, activation=activation)
            )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)
        self.channels = (out_channels,) * num_outs

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Map features, finest first, to ``num_outs`` features, finest first."""
        plan = self.plan
        used = features[plan.start_level : plan.end_level]
        laterals = [step(x) for step, x in zip(self.lateral_convs, used, strict=True)]
        for i in range(len(laterals) - 1, 0, -1):
            size = size_of(laterals[i - 1])
            coarse = F.interpolate(
                laterals[i], size=size, mode=plan.upsample, align_corners=None if plan.upsample == "nearest" else False
            )
            laterals[i - 1] = laterals[i - 1] + coarse
        outputs = [step(x) for step, x in zip(self.fpn_convs, laterals, strict=False)]
        sources = {"on_input": used[-1], "on_lateral": laterals[-1], "on_output": outputs[-1]}
        for i in range(len(used), self.num_outs):
            if plan.extra_convs is None:
                outputs.append(F.max_pool2d(outputs[-1], 1, stride=2))
                continue
            first = i == len(used)
            x = sources[plan.extra_convs] if first else outputs[-1]
            if plan.relu_before_extra_convs and not first:
                x = F.relu(x)
            outputs.append(self.fpn_convs[i](x))
        return outputs
