"""The statistics of batch norms, taken anew: weights that were averaged have none of their own."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from maskline.augment.loader import TrainBatches
from maskline.models.segmentor import SegmentorBase
from maskline.runtime.device import Compute
from maskline.runtime.torch_seeds import seed_torch


@torch.no_grad()
def take_anew(model: SegmentorBase, batches: Iterable[Tensor], *, compute: Compute) -> None:
    """Set mean and variance of each batch norm to their mean over batches; no other tensor changes.

    What torch's ``update_bn`` computes. That one sets the momentum to None, which batch norms over several processes
    do not take, knows nothing of norms that stay as they are in training, and leaves auxiliary heads out.

    Args:
        model: Left in eval mode.
        batches: Normalized images NCHW; not asked for where there is no such norm.
        compute: Precision.
    """
    model.train()
    norms = {
        layer: layer.momentum
        for layer in model.modules()
        if isinstance(layer, _BatchNorm) and layer.training and layer.track_running_stats
    }
    try:
        for number, images in enumerate(batches if norms else (), start=1):
            for layer in norms:
                layer.momentum = 1 / number
            with compute.autocast():
                model.head_logits(images)
    finally:
        for layer, momentum in norms.items():
            layer.momentum = momentum
        model.eval()


def last_batches(batches: TrainBatches, *, done: int, count: int, compute: Compute) -> Iterator[Tensor]:
    """Yield the images of the last batches of training, the same in each of several processes.

    Args:
        batches: Of training.
        done: How many have been trained on.
        count: How many are wanted; where fewer have been, the first ones to come are among them.
        compute: Device, precision and memory format.
    """
    whole = batches.share(rank=0, size=1)
    first = max(done - count, 0)
    seed_torch(batches.seed, "norm statistics", done)
    for number in range(first, first + count):
        images = whole.finish(whole.batch(number), compute.device).images
        yield images.contiguous(memory_format=compute.memory_format)
