"""The confusion matrix in exact integers: the one state that every score of a segmentation derives from.

Counts are int64 throughout. MMSegmentation (``torch.histc``) and SMP (``get_stats``) count in float32, which
stands still at 16,777,216 pixels of one class in one image.
"""

from typing import NoReturn

import torch
from torch import Tensor

from maskline.core.errors import DataError, ShapeError

# Pixels counted at a time: bounds the working memory (about 20 bytes a pixel) and stays in the CPU's cache.
_CHUNK_PX = 1 << 20

_FITS_INT32 = (torch.uint8, torch.int8, torch.uint16, torch.int16, torch.int32)


def confusion_matrix(prediction: Tensor, target: Tensor, *, num_classes: int, ignore_index: int) -> Tensor:
    """Count the pixels of each pair (actual class, predicted class), image by image.

    Matrices add: the sum over images, tiles or processes is the matrix of the whole.

    Args:
        prediction: Class ids 0..num_classes-1, NHW, any integer dtype.
        target: Class ids 0..num_classes-1 or ``ignore_index``, NHW, any integer dtype, on the same device.
        num_classes: C.
        ignore_index: Target value of pixels that do not count.

    Returns:
        N x C x C, int64, on the CPU; rows are actual, columns are predicted classes.

    Raises:
        ShapeError: The two differ in shape or are not integer NHW.
        DataError: A value is neither a class id nor (in ``target``) ``ignore_index``.
    """
    _check_maps(prediction, target)
    matrices = [
        _count_image(prediction[i].reshape(-1), target[i].reshape(-1), num_classes, ignore_index)
        for i in range(len(target))
    ]
    empty = torch.zeros((0, num_classes, num_classes), dtype=torch.int64)
    return torch.stack(matrices) if matrices else empty


def _count_image(prediction: Tensor, target: Tensor, num_classes: int, ignore_index: int) -> Tensor:
    """Return the C x C matrix of one flattened image."""
    overflow = num_classes * num_classes  # the bin of ignored pixels: cheaper than indexing them away
    # int32 is the fastest type to count, but a wider input would wrap in it and could pass for a class.
    narrow = overflow < 2**31 and prediction.dtype in _FITS_INT32 and target.dtype in _FITS_INT32
    dtype = torch.int32 if narrow else torch.int64
    counts = torch.zeros(overflow + 1, dtype=torch.int64)
    for start in range(0, target.numel(), _CHUNK_PX):
        actual = target[start : start + _CHUNK_PX].to(dtype)
        predicted = prediction[start : start + _CHUNK_PX].to(dtype)
        scored = actual != ignore_index
        actual = torch.where(scored, actual, 0)
        if _outside(actual, num_classes) or _outside(predicted, num_classes):
            _raise_unknown(prediction, target, num_classes, ignore_index)
        bins = torch.where(scored, actual * num_classes + predicted, overflow)
        counts += torch.bincount(bins, minlength=overflow + 1).cpu()
    return counts[:overflow].reshape(num_classes, num_classes)


def _outside(values: Tensor, num_classes: int) -> bool:
    low, high = torch.aminmax(values)
    return bool(low < 0) or bool(high >= num_classes)


def _raise_unknown(prediction: Tensor, target: Tensor, num_classes: int, ignore_index: int) -> NoReturn:
    """Raise for the most frequent value that is no class."""
    labels = target.to(torch.int64)
    for place, values in (("labels", labels[labels != ignore_index]), ("prediction", prediction.to(torch.int64))):
        outside = values[(values < 0) | (values >= num_classes)]
        if outside.numel():
            found, counts = torch.unique(outside, return_counts=True)
            most = int(counts.argmax())
            raise DataError(
                place,
                f"value {int(found[most])} in {int(counts[most])} pixels with classes 0..{num_classes - 1}",
                "name its class, or give these pixels the ignore index",
            )
    raise AssertionError("called without an unknown value")


def _check_maps(prediction: Tensor, target: Tensor) -> None:
    for name, value in (("prediction", prediction), ("target", target)):
        if value.ndim != 3:
            raise ShapeError(name, f"shape {tuple(value.shape)}", "give class ids of N images as NHW")
        if value.is_floating_point() or value.is_complex() or value.dtype == torch.bool:
            raise ShapeError(name, f"dtype {value.dtype}", "give integer class ids (argmax of the logits)")
    if prediction.shape != target.shape:
        raise ShapeError(
            "prediction",
            f"shape {tuple(prediction.shape)} for a target of shape {tuple(target.shape)}",
            "score both at the target's size",
        )
