"""A trained network in torch, behind the interface of ``OnnxModel``: the reference of the parity gate."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from maskline.export.runtime_onnx import Prediction, check_images


class TorchModel:
    """A network in eval mode with its normalisation; fp32 on the CPU.

    It calls the network as evaluation does, and shares no code with the module that is exported.

    Args:
        network: Normalised float images NCHW, any size -> logits NCHW at input size.
        mean: Subtracted from each channel, grey levels of 255.
        std: Divides each channel, grey levels of 255.
        threads: CPU threads; set for the whole process, as torch has it.
    """

    def __init__(self, network: nn.Module, *, mean: Sequence[float], std: Sequence[float], threads: int) -> None:
        torch.set_num_threads(threads)
        self._network = network.eval()
        self._mean = np.asarray(mean, dtype=np.float32)
        self._std = np.asarray(std, dtype=np.float32)

    def predict(self, images: NDArray[np.uint8]) -> Prediction:
        """Return the prediction for images (N, H, W, 3), uint8, RGB.

        Raises:
            ShapeError: Another shape or type.
        """
        check_images(images)
        pixels = (images.astype(np.float32) - self._mean) / self._std
        with torch.inference_mode():
            logits = self._network(torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))).float()
        labels: NDArray[Any] = logits.argmax(1).numpy()
        return Prediction(labels.astype(np.uint8 if logits.shape[1] <= 256 else np.uint16), logits.softmax(1).numpy())
