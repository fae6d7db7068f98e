"""The evaluate stage's inference behind the interface of the other runtimes."""

import numpy as np
import torch
from numpy.typing import NDArray

from maskline.export.interface import Prediction
from maskline.export.runtime_onnx import check_images
from maskline.inference.pipeline import Inference


class InferenceModel:
    """A trained network with every step that evaluation lets follow it.

    Args:
        inference: As evaluation uses it.
        threads: CPU threads; set for the whole process, as torch has it.
    """

    def __init__(self, inference: Inference, *, threads: int) -> None:
        torch.set_num_threads(threads)
        self._inference = inference

    def to(self, device: torch.device) -> None:
        """Move the network to a device; images and predictions stay on the CPU."""
        self._inference.predictor.model.to(device)

    def predict(self, images: NDArray[np.uint8]) -> Prediction:
        """Return the prediction for images (N, H, W, 3), uint8, RGB.

        The probabilities are those before threshold and clean-up.

        Raises:
            ShapeError: Another shape or type.
            CheckpointError: The network gives nan.
        """
        check_images(images, channels=len(self._inference.predictor.mean))
        batch = torch.from_numpy(np.ascontiguousarray(images)).to(self._inference.predictor.device)
        segmentation = self._inference.segment(batch, probabilities=True)
        assert segmentation.probabilities is not None
        labels, probabilities = segmentation.labels.cpu().numpy(), segmentation.probabilities.cpu().numpy()
        return Prediction(labels if labels.dtype == np.uint8 else labels.astype(np.uint16), probabilities)
