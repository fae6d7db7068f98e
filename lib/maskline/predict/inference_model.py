"""The evaluate stage's inference behind the interface of the other runtimes."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskline.export.interface import Prediction
from maskline.export.runtime_onnx import check_images
from maskline.export.runtime_torch import TorchModel
from maskline.inference.pipeline import Inference
from maskline.inference.predictor import Predictor, most_likely
from maskline.inference.slide import Windows, in_memory, stream_bands
from maskline.predict.large_images import LONGEST, Told, cut, is_large


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


class WholeOrWindows:
    """A trained network without steps around it: on whole images, and by windows on those that are large.

    The size alone decides, not the machine, so that everyone gets the same. A pixel that one window alone has, farther
    from the window's edge than the network looks, gets what it gets in the whole image. What looks at the whole image,
    such as a mean over it, looks at the window.

    Args:
        whole: The network on whole images.
        mean: Subtracted from each channel, gray levels of 255.
        std: Divides each channel, gray levels of 255.
    """

    def __init__(self, whole: TorchModel, *, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        self._whole, self._told = whole, Told()
        self._predictor = Predictor(
            model=whole.network,
            mean=mean,
            std=std,
            mode="slide",
            window=(LONGEST, LONGEST),
            stride=(LONGEST, LONGEST),  # each image has its own: see _by_windows
            batch_size=1,
            weighting="gaussian",
            average="logits",
            precision="fp32",
        )

    def to(self, device: torch.device) -> None:
        """Move the network to a device; images and predictions stay on the CPU."""
        self._whole.to(device)

    def predict(self, images: NDArray[np.uint8]) -> Prediction:
        """Return the prediction for images (N, H, W, 3), uint8, RGB.

        Raises:
            ShapeError: Another shape or type.
            ExportError: The network gives nan, on a whole image.
            CheckpointError: It does, by windows.
        """
        if not is_large(images):
            return self._whole.predict(images)
        check_images(images, channels=len(self._predictor.mean))
        self._told.tell(images)
        labels, fields = zip(*(self._by_windows(image) for image in images), strict=True)
        return Prediction(np.stack(labels), np.stack(fields))

    def _by_windows(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8 | np.uint16], NDArray[np.float32]]:
        """Return ids (H, W) and probabilities (C, H, W), of which no more than one copy is held."""
        predictor = self._predictor

        def band(top: int, count: int) -> Tensor:
            return torch.from_numpy(image[top : top + count]).permute(2, 0, 1)[None].to(predictor.device)

        def forward(seen: Tensor) -> Tensor:
            return predictor.window_scores(predictor.normalized(seen))

        height, width = image.shape[:2]
        lines, columns = cut(height), cut(width)
        windows = Windows(
            window=(lines.window, columns.window),
            stride=(lines.stride, columns.stride),
            batch_size=predictor.batch_size,
            weighting=predictor.weighting,
        )
        labels, fields, done = np.empty((0, 0), np.uint8), np.empty((0, 0, 0), np.float32), 0
        with torch.inference_mode():
            for logits in stream_bands(forward, band, size=(height, width), windows=windows, hold=in_memory):
                if not done:
                    count = logits.shape[1]
                    labels = np.empty((height, width), np.uint8 if count <= 256 else np.uint16)
                    fields = np.empty((count, height, width), np.float32)
                rows = slice(done, done + logits.shape[2])
                labels[rows] = most_likely(logits)[0].cpu().numpy()
                fields[:, rows] = logits.softmax(1)[0].cpu().numpy()
                done = rows.stop
        return labels, fields
