"""Transforms of kornia.augmentation: drawn sample by sample, applied to image and masks by the same numbers.

kornia draws a whole batch from torch's global generator; here each sample has a generator of its own, so that its
numbers depend on nothing but its seed. They are kornia's own parameters: given back to the transform, they do the same.

A geometric transform is applied to the image together with three further channels: the column and the row of each
pixel, and a one. They come out as the position that each pixel was read from, and how much of it lies inside the
image; so every mask is read once, nearest, at the very place of the image, whatever the transform does by itself with
masks and with what comes in from outside.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from kornia.augmentation import AugmentationBase2D, IntensityAugmentationBase2D
from torch import Tensor
from torch.overrides import TorchFunctionMode

from maskline.augment import soft_planes
from maskline.core.errors import TrainingError
from maskline.runtime.torch_seeds import torch_generator

_DRAWING = frozenset(
    {
        torch.rand,
        torch.randn,
        torch.randint,
        torch.randperm,
        torch.normal,
        torch.bernoulli,
        torch.multinomial,
        torch._standard_gamma,
        torch._sample_dirichlet,
        Tensor.uniform_,
        Tensor.normal_,
        Tensor.random_,
        Tensor.bernoulli_,
        Tensor.exponential_,
    }
)
_LARGEST_WRITTEN = 64  # numbers of one parameter; larger ones are fields, and follow from the seed
# Those that read one number for the whole batch, or parameters whose shapes differ: one sample at a time everywhere.
ALONE = frozenset(
    {"ColorJiggle", "ColorJitter", "RandomChannelDropout", "RandomClahe", "RandomMotionBlur", "RandomRain"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Extra:
    """What one transform does to one sample. Plain numbers, so that it can be written as JSON and replayed.

    Args:
        name: Of the class.
        seed: Of the sample's generator.
        happens: Whether it is applied.
        params: kornia's own parameters of it, as lists; fields of the size of the image are left out, for they follow
            from the seed.
    """

    name: str
    seed: int
    happens: bool
    params: dict[str, Any]

    def in_words(self) -> str:
        """Return the name with its numbers, where they are few."""
        numbers = [number for value in self.params.values() for number in _flat(value)]
        shown = f" ({', '.join(f'{number:.3g}' for number in numbers)})" if 0 < len(numbers) <= _FEW else ""
        return f"{self.name.removeprefix('Random')}{shown}"


_FEW = 4


class Transform:
    """One row of ``augment.extra``.

    Args:
        name: Of the class in kornia.augmentation.
        module: An object of it.
        channels: Of the images.
        crop_size: Height and width of the images, before and after.
    """

    def __init__(self, name: str, module: AugmentationBase2D, *, channels: int, crop_size: tuple[int, int]) -> None:
        self.name = name
        self._module = module
        self._shape = (1, channels, *crop_size)
        self._moves = not isinstance(module, IntensityAugmentationBase2D)
        self._erases = (
            not self._moves
            and type(module).apply_transform_mask is not IntensityAugmentationBase2D.apply_transform_mask
        )
        drawn = self._drawn(0)
        self._types = {key: value.dtype for key, value in drawn.items()}
        self._given_shape = drawn["forward_input_shape"]  # with what a crop pads before

    def draw(self, seed: int) -> Extra:
        """Draw for one sample.

        Args:
            seed: Of it alone; no generator of torch's own is used.
        """
        drawn = self._drawn(seed)
        happens = bool(drawn.pop("batch_prob") > 0.5)
        drawn.pop("forward_input_shape")
        params = {key: value.tolist() for key, value in drawn.items() if value.numel() <= _LARGEST_WRITTEN}
        return Extra(name=self.name, seed=seed, happens=happens, params=params)

    def apply(
        self, images: Tensor, labels: Sequence[tuple[Tensor, int]], samples: Sequence[Extra], *, fill: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """Apply it to a batch.

        Args:
            images: NCHW float32 gray levels, 0..255; what follows the image's channels is moved with them, and its
                colors stay.
            labels: Masks NHW int64, each with its value outside the image.
            samples: One entry an image.
            fill: C float, gray levels outside.

        Returns:
            Images and masks, of the shapes that they had; images are cut off at 0 and 255 where it happened.

        Raises:
            TrainingError: It has no deterministic form on this device.
        """
        masks = [mask for mask, _ in labels]
        rows = [row for row, sample in enumerate(samples) if sample.happens]
        if not rows:
            return images, masks
        outside = [value for _, value in labels]
        try:
            # On a CPU nothing is computed for samples that it does not happen to, and none depends on its neighbours.
            if images.device.type != "cpu" and self.name not in ALONE:
                params = self._together([self.params(sample) for sample in samples])
                changed, read = self._applied(images, masks, params, outside=outside, fill=fill)
                if len(rows) == len(samples) or self._moves:
                    return changed, read
                return torch.where(_wide(params["batch_prob"] > 0.5, images), changed, images), read
            images, masks = images.clone(), [mask.clone() for mask in masks]
            for row in rows:
                at = slice(row, row + 1)
                own = [mask[at] for mask in masks]
                images[at], own = self._applied(images[at], own, self.params(samples[row]), outside=outside, fill=fill)
                for mask, changed in zip(masks, own, strict=True):
                    mask[at] = changed
        except RuntimeError as error:
            if "deterministic" not in str(error):
                raise
            raise TrainingError(
                f"augment.extra, {self.name}",
                f"it gives other bits each time on {images.device.type} ({str(error).splitlines()[0]})",
                "take the row out, or train on the CPU",
            ) from error
        return images, masks

    def _drawn(self, seed: int) -> dict[str, Tensor]:
        with _OwnNumbers(torch_generator(seed, "kornia")):
            return dict(self._module.forward_parameters(self._shape))

    def params(self, sample: Extra) -> dict[str, Tensor]:
        """Return kornia's parameters of one sample, for the transform's own ``forward``."""
        written = {key: torch.tensor(value, dtype=self._types[key]) for key, value in sample.params.items()}
        drawn = self._drawn(sample.seed) if len(written) + 2 < len(self._types) else {}
        return {
            **drawn,
            **written,
            "batch_prob": torch.full((1,), float(sample.happens)),
            "forward_input_shape": self._given_shape,
        }

    def _together(self, params: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        joined = {key: torch.cat([each[key] for each in params]) for key in params[0]}
        return joined | {"forward_input_shape": torch.tensor((len(params), *self._given_shape[1:].tolist()))}

    def _applied(
        self, images: Tensor, masks: list[Tensor], params: dict[str, Tensor], *, outside: list[int], fill: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """Apply it to images that all have parameters of their own."""
        if not self._moves:
            ones = torch.ones_like(images[:, :1])
            images, planes = soft_planes.apart(images, self._shape[1])
            images = soft_planes.together(self._module(images / 255, params=dict(params)).clamp(0, 1) * 255, planes)
            if self._erases:
                kept = self._module.transform_masks(ones, params, self._module.flags)[:, 0] > 0
                masks = [torch.where(kept, mask, value) for mask, value in zip(masks, outside, strict=True)]
            return images, masks
        shade = fill[None, :, None, None]
        moved = self._module(torch.cat([images - shade, _places(images)], dim=1), params=dict(params))
        count = images.shape[1]
        column, row, inside = moved[:, count:].unbind(1)
        width = images.shape[3]
        near = [
            (place / inside.clamp(min=1e-6)).round_().clamp_(0, side - 1).long()
            for place, side in ((row, images.shape[2]), (column, width))
        ]
        index, reached = (near[0] * width + near[1]).flatten(1), inside >= 0.5
        read = [mask.flatten(1).gather(1, index).view_as(mask) for mask in masks]
        masks = [torch.where(reached, mask, value) for mask, value in zip(read, outside, strict=True)]
        return (moved[:, :count] + shade).clamp_(0, 255), masks


class _OwnNumbers(TorchFunctionMode):
    """Every random number comes from one generator; that of torch is left alone, in this thread and all others."""

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self._generator = generator

    def __torch_function__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in _DRAWING:
            kwargs["generator"] = self._generator
        return func(*args, **kwargs)


def _places(images: Tensor) -> Tensor:
    """Return N3HW: the column and the row of each pixel, and a one."""
    count, _, height, width = images.shape
    places = torch.ones(3, height, width, device=images.device)
    places[0] = torch.arange(width, device=images.device)
    places[1] = torch.arange(height, device=images.device)[:, None]
    return places.expand(count, -1, -1, -1)


def _wide(happens: Tensor, images: Tensor) -> Tensor:
    return happens.view(-1, 1, 1, 1).to(images.device, non_blocking=True)


def _flat(value: Any) -> list[float]:
    return [number for each in value for number in _flat(each)] if isinstance(value, list) else [value]
