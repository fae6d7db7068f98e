"""From images to class maps: the network, then each step that is switched on, in a fixed order.

network, tta (test-time augmentation), crf, threshold, cleanup.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from maskline.inference.crf import DenseCrf
from maskline.inference.crf_full import FullCrf
from maskline.inference.postprocess import fill_holes, remove_small_components
from maskline.inference.predictor import Predictor, most_likely
from maskline.inference.tta import Tta, averaged_probabilities

Crf = DenseCrf | FullCrf


@dataclass(frozen=True, slots=True, kw_only=True)
class Segmentation:
    """What is seen in a batch.

    Args:
        labels: Class ids, NHW, uint8 up to 256 classes, else int32.
        steps: Name of a step -> class ids after it, in order, the network first; empty where no step follows it.
        probabilities: NCHW float32, after tta and crf; None where nobody asked.
    """

    labels: Tensor
    steps: dict[str, Tensor]
    probabilities: Tensor | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inference:
    """A trained network with all that follows it.

    Args:
        predictor: The network, whole or by windows.
        tta: Test-time augmentation.
        crf: Dense conditional random field; None: none.
        threshold: Two-class sets: class 1 from this probability on; None: the more likely class.
        min_component_px: Smaller components go; 0 or 1: none does.
        max_hole_px: Holes up to this size are filled; 0: none is.
    """

    predictor: Predictor
    tta: Tta
    crf: Crf | None
    threshold: float | None
    min_component_px: int
    max_hole_px: int

    @property
    def device(self) -> torch.device:
        """Where the network is, and images must be."""
        return self.predictor.device

    @property
    def images_at_once(self) -> int:
        """How many images of one size are segmented together."""
        return self.predictor.batch_size if self.predictor.mode == "whole" else 1

    @property
    def has_steps(self) -> bool:
        """Whether anything follows the network."""
        return not self.tta.is_plain or self.crf is not None or self.threshold is not None or self._cleans

    def segment(self, images: Tensor, *, probabilities: bool) -> Segmentation:
        """Segment images NHWC uint8 of one size.

        Args:
            images: The images, on the network's device.
            probabilities: Whether the probabilities are wanted; without them and without steps, windows of large
                images need little memory.

        Raises:
            CheckpointError: The network gives nan.
        """
        if not self.has_steps and not probabilities:
            return Segmentation(labels=self.predictor.classes(images), steps={}, probabilities=None)
        with torch.inference_mode():
            return self._segment(images)

    def _segment(self, images: Tensor) -> Segmentation:
        logits = self.predictor.logits(images)
        labels = most_likely(logits)
        steps = {"network": labels}
        field = logits.softmax(1)
        if not self.tta.is_plain:
            use = self.predictor
            field = averaged_probabilities(
                use.logits_of, partial(use.view, images), self.tta, plain=field, restored=use.restored
            )
            labels = steps["views"] = most_likely(field)
        if self.crf is not None:
            field = self.crf(field, images.permute(0, 3, 1, 2))
            labels = steps["crf"] = most_likely(field)
        if self.threshold is not None:
            assert field.shape[1] == 2, "a threshold is for two classes"
            labels = steps["threshold"] = (field[:, 1] >= self.threshold).to(labels.dtype)
        if self._cleans:
            labels = steps["cleanup"] = self._clean(labels)
        return Segmentation(labels=labels, steps=steps if len(steps) > 1 else {}, probabilities=field)

    @property
    def _cleans(self) -> bool:
        return self.min_component_px > 1 or self.max_hole_px > 0

    def _clean(self, labels: Tensor) -> Tensor:
        return torch.from_numpy(_each(labels.cpu().numpy(), self._clean_map)).to(labels.device)

    def _clean_map(self, ids: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if self.min_component_px > 1:
            ids = remove_small_components(ids, min_px=self.min_component_px)
        return fill_holes(ids, max_px=self.max_hole_px) if self.max_hole_px else ids


def _each(maps: npt.NDArray[Any], function: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]) -> npt.NDArray[Any]:
    return np.stack([function(ids) for ids in maps])
