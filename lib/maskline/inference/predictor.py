"""From images to logits and class maps, whole or by sliding window."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from maskline.core.errors import CheckpointError
from maskline.inference.slide import Weighting, Windows, slide_bands
from maskline.inference.tta import view_size
from maskline.models.layers import resize
from maskline.models.scale import resized_bytes, scaled_size
from maskline.runtime.device import tf32
from maskline.runtime.normalize import normalize

Mode = Literal["whole", "slide"]
Average = Literal["logits", "probabilities"]
Precision = Literal["fp32", "tf32", "bf16"]

# Keeps the logarithm of a probability finite.
_LEAST = 1e-30


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictor:
    """A trained network with all that its use needs.

    Args:
        model: Maps normalized NCHW float to logits NCHW at input size; in eval mode.
        mean: Subtracted from each channel, gray levels of 255.
        std: Divides each channel, gray levels of 255.
        mode: Whole images, or a sliding window.
        window: Height and width of the window, px (slide).
        stride: Vertical and horizontal step, px (slide).
        batch_size: Images (whole) or windows (slide) at a time.
        weighting: How much a window counts at each of its pixels (slide).
        average: What is averaged where windows overlap (slide).
        scale: Sides that an image is scaled to fit, its aspect kept, before the network sees it; logits are resized
            back. None: the image as it is.
        align_corners: How logits are resized back then.
        precision: bf16: the network computes in bfloat16; all that follows stays float32. tf32: a GPU rounds the
            products of float32, which it does not otherwise.
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
    precision: Precision
    scale: tuple[int, int] | None = None
    align_corners: bool = False

    @property
    def device(self) -> torch.device:
        """Where the network is, and images must be."""
        return next((parameter.device for parameter in self.model.parameters()), torch.device("cpu"))

    @property
    def windows(self) -> Windows:
        """How images are taken apart (slide)."""
        return Windows(window=self.window, stride=self.stride, batch_size=self.batch_size, weighting=self.weighting)

    def logits(self, images: Tensor) -> Tensor:
        """Return the logits NCHW float32 of images NHWC uint8, at their size."""
        return self.restored(self.logits_of(self.view(images, 1.0)), (images.shape[1], images.shape[2]))

    def view(self, images: Tensor, factor: float) -> Tensor:
        """Return images NHWC uint8 as the network sees them, normalized NCHW float32.

        With ``scale``, bytes are resized, once, to what fits it; else normalized values are, where the factor is not 1.

        Args:
            images: At their own size.
            factor: Of the sides, as test-time augmentation has it; it multiplies ``scale``.
        """
        size = (images.shape[1], images.shape[2])
        if self.scale is not None:
            sides = (int(self.scale[0] * factor), int(self.scale[1] * factor))
            images = resized_bytes(images, scaled_size(size, sides))
        normalized = self.normalized(images.permute(0, 3, 1, 2))
        if self.scale is not None or factor == 1:
            return normalized
        return resize(normalized, view_size(size, factor), align_corners=False)

    def restored(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Return the logits of a view at the size of the images."""
        with torch.inference_mode():
            return resize(logits, size, align_corners=self.align_corners)

    def logits_of(self, normalized: Tensor) -> Tensor:
        """Return the logits NCHW float32 of normalized images NCHW, at their size.

        Where probabilities are averaged, it is the logarithm of the mean.
        """
        with torch.inference_mode():
            averaged = torch.cat([torch.cat(list(bands), dim=2) for bands in self._bands(normalized)])
            of_probabilities = self.mode == "slide" and self.average == "probabilities"
            return averaged.clamp_min(_LEAST).log() if of_probabilities else averaged

    def classes(self, images: Tensor) -> Tensor:
        """Return the class ids NHW (uint8 up to 256 classes, else int32) of images NHWC uint8, at their size.

        With ``slide`` and without ``scale``, the logits of one window's height are in memory at a time, never those of
        a whole image.

        Raises:
            CheckpointError: The network gives nan.
        """
        if self.scale is not None:
            return most_likely(self.logits(images))
        normalized = self.normalized(images.permute(0, 3, 1, 2))
        with torch.inference_mode():
            parts = [torch.cat([most_likely(band) for band in bands], dim=1) for bands in self._bands(normalized)]
            return torch.cat(parts)

    def normalized(self, images: Tensor) -> Tensor:
        """Return images NCHW uint8 as the network wants them, NCHW float32."""
        return normalize(images, self.mean, self.std)

    def window_scores(self, normalized: Tensor) -> Tensor:
        """Return what is averaged of a batch of windows NCHW: logits, or probabilities; NCHW float32."""
        logits = self._forward(normalized)
        return logits.softmax(dim=1) if self.average == "probabilities" else logits

    def _bands(self, normalized: Tensor) -> Iterator[Iterator[Tensor]]:
        """Yield for each part of the batch an iterator over its bands of averages, n x C x rows x W."""
        if self.mode == "slide":
            for i in range(len(normalized)):  # the windows of one image fill the batches; more would only cost memory
                yield slide_bands(self.window_scores, normalized[i : i + 1], windows=self.windows)
        else:
            for start in range(0, len(normalized), self.batch_size):
                yield iter([self._forward(normalized[start : start + self.batch_size])])

    def _forward(self, normalized: Tensor) -> Tensor:
        # On a CPU small convolutional networks take 7 to 21 % less time so; FPN with ResNet-50 and SegFormer as long.
        images = normalized.contiguous(memory_format=torch.channels_last)
        if self.precision != "bf16":
            with tf32(allowed=self.precision == "tf32"):
                return self.model(images).float()  # type: ignore[no-any-return]
        with torch.autocast(images.device.type, dtype=torch.bfloat16):
            return self.model(images).float()  # type: ignore[no-any-return]


def most_likely(logits: Tensor) -> Tensor:
    """Return the class of the highest of NCHW logits or probabilities as NHW; of equal ones the lowest class.

    Returns:
        uint8 up to 256 classes, else int32.

    Raises:
        CheckpointError: The highest is nan or infinite.
    """
    values, classes = logits.max(dim=1)
    if bool(values.isfinite().logical_not().any()):  # max hands nan on
        raise CheckpointError("model", "its output is not finite", "train again with a lower optimizer.lr")
    return classes.to(torch.uint8 if logits.shape[1] <= 256 else torch.int32)
