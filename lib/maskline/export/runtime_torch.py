"""A trained network in torch, behind the interface of ``OnnxModel``: the reference of the parity gate."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from maskline.export.interface import Output, Prediction, check_values, one_hot
from maskline.export.runtime_onnx import check_images


class TorchModel:
    """A network as evaluation uses it.

    It shares no code with the module that is exported, but for the scaling of bytes.

    Args:
        logits: Images NHWC uint8 -> logits NCHW float32 at their size, on the device of the images.
        threads: CPU threads; set for the whole process, as torch has it.
        activation: What to give as probabilities: softmax, sigmoid, or argmax for 1 at the label.
        channels: Of the images.
        network: What ``logits`` runs, to be moved by ``to``; None: it cannot be.
        device: Where the network is.
        threshold: Two classes: label 1 from this probability on; None: the more likely class.
    """

    def __init__(
        self,
        logits: Callable[[Tensor], Tensor],
        *,
        threads: int,
        activation: Output = "softmax",
        channels: int = 3,
        network: nn.Module | None = None,
        device: str = "cpu",
        threshold: float | None = None,
    ) -> None:
        torch.set_num_threads(threads)
        self._threshold = threshold
        self._network, self._device = network, torch.device(device)
        self._logits, self._activation, self._channels = logits, activation, channels

    @property
    def network(self) -> nn.Module:
        """What ``logits`` runs."""
        assert self._network is not None, "given"
        return self._network

    def to(self, device: torch.device) -> None:
        """Move the network to a device; images and predictions stay on the CPU."""
        assert self._network is not None, "a network to move"
        self._network.to(device)
        self._device = device

    def predict(self, images: NDArray[np.uint8]) -> Prediction:
        """Return the prediction for images (N, H, W, 3), uint8, RGB.

        Raises:
            ShapeError: Another shape or type.
            ExportError: The network gives nan.
        """
        check_images(images, channels=self._channels)
        with torch.inference_mode():
            logits = self._logits(torch.from_numpy(np.ascontiguousarray(images)).to(self._device))
            check_values(logits.cpu().numpy())
            likely = logits.argmax(1) if self._threshold is None else logits.softmax(1)[:, 1] >= self._threshold
            classes = likely.cpu().numpy()
            values = (logits.sigmoid() if self._activation == "sigmoid" else logits.softmax(1)).cpu().numpy()
        labels = classes.astype(np.uint8 if logits.shape[1] <= 256 else np.uint16)
        return Prediction(labels, one_hot(labels, logits.shape[1]) if self._activation == "argmax" else values)
