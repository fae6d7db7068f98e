"""Validation during training: loss and metrics over whole images."""

import logging
import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from maskline.data.dataset import PreparedSplit
from maskline.engine.guards import guarded_validation
from maskline.engine.state import Row
from maskline.metrics.confusion import confusion_matrix
from maskline.metrics.scores import class_scores, overall_scores
from maskline.models.layers import resize
from maskline.models.scale import resized_bytes, scaled_size
from maskline.models.segmentor import SegmentorBase
from maskline.runtime.device import Compute
from maskline.runtime.normalize import normalize
from maskline.runtime.processes import distributed

log = logging.getLogger("maskline")


@torch.no_grad()
def validate(
    model: nn.Module,
    split: PreparedSplit,
    *,
    criterion: nn.Module,
    compute: Compute,
    mean: Sequence[float],
    std: Sequence[float],
    scale: tuple[int, int] | None = None,
    warns: bool = False,
) -> Row:
    """Return the mean loss over images and the metrics over all pixels.

    Several processes take the images in turn; loss by image and counts are merged, so the result is one process's.

    Args:
        model: A segmentor; left in eval mode.
        split: Images of any sizes, one at a time.
        criterion: Loss of the final logits.
        compute: Device, precision, memory format.
        mean: Gray levels of 255, a channel.
        std: Gray levels of 255, a channel.
        scale: Sides that an image is scaled to fit before the network sees it; logits are resized back, and loss and
            metrics are of the image's own size. None: the image as it is.
        warns: Say so where the network gives every pixel one class.

    Returns:
        ``val_loss``, ``aAcc``, ``mIoU``, ``mAcc``, ``mDice``, then ``IoU_<class>`` of each class; absent ones left out.
    """
    model.eval()
    labels = split.labels
    total = torch.zeros(labels.num_classes, labels.num_classes, dtype=torch.int64)
    losses = {}
    for index in range(distributed.rank(), len(split), distributed.size()):
        sample = split.sample(index)
        with guarded_validation(sample.id, sample.mask.shape):
            image = torch.from_numpy(sample.image.copy())[None].to(compute.device)
            target = torch.from_numpy(sample.mask.astype("int64"))[None].to(compute.device)
            logits = _logits(model, image, compute=compute, mean=mean, std=std, scale=scale)
            losses[index] = float(criterion(logits, target, labels.ignore_index))
            counts = confusion_matrix(
                logits.argmax(1), target, num_classes=labels.num_classes, ignore_index=labels.ignore_index
            )
        total += counts.sum(0).cpu()
    shares = distributed.everyones((losses, total))
    losses, total = {key: loss for share, _ in shares for key, loss in share.items()}, sum(part for _, part in shares)
    row: Row = {"val_loss": sum(losses[index] for index in range(len(split))) / len(split)}
    predicted = total.sum(0).nonzero().flatten().tolist()
    if warns and len(predicted) == 1 and distributed.rank() == 0:
        name = labels.class_names[predicted[0]]
        log.warning(
            "train: so far every pixel of the val split is %s; if that stays, see optimizer.lr and losses", name
        )
    overall = overall_scores(total, beta=1)
    row |= {key: float(overall[key]) for key in ("aAcc", "mIoU", "mAcc", "mDice")}
    by_class = class_scores(total, beta=1)["IoU"]
    row |= {f"IoU_{key}": float(value) for key, value in zip(labels.keys, by_class, strict=True)}
    return {key: value for key, value in row.items() if not math.isnan(value)}


def _logits(
    model: nn.Module,
    image: Tensor,
    *,
    compute: Compute,
    mean: Sequence[float],
    std: Sequence[float],
    scale: tuple[int, int] | None,
) -> Tensor:
    """Return the logits NCHW float32 of an image NHWC uint8, at its size."""
    size = (image.shape[1], image.shape[2])
    if scale is not None:
        image = resized_bytes(image, scaled_size(size, scale))
    normal = normalize(image.permute(0, 3, 1, 2), mean, std).contiguous(memory_format=compute.memory_format)
    with compute.autocast():
        logits: Tensor = model(normal).float()
    if scale is None:
        return logits
    return resize(logits, size, align_corners=cast("SegmentorBase", model).align_corners)
