"""Batch norm whose training on CPUs is as fast for few channels as for many.

torch's kernels for channels_last read one pixel's channels at a time. Where these do not fill whole vector registers,
most of all at 8 channels or fewer, they fall back to single numbers: the backward pass then costs over ten times that
of 16 channels. Here a row of neighbouring pixels is read as one pixel of several times the channels, which is the same
memory; the statistics of the copies of a channel are put together afterwards.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

_LANES = 16  # float32 numbers in the widest vector register of a CPU
_WORTH = 2**14  # numbers in a tensor, below which a few further calls cost more than they save

_aten = torch.ops.aten


class BatchNorm2d(nn.BatchNorm2d):
    """torch's batch norm, the same but for rounding; a checkpoint cannot tell them apart."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Normalize NCHW by the statistics of the batch (training) or the running ones."""
        normalized = trained(self, input) if self.training else None
        return super().forward(input) if normalized is None else normalized


def quicken(model: nn.Module) -> None:
    """Make torch's batch norms inside ``model``, such as those of a library's encoder, those of this module."""
    for layer in model.modules():
        if type(layer) is nn.BatchNorm2d:
            layer.__class__ = BatchNorm2d


def trained(layer: nn.BatchNorm2d | nn.SyncBatchNorm, x: Tensor) -> Tensor | None:
    """Normalize NCHW by its own statistics and move the running ones; None where torch's kernel is the best.

    Args:
        layer: In training mode.
        x: The batch.
    """
    copies = _copies(x)
    if copies == 1 or layer.running_mean is None or layer.running_var is None or layer.num_batches_tracked is None:
        return None
    layer.num_batches_tracked.add_(1)
    output, mean, variance = _Folded.apply(x, layer.weight, layer.bias, layer.eps, copies)  # type: ignore[no-untyped-call]
    momentum = 1 / int(layer.num_batches_tracked) if layer.momentum is None else layer.momentum
    count = x.numel() // x.shape[1]
    layer.running_mean.lerp_(mean, momentum)
    layer.running_var.lerp_(variance * (count / (count - 1)), momentum)
    normalized: Tensor = output
    return normalized


def _copies(x: Tensor) -> int:
    """Return how many neighbouring pixels are read as one; 1: torch's own way is the best."""
    if torch.compiler.is_compiling() or x.device.type != "cpu" or x.ndim != 4 or x.numel() < _WORTH:
        return 1
    copies = _LANES // math.gcd(_LANES, x.shape[1])
    fits = x.shape[2] * x.shape[3] % copies == 0 and x.shape[1] > 1
    return copies if fits and x.is_contiguous(memory_format=torch.channels_last) else 1


def _wide(x: Tensor, copies: int) -> Tensor:
    """Return a view of NCHW, channels_last: N, copies x C, pixels / copies, 1, channels_last too."""
    count, channels = x.shape[:2]
    return x.permute(0, 2, 3, 1).reshape(count, -1, 1, copies * channels).permute(0, 3, 1, 2)


def _scaled(x: Tensor, factor: Tensor, shift: Tensor, copies: int) -> Tensor:
    """Return ``factor * x + shift`` a channel, computed in float32, in the type of ``x``."""
    factor, shift = factor.repeat(copies), shift.repeat(copies)
    zeros, ones = torch.zeros_like(factor), torch.ones_like(factor)
    scaled = torch.empty_like(x)
    # The inference kernel of a norm, of mean 0 and variance 1.
    kept = {"out": _wide(scaled, copies), "save_mean": factor.new_empty(0), "save_invstd": factor.new_empty(0)}
    _aten.native_batch_norm.out(_wide(x, copies), factor, shift, zeros, ones, False, 0.0, 0.0, **kept)
    return scaled


class _Folded(torch.autograd.Function):
    """Map NCHW to the normalized tensor, and to mean and variance (C, float32), which have no gradient."""

    @staticmethod
    def forward(
        context: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, copies: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        wide = _wide(x, copies)
        # Running statistics in float32 ask for the result in float32; what they hold does not matter.
        unused = torch.zeros(2, wide.shape[1])
        statistics = _aten.batch_norm_update_stats(wide, unused[0], unused[1], 0.0)
        means, variances = (each.view(copies, -1) for each in statistics)
        mean = means.mean(0)
        variance = (variances + (means - mean).square()).mean(0)
        scale = (variance + eps).rsqrt()
        factor = weight * scale
        context.save_for_backward(x, weight, mean, scale)
        context.copies = copies
        context.mark_non_differentiable(mean, variance)
        return _scaled(x, factor, bias - factor * mean, copies), mean, variance

    @staticmethod
    def backward(context: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        x, weight, mean, scale = context.saved_tensors
        copies, count = context.copies, x.numel() // x.shape[1]
        given = gradient.contiguous(memory_format=torch.channels_last)
        tiled = [each.repeat(copies) for each in (weight, mean, scale)]
        _, by_weight, by_bias = _aten.native_batch_norm_backward(
            _wide(given, copies), _wide(x, copies), tiled[0], None, None, *tiled[1:], True, 0.0, [False, True, True]
        )
        weight_gradient = by_weight.view(copies, -1).sum(0)
        bias_gradient = by_bias.view(copies, -1).sum(0)
        # weight * scale * (gradient - its mean - normalized x * the mean of gradient times normalized x)
        factor = weight * scale
        slope = -factor * scale * weight_gradient / count
        input_gradient = _scaled(given, factor, -factor * bias_gradient / count - slope * mean, copies)
        input_gradient += _scaled(x, slope, torch.zeros_like(slope), copies)
        return input_gradient, weight_gradient, bias_gradient, None, None
