"""A trained network in torch, behind the interface of ``OnnxModel``: the reference of the parity gate."""

import numpy as np
import torch
from numpy.typing import NDArray

from maskline.export.runtime_onnx import Prediction, check_images
from maskline.inference.predictor import Predictor


class TorchModel:
    """A predictor, as evaluation uses it; it shares no code with the module that is exported.

    Args:
        predictor: The network with its pre-processing; fp32, on the CPU.
        threads: CPU threads; set for the whole process, as torch has it.
    """

    def __init__(self, predictor: Predictor, *, threads: int) -> None:
        torch.set_num_threads(threads)
        self._predictor = predictor

    def predict(self, images: NDArray[np.uint8]) -> Prediction:
        """Return the prediction for images (N, H, W, 3), uint8, RGB.

        Raises:
            ShapeError: Another shape or type.
        """
        check_images(images)
        with torch.inference_mode():
            logits = self._predictor.logits(torch.from_numpy(np.ascontiguousarray(images)))
            labels = logits.argmax(1).numpy()
            probabilities = logits.softmax(1).numpy()
        return Prediction(labels.astype(np.uint8 if logits.shape[1] <= 256 else np.uint16), probabilities)
