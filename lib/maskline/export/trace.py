"""From a trained network to a traced program that takes any image and says what it sees.

Shapes: N batch, H height, W width, C classes. Everything a user of the file would otherwise have to know
(channel order, mean, padding, activation) is inside the program.
"""

import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from maskline.core.errors import ExportError
from maskline.export.interface import WHOLE, Interface, Output
from maskline.export.onnx_passes.resizing import with_factors
from maskline.models.backbones.base import BackboneBase
from maskline.models.heads.base import Head
from maskline.models.pooling import AdaptiveAvgPool
from maskline.models.scale import resized_bytes, scaled_size

# Networks that take any size have features of this stride all the same.
_DEEPEST_STRIDE = 32


class Deployable(nn.Module):
    """A network with its pre-processing, padding and activation: uint8 images in, classes out.

    The image is padded with zeros (the mean color) at its right and lower edge to a multiple of ``stride``, and
    the result is cropped back. A network that pads by itself in the same way gives the same result without it; it is
    done here because a tracer can follow this form for every size. With ``interface.resize``, the image is resized
    (bilinear, pixel centres) instead, and so is the result. With ``interface.scale``, its bytes are scaled first, and
    the cropped result is resized back.

    Args:
        network: Normalized float images NCHW -> logits NCHW at input size.
        num_classes: C; labels are uint8 up to 256 classes, else uint16.
        stride: The network's input sides are padded to multiples of this.
        interface: What is given, and whether the image is resized.
        mean: Subtracted from each channel, gray levels of 255.
        std: Divides each channel, gray levels of 255.
        align_corners: How the result is resized back after ``interface.scale``.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        *,
        num_classes: int,
        stride: int,
        mean: Sequence[float],
        std: Sequence[float],
        interface: Interface = WHOLE,
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        self.network = network
        self.stride = stride
        self.interface = interface
        self.align_corners = align_corners
        self.label_dtype = torch.uint8 if num_classes <= 256 else torch.uint16
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs for images NHWC (uint8): labels NHW (uint8 or uint16), all others NCHW (float32)."""
        logits = self._logits(images)
        return tuple(self._output(name, logits) for name in self.interface.outputs)

    def _output(self, name: Output, logits: Tensor) -> Tensor:
        match name:
            case "argmax":
                if self.interface.threshold is not None:
                    return (self._output("softmax", logits)[:, 1] >= self.interface.threshold).to(self.label_dtype)
                return logits.argmax(1).to(self.label_dtype)
            case "softmax":
                return _softmax(logits) if torch.compiler.is_exporting() else logits.softmax(1)
            case "sigmoid":
                return logits.sigmoid()
            case "logits":
                return logits

    def _logits(self, images: Tensor) -> Tensor:
        own_size = (images.shape[1], images.shape[2])
        if self.interface.scale is not None:
            images = resized_bytes(images, scaled_size(own_size, self.interface.scale))
            return F.interpolate(self._seen(images), own_size, mode="bilinear", align_corners=self.align_corners)
        return self._seen(images)

    def _seen(self, images: Tensor) -> Tensor:
        height, width = images.shape[1], images.shape[2]
        # Subtracted, not folded into the first convolution: that one pads with zeros, which must mean "mean color".
        pixels = (images.permute(0, 3, 1, 2).float() - self.mean) / self.std
        if self.interface.resize is not None:
            logits = self.network(F.interpolate(pixels, self.interface.resize, mode="bilinear")).float()
            return F.interpolate(logits, (height, width), mode="bilinear")
        logits = self.network(F.pad(pixels, (0, self._excess(width), 0, self._excess(height))))
        cropped: Tensor = logits[:, :, :height, :width].float()
        return cropped

    def _excess(self, length: int) -> int:
        # Not ``-length % stride``: the tracer sees that ``length`` plus this is a multiple of the stride, so that
        # halved and doubled sizes inside the network are equal for it.
        return self.stride * ((length + self.stride - 1) // self.stride) - length


def _softmax(logits: Tensor) -> Tensor:
    """Softmax over C in whole maps: onnxruntime's own takes one pixel at a time, and more than ten times as long."""
    powers = (logits - logits.amax(1, keepdim=True)).exp()
    return powers / powers.sum(1, keepdim=True)


def trace(model: Deployable, *, example_size: tuple[int, int]) -> ExportedProgram:
    """Trace ``model`` for any batch, height and width.

    The trace assumes sides above 32 px and above the stride, because a feature map of one pixel takes other paths in
    torch; whether smaller images work all the same is for the parity gate to say.

    A network whose maps get coarser than the example's pixels can show (``BackboneBase.deepest_stride``,
    ``Head.window``) is traced at a larger example.

    Args:
        model: In eval mode, on the CPU.
        example_size: Height and width of the example, each above 32 px and above the stride.

    Raises:
        ExportError: The example is too small; or the network's code depends on its input's size in a way that cannot be
            traced.
    """
    assert not model.training, "trace needs the model in eval mode"
    least = max(model.stride, _DEEPEST_STRIDE) + 1
    if min(example_size) < least:
        raise ExportError(
            "export.example_size", f"{example_size[0]}x{example_size[1]} px", f"give at least {least} px a side"
        )
    backbones = [part for part in model.modules() if isinstance(part, BackboneBase)]
    strides = [model.stride, *(max(part.strides) for part in backbones)]
    windows = [1, *(part.window for part in model.modules() if isinstance(part, Head))]
    least = max(least, 1 + max(strides) * max(windows), *(1 + part.deepest_stride for part in backbones))
    sizes = {0: Dim("batch", min=1), 1: Dim("height", min=least), 2: Dim("width", min=least)}
    # Two images, since torch.export makes a constant of a batch of one.
    height, width = (max(side, least) for side in example_size)
    example = torch.zeros(2, height, width, model.mean.numel(), dtype=torch.uint8)
    with torch.no_grad(), third_party_warnings_ignored(), _PoolByMatrices():
        try:
            program = torch.export.export(
                model,
                (example,),
                dynamic_shapes=(sizes,),
                strict=False,
                # Cropping needs "height <= padded height", which holds yet is more than the tracer can prove.
                prefer_deferred_runtime_asserts_over_guards=True,
            )
        except (AssertionError, RuntimeError, TypeError, ValueError) as error:  # from the tracer or the network's code
            raise ExportError(
                type(model.network).__name__,
                f"cannot be traced for images of any size ({reason(error)})",
                "choose another model.smp.architecture, backbone or head",
            ) from error
    with_factors(program)
    return program


class _PoolByMatrices(TorchFunctionMode):
    """Inside this block, adaptive average pooling to a square is ``AdaptiveAvgPool``, in whoever's code it stands.

    The ONNX exporter turns torch's own into a pooling whose window fits the example's size only: silently wrong at
    every other. Pooling to a rectangle is left alone; the parity gate would refuse it.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is F.adaptive_avg_pool2d:
            return _pool(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _pool(input: Tensor, output_size: int | Sequence[int | None]) -> Tensor:  # noqa: A002  (torch's own names)
    rows, columns = (output_size, output_size) if isinstance(output_size, int) else output_size
    if rows is None or rows != columns:
        return F.adaptive_avg_pool2d(input, output_size)  # type: ignore[arg-type]
    pooled: Tensor = AdaptiveAvgPool(rows)(input)
    return pooled


@contextmanager
def third_party_warnings_ignored() -> Iterator[None]:
    """Silence torch's and onnxscript's warnings about their own code; a user can do nothing about them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", UserWarning)
        yield


def reason(error: BaseException) -> str:
    """Return the operation that a chain of errors names, and the first line of the error that began it.

    The errors after that one say how to debug the exporter.
    """
    operation = ""
    while error.__cause__ is not None:
        error = error.__cause__
        named = re.search(r"target=torch\.ops\.([\w.]+)", str(error))
        operation = f"{named[1]}: " if named else operation
    return operation + (str(error).strip().splitlines() or [type(error).__name__])[0]
