"""From pictures to logits and class maps, whole or by sliding window."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from maskline.augment.pipeline import normalize
from maskline.errors import CheckpointError
from maskline.inference.slide import Weighting, slide_bands

Mode = Literal["whole", "slide"]
Average = Literal["logits", "probabilities"]

# Keeps the logarithm of a probability finite.
_LEAST = 1e-30


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictor:
    """A trained network with all that its use needs.

    Args:
        model: Maps normalised NCHW float to logits NCHW at input size; in eval mode.
        mean: Subtracted from each channel, grey levels of 255.
        std: Divides each channel, grey levels of 255.
        mode: Whole images, or a sliding window.
        window: Height and width of the window, px (slide).
        stride: Vertical and horizontal step, px (slide).
        batch_size: Images (whole) or windows (slide) at a time.
        weighting: How much a window counts at each of its pixels (slide).
        average: What is averaged where windows overlap (slide).
    """

    model: nn.Module
    mean: tuple[float, ...]
    std: tuple[float, ...]
    mode: Mode
    window: tuple[int, int]
    stride: tuple[int, int]
    batch_size: int
    weighting: Weighting
    average: Average

    def logits(self, images: Tensor) -> Tensor:
        """Return the logits NCHW float32 of pictures NHWC uint8, at their size."""
        return self.logits_of(normalize(images.permute(0, 3, 1, 2), self.mean, self.std))

    def logits_of(self, normalised: Tensor) -> Tensor:
        """Return the logits NCHW float32 of normalised images NCHW, at their size."""
        return predict_logits(
            self.model,
            normalised,
            mode=self.mode,
            window=self.window,
            stride=self.stride,
            batch_size=self.batch_size,
            weighting=self.weighting,
            average=self.average,
        )

    def classes(self, images: Tensor) -> Tensor:
        """Return the class ids NHW (uint8 up to 256 classes, else int32) of pictures NHWC uint8, at their size.

        Raises:
            CheckpointError: The network gives nan.
        """
        return predict_classes(
            self.model,
            normalize(images.permute(0, 3, 1, 2), self.mean, self.std),
            mode=self.mode,
            window=self.window,
            stride=self.stride,
            batch_size=self.batch_size,
            weighting=self.weighting,
            average=self.average,
        )


def predict_logits(
    model: Callable[[Tensor], Tensor],
    images: Tensor,
    *,
    mode: Mode,
    window: tuple[int, int],
    stride: tuple[int, int],
    batch_size: int,
    weighting: Weighting,
    average: Average,
) -> Tensor:
    """Return the logits of normalised images at their size.

    Args:
        model: Maps NCHW float to logits NCHW at input size.
        images: NCHW float, normalised.
        mode: ``whole``: ``batch_size`` images at a time; ``slide``: windows, their logits averaged.
        window: Height and width, px (slide).
        stride: Vertical and horizontal step, px (slide).
        batch_size: Images or windows at a time.
        weighting: How much a window counts at each of its pixels (slide).
        average: ``probabilities``: the softmax of each window is averaged, and the logarithm of that is returned
            (slide).

    Returns:
        NCHW float32.
    """
    with torch.inference_mode():
        bands = _bands(
            model,
            images,
            mode=mode,
            window=window,
            stride=stride,
            batch_size=batch_size,
            weighting=weighting,
            average=average,
        )
        averaged = torch.cat([torch.cat(list(of_images), dim=2) for of_images in bands])
        return averaged.clamp_min(_LEAST).log() if mode == "slide" and average == "probabilities" else averaged


def predict_classes(
    model: Callable[[Tensor], Tensor],
    images: Tensor,
    *,
    mode: Mode,
    window: tuple[int, int],
    stride: tuple[int, int],
    batch_size: int,
    weighting: Weighting,
    average: Average,
) -> Tensor:
    """Return the most likely class of each pixel; the arguments are those of ``predict_logits``.

    With ``slide``, the logits of one window's height are in memory at a time, never those of a whole image.

    Returns:
        NHW, uint8 up to 256 classes, else int32. Of equal logits the lowest class wins.

    Raises:
        CheckpointError: The network gives nan.
    """
    with torch.inference_mode():
        bands = _bands(
            model,
            images,
            mode=mode,
            window=window,
            stride=stride,
            batch_size=batch_size,
            weighting=weighting,
            average=average,
        )
        parts = [torch.cat([most_likely(band) for band in of_images], dim=1) for of_images in bands]
        return torch.cat(parts)


def _bands(
    model: Callable[[Tensor], Tensor],
    images: Tensor,
    *,
    mode: Mode,
    window: tuple[int, int],
    stride: tuple[int, int],
    batch_size: int,
    weighting: Weighting,
    average: Average,
) -> Iterator[Iterator[Tensor]]:
    """Yield for each part of the batch an iterator over its bands of averages, n x C x rows x W."""
    if mode == "slide":
        forward = model if average == "logits" else _with_softmax(model)
        for i in range(len(images)):  # the windows of one image fill the batches; more would only cost memory
            yield slide_bands(
                forward,
                images[i : i + 1],
                window=window,
                stride=stride,
                batch_size=batch_size,
                weighting=weighting,
            )
    else:
        for start in range(0, len(images), batch_size):
            yield iter([model(images[start : start + batch_size]).float()])


def _with_softmax(model: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda images: model(images).float().softmax(dim=1)


def most_likely(logits: Tensor) -> Tensor:
    """Return the class of the highest of NCHW logits or probabilities as NHW; of equal ones the lowest class.

    Returns:
        uint8 up to 256 classes, else int32.

    Raises:
        CheckpointError: There is a nan.
    """
    values, classes = logits.max(dim=1)
    if bool(values.isnan().any()):  # max hands nan on
        raise CheckpointError("model", "its output is nan", "train again with a lower optimizer.lr")
    return classes.to(torch.uint8 if logits.shape[1] <= 256 else torch.int32)
