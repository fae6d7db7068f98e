"""A model in use: anything that shows an image in, its classes out. Needs no torch for exported models."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, overload, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maskline.core.errors import CheckpointError, ParamsError, ShapeError
from maskline.data.labels import LabelSet
from maskline.data.reading_rule import ReadingRule
from maskline.export.interface import Prediction
from maskline.predict.result import Result
from maskline.reading.as_trained import array_as_trained, image_as_trained, read_as_trained

if TYPE_CHECKING:
    import torch

    One = str | Path | Image.Image | NDArray[Any] | torch.Tensor
    Many = Sequence[One]


class Runtime(Protocol):
    """What computes: a trained network in torch, with or without steps around it, or a file in onnxruntime."""

    def predict(self, images: NDArray[np.uint8]) -> Prediction:
        """Return the prediction for images (N, H, W, channels), uint8."""


@runtime_checkable
class Movable(Protocol):
    """A runtime that other devices can run."""

    def to(self, device: "torch.device") -> None:
        """Move the network."""


class Model:
    """A trained or exported model; ``maskline.load`` gives one.

    Args:
        runtime: What computes.
        labels: The classes.
        reading: How image files and arrays become what the network sees.
        made_by: What results depend on besides the images, as plain types.
    """

    def __init__(self, runtime: Runtime, *, labels: LabelSet, reading: ReadingRule, made_by: Mapping[str, Any]) -> None:
        self.runtime, self.labels, self.reading, self.made_by = runtime, labels, reading, dict(made_by)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in the order of their ids."""
        return self.labels.class_names

    @overload
    def predict(self, images: "str | Path | Image.Image") -> Result: ...
    @overload
    def predict(self, images: "list[One] | list[str] | list[Path]") -> list[Result]: ...
    @overload
    def predict(self, images: "One | Many") -> Result | list[Result]: ...
    def predict(self, images: "One | Many") -> Result | list[Result]:
        """Segment one image, or several.

        Images are read as those of the training data were: the same bands in the same order, values of more than 8
        bits scaled alike. Arrays and tensors hold what a file holds: its bands (colors as red, green, blue) in its own
        numbers, not yet selected, scaled or normalized.

        Args:
            images: One image: a path, a PIL image, an array (height, width) or (height, width, bands), or a tensor
                (bands, height, width). Several: a list of such, an array (batch, height, width, bands), or a tensor
                (batch, bands, height, width), which are computed at once.

        Returns:
            A result for one image, a list of them for several.

        Raises:
            DataError: An image cannot be read, or is not like those that the model was trained on.
            ShapeError: An array of another number of dimensions.
            CheckpointError: The network gives nan.
            ExportError: An exported model does not run at this size.
        """
        if isinstance(images, list | tuple):
            return [self.predict(image) for image in images]
        if isinstance(images, str | Path):
            return self.segment(read_as_trained(Path(images), self.reading))
        if isinstance(images, Image.Image):
            return self.segment(image_as_trained(images, self.reading, place="image"))
        values = _array(images)
        if values.ndim < 4:
            return self.segment(array_as_trained(values, self.reading, place="array"))
        return self._segment_batch(values)

    def segment(self, image: NDArray[np.uint8]) -> Result:
        """Segment an image (h, w, channels) that has been read as the model's training data was."""
        (result,) = self._results(image[None])
        return result

    def to(self, device: str) -> "Model":
        """Move the model to a device (``cpu``, ``cuda``, ``cuda:1``) and return it; results stay on the CPU.

        Raises:
            ParamsError: There is no such device.
            CheckpointError: An exported model, which runs on the CPU alone.
        """
        if not isinstance(self.runtime, Movable):
            if device == "cpu":
                return self
            remedy = "load the trained folder, or run the file by onnxruntime's own GPU build"
            raise CheckpointError("exported model", f"runs on the CPU, not on {device}", remedy)
        import torch

        try:
            target = torch.device(device)
        except RuntimeError as error:
            raise ParamsError("device", f"{device!r} is none", "name cpu, cuda or cuda:1") from error
        if target.type == "cuda" and (target.index or 0) >= torch.cuda.device_count():
            raise ParamsError("device", f"{device}, but torch sees no such GPU here", "name cpu")
        self.runtime.to(target)
        return self

    def _segment_batch(self, values: NDArray[Any]) -> list[Result]:
        if values.ndim != 4:
            raise ShapeError("images", f"an array of shape {values.shape}", "give one image, or a batch of them")
        images = [array_as_trained(one, self.reading, place=f"image {i} of the batch") for i, one in enumerate(values)]
        return self._results(np.stack(images)) if images else []

    def _results(self, images: NDArray[np.uint8]) -> list[Result]:
        prediction = self.runtime.predict(images)
        parts = zip(images, prediction.labels, prediction.probabilities, strict=True)
        return [Result(image, classes, field, self.labels) for image, classes, field in parts]


def _array(images: Any) -> NDArray[Any]:
    """Return an array, channels last; a tensor has them first."""
    if isinstance(images, np.ndarray):
        return images
    if not hasattr(images, "detach"):
        raise ShapeError("images", f"a {type(images).__name__}", "give a path, a PIL image, an array or a tensor")
    values: NDArray[Any] = images.detach().cpu().numpy()
    return np.moveaxis(values, -3, -1) if values.ndim > 2 else values
