"""Dense conditional random field over all pairs of pixels of an image, by the package pydensecrf2.

The energy is that of ``maskline.inference.crf``, but for two things: pairs have no window, and the kernels are
approximated on a permutohedral lattice, which counts a pixel as a neighbour of its own too.

Source: Kraehenbuehl and Koltun, "Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials" (2011);
    their code by way of pydensecrf2 (MIT), called as a library.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from maskline.core.errors import ParamsError

_LEAST = 1e-20


@dataclass(frozen=True, slots=True, kw_only=True)
class FullCrf:
    """A field and how long it is iterated; runs on the CPU.

    Args:
        iterations: Updates of all pixels.
        bilateral_weight: Of the kernel over place and color.
        bilateral_px: Its standard deviation in place, px.
        bilateral_grey: Its standard deviation in color, gray levels of 255.
        smooth_weight: Of the kernel over place alone.
        smooth_px: Its standard deviation, px.

    Raises:
        ParamsError: The package is not installed.
    """

    iterations: int
    bilateral_weight: float
    bilateral_px: float
    bilateral_grey: float
    smooth_weight: float
    smooth_px: float

    def __post_init__(self) -> None:
        _package()

    def __call__(self, probabilities: Tensor, images: Tensor) -> Tensor:
        """Return the mean field of each image.

        Args:
            probabilities: NCHW float32, sum 1 over C.
            images: N x 3 x H x W, uint8.

        Returns:
            NCHW float32, sum 1 over C, on the device of ``probabilities``.
        """
        fields = [self._image(p, i) for p, i in zip(probabilities.cpu(), images.cpu(), strict=True)]
        return torch.stack(fields).to(probabilities.device)

    def _image(self, probabilities: Tensor, image: Tensor) -> Tensor:
        num_classes, height, width = probabilities.shape
        field = _package().DenseCRF2D(width, height, num_classes)
        unary = -probabilities.clamp_min(_LEAST).log().reshape(num_classes, -1)
        field.setUnaryEnergy(np.ascontiguousarray(unary.numpy()))
        field.addPairwiseGaussian(sxy=self.smooth_px, compat=self.smooth_weight)
        field.addPairwiseBilateral(
            sxy=self.bilateral_px,
            srgb=self.bilateral_grey,
            rgbim=np.ascontiguousarray(image.permute(1, 2, 0).numpy()),
            compat=self.bilateral_weight,
        )
        marginals = np.array(field.inference(self.iterations), dtype=np.float32)
        return torch.from_numpy(marginals).reshape(num_classes, height, width)


def _package() -> Any:
    try:
        from pydensecrf import densecrf
    except ImportError as error:
        raise ParamsError(
            "evaluate.crf.method",
            "full needs the package pydensecrf2",
            "pip install pydensecrf2 (it wants a C++ compiler), or set it to window",
        ) from error
    return densecrf
