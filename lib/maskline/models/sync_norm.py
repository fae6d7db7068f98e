"""Batch norm with statistics over all processes, on any device.

torch's own ``SyncBatchNorm`` refuses CPU tensors (torch 2.13); this one computes the same there, and hands CUDA tensors
to torch's kernels. In one process it is plain batch norm.
"""

import torch
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn.modules.batchnorm import _BatchNorm

from maskline.runtime.patches.batch_norm import trained
from maskline.runtime.processes import distributed


def share_statistics(model: nn.Module) -> None:
    """Give the running statistics of batch norms that each process takes by itself their mean over the processes."""
    if distributed.size() == 1:
        return
    layers = [
        layer
        for layer in model.modules()
        if isinstance(layer, _BatchNorm) and not isinstance(layer, nn.SyncBatchNorm) and layer.training
    ]
    buffers = [buffer for layer in layers for buffer in (layer.running_mean, layer.running_var) if buffer is not None]
    distributed.add_up(buffers, share=1 / distributed.size())


def synchronize(model: nn.Module) -> int:
    """Exchange plain batch norms, such as those of a library's encoder, for synchronized ones with the same tensors.

    Returns:
        How many batch norms stay as they are: subclasses that do more than normalize.
    """
    kept = 0
    for module in list(model.modules()):
        for name, layer in list(module.named_children()):
            if type(layer) is nn.BatchNorm2d:
                setattr(module, name, _synchronized(layer))
            else:
                kept += isinstance(layer, _BatchNorm) and not isinstance(layer, SyncBatchNorm)
    return kept


def _synchronized(layer: nn.BatchNorm2d) -> "SyncBatchNorm":
    synchronized = SyncBatchNorm(layer.num_features, layer.eps, layer.momentum, layer.affine, layer.track_running_stats)
    synchronized._parameters, synchronized._buffers = layer._parameters, layer._buffers
    return synchronized.train(layer.training)


class SyncBatchNorm(nn.SyncBatchNorm):
    """Batch norm over the batch of all processes; a checkpoint cannot tell it from ``BatchNorm2d``."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Normalize NCHW by the statistics of all processes (training) or the running ones."""
        if not self.training or distributed.size() == 1:
            return self._plain(input)
        if input.is_cuda:
            return super().forward(input)
        return self._over_processes(input)

    def _plain(self, x: Tensor) -> Tensor:
        normalized = trained(self, x) if self.training else None
        if normalized is not None:
            return normalized
        momentum = 0.1 if self.momentum is None else self.momentum
        if self.training:
            assert self.num_batches_tracked is not None
            self.num_batches_tracked.add_(1)
        return nn.functional.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, self.training, momentum, self.eps
        )

    def _over_processes(self, x: Tensor) -> Tensor:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        own_variance, own_mean = torch.var_mean(x.float(), dim=(0, 2, 3), correction=0)
        count = own_mean.new_full((1,), x.numel() / x.shape[1])
        # Each process fills its own row; their sum is the table. A variance from sums of squares would lose digits.
        empty = own_mean.new_zeros(distributed.size(), 2 * x.shape[1] + 1)
        table = all_reduce(
            empty.index_put((torch.tensor(distributed.rank()),), torch.cat([own_mean, own_variance, count]))
        )  # type: ignore[no-untyped-call]
        means, variances, counts = table.split([x.shape[1], x.shape[1], 1], dim=1)
        number = counts.sum()
        mean = (means * counts).sum(0) / number
        variance = ((variances + (means - mean).square()) * counts).sum(0) / number
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * number / (number - 1), self.momentum)
        scale = self.weight * (variance + self.eps).rsqrt()
        normalized: Tensor = x * scale.view(1, -1, 1, 1) + (self.bias - mean * scale).view(1, -1, 1, 1)
        return normalized.to(x.dtype)
