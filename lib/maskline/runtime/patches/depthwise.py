"""Depthwise convolutions whose bf16 training on CPUs is as fast as their float32 one, or faster.

oneDNN computes the forward pass in bf16 faster than in float32, but has no fast bf16 kernels for two backward passes:
the input's gradient with a stride, and the weight's with a kernel above 3x3. These take four to twelve times as long as
in float32; so the two alone are computed in float32 here, which is more exact too.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.grad import conv2d_input, conv2d_weight

_FAST_SIDE = 3  # the largest kernel whose weight has a fast gradient


class DepthwiseConv2d(nn.Conv2d):
    """torch's convolution, the same but for rounding; a checkpoint cannot tell them apart.

    Attributes:
        pads_same: The input is padded as TensorFlow does ("SAME"), as timm's ``Conv2dSame`` does.
    """

    pads_same = False

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Convolve NCHW."""
        if self.pads_same:
            from timm.layers import pad_same

            input = pad_same(input, list(self.kernel_size), list(self.stride), list(self.dilation))  # noqa: A001
        assert not isinstance(self.padding, str)
        settings = (self.stride, self.padding, self.dilation, self.groups)
        if torch.compiler.is_compiling() or not (self.training and _is_autocast_to_bf16(input)):
            return F.conv2d(input, self.weight, self.bias, *settings)
        convolved: Tensor = _Depthwise.apply(  # type: ignore[no-untyped-call]
            input.bfloat16(), self.weight, self.bias, settings
        )
        return convolved


def quicken(model: nn.Module) -> None:
    """Make the slow depthwise convolutions inside ``model``, such as those of a library's encoder, those above."""
    for layer in model.modules():
        if type(layer) is nn.Conv2d or (isinstance(layer, nn.Conv2d) and type(layer).__name__ == "Conv2dSame"):
            depthwise = layer.groups == layer.in_channels == layer.out_channels > 1
            slow = max(layer.kernel_size) > _FAST_SIDE or max(layer.stride) > 1
            if depthwise and slow and layer.padding_mode == "zeros" and not isinstance(layer.padding, str):
                pads_same = type(layer) is not nn.Conv2d
                layer.__class__ = DepthwiseConv2d
                vars(layer)["pads_same"] = pads_same


def _is_autocast_to_bf16(x: Tensor) -> bool:
    kind = x.device.type
    return kind == "cpu" and torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind) == torch.bfloat16


class _Depthwise(torch.autograd.Function):
    """Map a bf16 input NCHW, weight and bias (or None) to bf16; the gradients of weight and bias are float32."""

    @staticmethod
    def forward(context: Any, x: Tensor, weight: Tensor, bias: Tensor | None, settings: tuple[Any, ...]) -> Tensor:
        context.save_for_backward(x, weight)
        context.settings, context.has_bias = settings, bias is not None
        with torch.autocast("cpu", enabled=False):
            return F.conv2d(x, weight.bfloat16(), None if bias is None else bias.bfloat16(), *settings)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None, None]:
        x, weight = context.saved_tensors
        stride, *_ = context.settings
        exact = gradient.float()
        by_input = None
        if context.needs_input_grad[0]:
            given, factor = (exact, weight) if max(stride) > 1 else (gradient, weight.bfloat16())
            input_gradient = conv2d_input(x.shape, factor, given, *context.settings)  # type: ignore[no-untyped-call]
            by_input = input_gradient.to(x.dtype)
        fast = max(weight.shape[2:]) <= _FAST_SIDE
        seen, given = (x, gradient) if fast else (x.float(), exact)
        weight_gradient = conv2d_weight(seen, weight.shape, given, *context.settings)  # type: ignore[no-untyped-call]
        return by_input, weight_gradient.float(), exact.sum((0, 2, 3)) if context.has_bias else None, None
