"""Dense conditional random field: mean field over all pairs of pixels within a window.

Energy of a labelling: sum of -log p of each pixel's class, minus sum of K(i, j) over pairs of pixels of one class.
K = bilateral_weight x (nearness in place and color) + smooth_weight x (nearness in place), each normalized by
sqrt(n_i n_j), n_i being the pixel's own sum; so a weight means the same at any window.

Each offset within the window is one product of two shifted images, and a pair's kernel serves both of its pixels.

Source: Kraehenbuehl and Koltun, "Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials" (2011);
    the window of Teichmann and Cipolla, "Convolutional CRFs for Semantic Segmentation" (2018); both written anew.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

# Rows in work at a time, the halo not counted; a kernel map of this many rows is held for each offset.
_BAND_ROWS = 512

_LEAST = 1e-20

# Below it exp is as good as 0, and many times slower once its result underflows.
_LEAST_EXPONENT = -60.0

Offset = tuple[int, int]
Slices = tuple[slice, slice]


@dataclass(frozen=True, slots=True, kw_only=True)
class DenseCrf:
    """A field and how long it is iterated.

    Args:
        iterations: Updates of all pixels.
        radius: Pairs are within this many pixels along each axis; the window is 2 radius + 1 wide.
        bilateral_weight: Of the kernel over place and color.
        bilateral_px: Its standard deviation in place, px.
        bilateral_grey: Its standard deviation in color, gray levels of 255.
        smooth_weight: Of the kernel over place alone.
        smooth_px: Its standard deviation, px.
    """

    iterations: int
    radius: int
    bilateral_weight: float
    bilateral_px: float
    bilateral_grey: float
    smooth_weight: float
    smooth_px: float

    def __call__(self, probabilities: Tensor, images: Tensor) -> Tensor:
        """Return the mean field of each image.

        Args:
            probabilities: NCHW float32, sum 1 over C.
            images: N x channels x H x W, any dtype, gray levels of 255, on the same device.

        Returns:
            NCHW float32, sum 1 over C.
        """
        with torch.inference_mode():
            return torch.stack([self._image(p, i.float()) for p, i in zip(probabilities, images, strict=True)])

    def kernels(self, image: Tensor) -> list[tuple[Offset, Tensor]]:
        """Return K(i, i + offset) for half of the window's offsets; the other half is its mirror image.

        Args:
            image: Channels x H x W, gray levels.

        Returns:
            (dy, dx) and (H - dy) x (W - abs(dx)) float32: one value for each pixel that has such a neighbour.
        """
        size = (int(image.shape[1]), int(image.shape[2]))
        offsets = list(_offsets(self.radius, size))
        # One piece of memory for all kernels, one to work in: fresh memory for each would cost more than the sums.
        store, work = image.new_empty((len(offsets), *size)), torch.empty_like(image)
        sums = image.new_full((2, *size), _LEAST)
        near = []
        for offset, place in zip(offsets, store, strict=True):
            here, there = _pair(offset, size)
            kernel, unlike = place[here], work[(slice(None), *here)]
            torch.sub(image[(slice(None), *here)], image[(slice(None), *there)], out=unlike)
            torch.sum(unlike.square_(), dim=0, out=kernel)
            square = float(offset[0] ** 2 + offset[1] ** 2)
            kernel.div_(-2 * self.bilateral_grey**2).sub_(square / (2 * self.bilateral_px**2))
            kernel.clamp_min_(_LEAST_EXPONENT).exp_()
            smooth = math.exp(-square / (2 * self.smooth_px**2))
            for side in (here, there):
                sums[0][side] += kernel
                sums[1][side] += smooth
            near.append((offset, kernel, smooth))
        scale = sums.rsqrt_()
        for offset, kernel, smooth in near:
            here, there = _pair(offset, size)
            kernel.mul_(scale[0][here]).mul_(scale[0][there]).mul_(self.bilateral_weight)
            kernel.addcmul_(scale[1][here], scale[1][there], value=smooth * self.smooth_weight)
        return [(offset, kernel) for offset, kernel, _ in near]

    def _image(self, probabilities: Tensor, image: Tensor) -> Tensor:
        """Iterate in bands of rows; the halo is as far as anything can reach, so bands change nothing."""
        height = image.shape[1]
        halo = (self.iterations + 1) * self.radius
        bands = []
        for top in range(0, height, _BAND_ROWS):
            bottom = min(top + _BAND_ROWS, height)
            first, last = max(0, top - halo), min(height, bottom + halo)
            field = self._iterate(probabilities[:, first:last], image[:, first:last])
            bands.append(field[:, top - first : bottom - first])
        return torch.cat(bands, dim=1)

    def _iterate(self, probabilities: Tensor, image: Tensor) -> Tensor:
        unary = probabilities.clamp_min(_LEAST).log()
        kernels = self.kernels(image)
        # What all classes receive together is known, so the first class needs no message of its own.
        total = message(kernels, torch.ones_like(unary[:1]))
        field = probabilities
        for _ in range(self.iterations):
            received = message(kernels, field[1:])
            first = total - received.sum(0, keepdim=True)
            field = (unary + torch.cat([first, received])).softmax(0)
        return field


def message(kernels: list[tuple[Offset, Tensor]], field: Tensor) -> Tensor:
    """Return what each pixel hears from all others: sum over j of K(i, j) field(j).

    Args:
        kernels: As ``DenseCrf.kernels`` returns them.
        field: C x H x W.

    Returns:
        C x H x W.
    """
    size = (int(field.shape[1]), int(field.shape[2]))
    received = torch.zeros_like(field)
    for offset, kernel in kernels:
        here, there = ((slice(None), *side) for side in _pair(offset, size))
        received[here].addcmul_(kernel, field[there])
        received[there].addcmul_(kernel, field[here])
    return received


def free_energy(field: Tensor, *, probabilities: Tensor, kernels: list[tuple[Offset, Tensor]]) -> float:
    """Return the mean-field objective: expected energy minus entropy, in nats.

    Args:
        field: C x H x W, sum 1 over C.
        probabilities: C x H x W, the network's.
        kernels: As ``DenseCrf.kernels`` returns them.
    """
    q = field.double()
    unary = -(q * probabilities.double().clamp_min(_LEAST).log()).sum()
    pairs = -0.5 * (q * message(kernels, field).double()).sum()
    return float(unary + pairs + torch.xlogy(q, q).sum())


def _offsets(radius: int, size: tuple[int, int]) -> Iterator[Offset]:
    """Yield one of each two opposite offsets that stay inside the image."""
    rows, columns = min(radius, size[0] - 1), min(radius, size[1] - 1)
    for dy in range(rows + 1):
        for dx in range(-columns, columns + 1):
            if (dy, dx) > (0, 0):
                yield dy, dx


def _pair(offset: Offset, size: tuple[int, int]) -> tuple[Slices, Slices]:
    """Return where the pixels with such a neighbour are, and where these neighbours are."""
    (dy, dx), (height, width) = offset, size
    here = slice(0, height - dy), slice(max(0, -dx), width - max(0, dx))
    there = slice(dy, height), slice(max(0, dx), width - max(0, -dx))
    return here, there
