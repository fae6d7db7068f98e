"""Batch norm with statistics over all processes, on any device.

torch's own ``SyncBatchNorm`` refuses CPU tensors; this one computes the same there with two sums over the
processes, and hands CUDA tensors to torch's kernels. In one process it is plain batch norm.
"""

import torch
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce


class SyncBatchNorm(nn.SyncBatchNorm):
    """Batch norm over the batch of all processes; a checkpoint cannot tell it from ``BatchNorm2d``."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Normalise NCHW by the statistics of all processes (training) or the running ones."""
        if not self.training or _world_size() == 1:
            return self._plain(input)
        if input.is_cuda:
            return super().forward(input)
        return self._over_processes(input)

    def _plain(self, x: Tensor) -> Tensor:
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
        count = x.new_tensor([x.numel() / x.shape[1]], dtype=torch.float32)
        values = x.float()
        sums = torch.cat([values.sum(dim=(0, 2, 3)), values.square().sum(dim=(0, 2, 3)), count])
        total, squares, number = all_reduce(sums).split([x.shape[1], x.shape[1], 1])  # type: ignore[no-untyped-call]
        mean = total / number
        variance = squares / number - mean.square()
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * number / (number - 1), self.momentum)
        scale = self.weight * (variance + self.eps).rsqrt()
        normalised: Tensor = x * scale.view(1, -1, 1, 1) + (self.bias - mean * scale).view(1, -1, 1, 1)
        return normalised.to(x.dtype)


def _world_size() -> int:
    distributed = torch.distributed
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1
