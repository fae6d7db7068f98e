"""The augmentation as a fixed series of tensor operations over a whole batch: the form for a GPU.

Everything that was drawn is packed into one buffer with the pixels, and copied at once. What a sample does not do is
an identity or is left out by ``where``: no number is read back, and no operation depends on one. Random fields are
drawn on the CPU, so that the values are those of the CPU's form within float tolerance.

CLAHE alone, and transforms of kornia that know one number for a whole batch, go sample by sample.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import kornia.enhance
import numpy as np
import torch
from kornia.filters import filter2d_separable, get_gaussian_kernel1d
from torch import Tensor

from maskline.augment import color_matrix, deform, soft_planes
from maskline.augment.hsv import SHADES, hsv_to_rgb, rgb_to_hsv
from maskline.augment.packed import Packed
from maskline.augment.pixel_ops import LUMA
from maskline.augment.sample import Augmented, RegionBatch
from maskline.augment.warp import Reading, warp
from maskline.runtime.torch_seeds import torch_generator

if TYPE_CHECKING:
    from maskline.augment.color_jitter import ColorJitter
    from maskline.augment.mixing import Mixing
    from maskline.augment.pipeline import Augmentation
    from maskline.augment.pixel_ops import PixelOps

_KINDS = ("brightness", "contrast", "saturation", "hue")


@dataclass(frozen=True, slots=True)
class FixedBatch:
    """A batch that is packed, here or on a device.

    Args:
        source: What it was packed from.
        packed: All that the operations read.
    """

    source: RegionBatch
    packed: Packed

    def to(self, device: torch.device) -> FixedBatch:
        """Return it on a device."""
        return FixedBatch(self.source, self.packed.to(device))


def pack(settings: Augmentation, batch: RegionBatch, *, pinned: bool = False) -> FixedBatch:
    """Turn a batch of regions and draws into one buffer.

    Args:
        settings: Whose operations are switched on.
        batch: On the CPU, or with its source on a device.
        pinned: Into memory from which a GPU copies by itself.
    """
    numbers = {
        "transforms": batch.transforms,
        "boxes": batch.boxes,
        "sizes": batch.sizes,
        "fill": torch.tensor(settings.fill),
        "mean": torch.tensor(settings.mean),
        "std": torch.tensor(settings.std),
        **{f"pixels {name}": tensor for name, tensor in _pixels(batch).items()},
        **_warp_numbers(settings, batch),
        **_color_numbers(settings, batch),
        **_effect_numbers(settings, batch),
        **_mix_numbers(settings, batch),
    }
    return FixedBatch(batch, Packed.of(numbers, pinned=pinned))


def apply(settings: Augmentation, batch: FixedBatch) -> Augmented:
    """Make what the network sees, where the batch is."""
    source, given = batch.source, batch.packed.tensors()
    fill = given["fill"]
    pixels = _resident_or_copied(source, given)
    annotations = (
        (pixels["masks"], settings.ignore_index),
        (pixels.get("valid"), 0),
        (pixels.get("second"), settings.ignore_index),
    )
    masks = [(mask, value) for mask, value in annotations if mask is not None]
    reading = _reading(settings, given)
    room = soft_planes.with_room(fill, pixels["images"])
    images, labels, beyond = warp(pixels["images"], masks, reading, fill=room, fixed=True)
    images, planes = soft_planes.apart(images, len(fill))
    images = soft_planes.together(_recolored(settings, images, given, source, outside=beyond), planes)
    outside = [value for _, value in masks]
    for number, transform in enumerate(settings.extra):
        samples = [draw.extra[number] for draw in source.draws if draw.extra is not None]
        images, labels = transform.apply(images, list(zip(labels, outside, strict=True)), samples, fill=room)
    if settings.mixing is not None:
        images, labels = _lent(settings.mixing, images, labels, given)
    images, planes = soft_planes.apart(images, len(fill))
    if settings.pixel_ops is not None:
        images, labels = _erased(settings.pixel_ops, images, labels, outside, given)
    others, other_planes, share = None, None, 1.0
    mixup = None if source.draws[0].mix is None else source.draws[0].mix.mixup
    if mixup is not None:  # of all samples of the batch, or of none
        partners = given["blend rows"][: source.count]
        share = mixup.share
        others = labels[0].index_select(0, partners)
        other_planes = None if planes is None else planes.index_select(0, partners)
        images = share * images[: source.count] + (1 - share) * images.index_select(0, partners)
    kept = [mask[: source.count] for mask in labels]
    mean, std = given["mean"][:, None, None], given["std"][:, None, None]
    return Augmented(
        images=(images[: source.count] - mean) / std,
        targets=kept[0],
        valid=kept[1] > 0 if "valid" in pixels else None,
        second=kept[-1] if "second" in pixels else None,
        other_targets=others,
        share=share,
        soft=soft_planes.shares(None if planes is None else planes[: source.count]),
        other_soft=soft_planes.shares(other_planes),
    )


def _pixels(batch: RegionBatch) -> dict[str, Tensor]:
    if batch.resident is not None:
        return {"starts": torch.tensor(batch.starts, dtype=torch.int64)}
    parts = {"images": batch.images, "masks": batch.masks, "valid": batch.valid, "second": batch.second}
    return {name: part for name, part in parts.items() if part is not None}


def _resident_or_copied(batch: RegionBatch, given: dict[str, Tensor]) -> dict[str, Tensor]:
    if batch.resident is None:
        return {key.removeprefix("pixels "): part for key, part in given.items() if key.startswith("pixels ")}
    images, masks = batch.resident.cut(given["pixels starts"], given["boxes"], given["sizes"], batch.region_size)
    return {"images": images, "masks": masks}


def _warp_numbers(settings: Augmentation, batch: RegionBatch) -> dict[str, Tensor]:
    if settings.deform is None or not settings.deform.elastic_prob:
        return {}
    rows, columns = (deform.weights(side, settings.deform.spacing_px) for side in settings.crop_size)
    points = np.zeros((len(batch.draws), 2, rows.shape[1], columns.shape[1]))
    for i, draw in enumerate(batch.draws):
        if draw.geometry.bend is not None and draw.geometry.bend.elastic is not None:
            points[i] = deform.points(draw.geometry.bend.elastic, settings.crop_size)
    arrays = {"elastic points": points, "elastic rows": rows, "elastic columns": columns.T}
    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}


def _reading(settings: Augmentation, given: dict[str, Tensor]) -> Reading:
    moved = None
    if "elastic points" in given:
        field = given["elastic rows"] @ given["elastic points"] @ given["elastic columns"]
        moved = field.float().movedim(1, 0)
    return Reading(
        transforms=given["transforms"],
        boxes=given["boxes"],
        sizes=given["sizes"],
        crop_size=settings.crop_size,
        fields={},
        projective=settings.deform is not None and settings.deform.perspective_prob > 0,
        moved=moved,
    )


def _color_numbers(settings: Augmentation, batch: RegionBatch) -> dict[str, Tensor]:
    samples, channels = [draw.photometric for draw in batch.draws], len(settings.mean)
    numbers: dict[str, Tensor] = {}
    if settings.color_jitter is None:
        numbers["colors"] = torch.from_numpy(color_matrix.matrices(samples, channels)).float()
    else:
        numbers |= _step_numbers(batch)
    if settings.blur_prob:
        longest = _kernel_length(settings.blur_sigma[1])
        kernels = torch.zeros(len(samples), longest)
        kernels[:, longest // 2] = 1
        for i, sample in enumerate(samples):
            if sample.blur_sigma > 0:
                length = _kernel_length(sample.blur_sigma)
                start = (longest - length) // 2
                kernels[i, start : start + length] = get_gaussian_kernel1d(length, sample.blur_sigma)[0]
        numbers["blur kernels"] = kernels
        numbers["blurs"] = torch.tensor([sample.blur_sigma > 0 for sample in samples])
    if settings.noise_prob:
        noisy, shape = [sample for sample in samples if sample.noise_std > 0], (channels, *settings.crop_size)
        fields = [torch.randn(shape, generator=torch_generator(sample.noise_seed, "noise")) for sample in noisy]
        slots = np.cumsum([sample.noise_std > 0 for sample in samples]) - 1
        numbers["noise"] = torch.stack(fields or [torch.zeros(shape)])
        numbers["noise rows"] = torch.from_numpy(slots.clip(min=0))
        numbers["noise std"] = torch.tensor([sample.noise_std for sample in samples])
    return numbers


def _step_numbers(batch: RegionBatch) -> dict[str, Tensor]:
    """Return each sample's steps in their order: N4 of the kind, from 1 on, 0 for none, and of the value."""
    kinds, values = torch.zeros(len(batch.draws), 4, dtype=torch.int64), torch.zeros(len(batch.draws), 4)
    for i, draw in enumerate(batch.draws):
        for place, step in enumerate(() if draw.steps is None else draw.steps.steps):
            kinds[i, place], values[i, place] = 1 + _KINDS.index(step.name), step.value
    return {"step kinds": kinds, "step values": values, "shades": torch.tensor(SHADES)}


def _recolored(
    settings: Augmentation, images: Tensor, given: dict[str, Tensor], batch: RegionBatch, *, outside: Tensor
) -> Tensor:
    fill, channels = given["fill"][None, :, None, None], images.shape[1]
    if settings.color_jitter is None:
        colors = given["colors"]
        flat = torch.baddbmm(colors[:, :, channels:], colors[:, :, :channels], images.flatten(2))
        images = flat.view_as(images).clamp_(0, 255)
    elif settings.color_jitter.mode == "mmseg":
        images = torch.where(outside[:, None], fill, _whole_steps(images, given))
    else:
        images = _jittered(settings.color_jitter, images, given)
    if settings.blur_prob:
        kernels = given["blur kernels"]
        border = "reflect" if kernels.shape[1] // 2 < min(images.shape[2:]) else "replicate"
        images = torch.where(_wide(given["blurs"]), filter2d_separable(images, kernels, kernels, border), images)
    if settings.noise_prob:
        noise = given["noise"].index_select(0, given["noise rows"])
        images = (images + _wide(given["noise std"]) * noise).clamp_(0, 255)
    return images if settings.pixel_ops is None else _effects(settings.pixel_ops, images, given, batch)


def _whole_steps(images: Tensor, given: dict[str, Tensor]) -> Tensor:
    """MMSegmentation's: brightness, contrast, saturation, hue, or the contrast last."""
    images = images.round()
    kinds, values = given["step kinds"], given["step values"]
    last = (kinds == 2).cumsum(1).flip(1).cumsum(1).flip(1) * ((kinds == 3) | (kinds == 4)).cumsum(1)
    is_last = ((kinds == 2) & (last > 0)).any(1)

    def changed(kind: int, image: Tensor, *, only: Tensor | None = None) -> Tensor:
        chosen = kinds == kind
        value = _wide((chosen * values).sum(1))
        happens = chosen.any(1) if only is None else chosen.any(1) & only
        return torch.where(_wide(happens), _whole_step(kind, image, value, given["shades"]), image)

    images = changed(1, images)
    images = changed(2, images, only=~is_last)
    if images.shape[1] == 3:
        images = changed(4, changed(3, images))
    return changed(2, images, only=is_last)


def _whole_step(kind: int, image: Tensor, value: Tensor, shades: Tensor) -> Tensor:
    if kind == 1:
        return (image + value).clamp(0, 255).floor()
    if kind == 2:
        return (image * value).clamp(0, 255).floor()
    hue, saturation, bright = rgb_to_hsv(image).unbind(1)
    if kind == 3:
        saturation = (saturation.float() * value[:, 0]).clamp(0, 255).floor().long()
    else:
        hue = (hue + value[:, 0].long()) % 180
    return hsv_to_rgb(torch.stack([hue, saturation, bright], dim=1), shades)


def _jittered(jitter: ColorJitter, images: Tensor, given: dict[str, Tensor]) -> Tensor:
    """torchvision's, in the order of each sample."""
    kinds, values = given["step kinds"], given["step values"]
    colorful = images.shape[1] == 3
    for place in range(4):
        image = images / 255
        for kind in (1, 2, 3, 4) if colorful else (1, 2):
            value = _wide(values[:, place])
            gray = _gray(image)
            if kind == 1:
                changed = image * value
            elif kind == 4:
                changed = kornia.enhance.adjust_hue(image, values[:, place] * (math.pi / 180))
            else:
                middle = gray.mean((1, 2, 3), keepdim=True) if kind == 2 else gray
                changed = middle + (image - middle) * value
            images = torch.where(_wide(kinds[:, place] == kind), changed.clamp(0, 1) * 255, images)
    return images


def _gray(image: Tensor) -> Tensor:
    if image.shape[1] != 3:
        return image.mean(1, keepdim=True)
    return LUMA[0] * image[:, 0:1] + LUMA[1] * image[:, 1:2] + LUMA[2] * image[:, 2:3]


def _effect_numbers(settings: Augmentation, batch: RegionBatch) -> dict[str, Tensor]:
    effects = [draw.effect for draw in batch.draws if draw.effect is not None]
    if settings.pixel_ops is None:
        return {}
    nowhere = ((0, 0, 0, 0),) * settings.pixel_ops.erase_count
    channels = range(len(settings.mean))
    return {
        "gammas": torch.tensor([1.0 if each.gamma is None else each.gamma for each in effects]),
        "darkens": torch.tensor([each.gamma is not None for each in effects]),
        "grays": torch.tensor([each.grayscale for each in effects]),
        "lost": torch.tensor([[each.lost_channel == channel for channel in channels] for each in effects]),
        "erased": torch.tensor([each.erased or nowhere for each in effects]),
    }


def _effects(settings: PixelOps, images: Tensor, given: dict[str, Tensor], batch: RegionBatch) -> Tensor:
    if settings.clahe_prob:
        tiles = (settings.clahe_tiles, settings.clahe_tiles)
        for i, draw in enumerate(batch.draws):
            if draw.effect is not None and draw.effect.clahe_clip is not None:
                scaled = (images[i] / 255).clamp(0, 1)
                images[i] = kornia.enhance.equalize_clahe(scaled, draw.effect.clahe_clip, tiles).clamp(0, 1) * 255
    if settings.gamma_prob:
        changed = (images / 255).clamp(0, 1).pow(_wide(given["gammas"])) * 255
        images = torch.where(_wide(given["darkens"]), changed, images)
    if settings.grayscale_prob and images.shape[1] == 3:
        images = torch.where(_wide(given["grays"]), _gray(images), images)
    if settings.channel_dropout_prob:
        images = torch.where(given["lost"][:, :, None, None], given["fill"][None, :, None, None], images)
    return images


def _erased(
    settings: PixelOps, images: Tensor, labels: list[Tensor], outside: list[int], given: dict[str, Tensor]
) -> tuple[Tensor, list[Tensor]]:
    if not settings.erase_prob:
        return images, labels
    inside = _within(given["erased"], images.shape[2], images.shape[3]).any(1)
    images = torch.where(inside[:, None], given["fill"][None, :, None, None], images)
    if settings.erase_labels == "ignore":
        labels = [torch.where(inside, value, mask) for mask, value in zip(labels, outside, strict=True)]
    return images, labels


def _mix_numbers(settings: Augmentation, batch: RegionBatch) -> dict[str, Tensor]:
    if settings.mixing is None:
        return {}
    rows = {position: row for row, position in enumerate(batch.positions)}
    mixes = [draw.mix for draw in batch.draws if draw.mix is not None]
    counts = range(len(settings.mixing.classes) + 1)
    copies, cuts, blends = ([getattr(mix, name) for mix in mixes] for name in ("copy_paste", "cutmix", "mixup"))

    def lenders(parts: list[object]) -> Tensor:
        return torch.tensor([0 if part is None else rows[getattr(part, "partner")] for part in parts])  # noqa: B009

    return {
        "copies": torch.tensor([each is not None for each in copies]),
        "copy rows": lenders(copies),
        # Which of the classes that are there, for each number of them.
        "copy choices": torch.tensor(
            [[0 if each is None else int(each.choice * count) for count in counts] for each in copies]
        ),
        "cut rows": lenders(cuts),
        "cut boxes": torch.tensor([(0, 0, 0, 0) if each is None else each.box for each in cuts]),
        "blend rows": lenders(blends),
    }


def _lent(
    settings: Mixing, images: Tensor, labels: list[Tensor], given: dict[str, Tensor]
) -> tuple[Tensor, list[Tensor]]:
    taken = []
    if settings.copy_paste_prob:
        rows = given["copy rows"]
        lent = labels[0].index_select(0, rows)
        present = torch.stack([(lent == each).flatten(1).any(1) for each in settings.classes], dim=1).long()
        wanted = given["copy choices"].gather(1, present.sum(1, keepdim=True))
        chosen = (present > 0) & (present.cumsum(1) - 1 == wanted) & given["copies"][:, None]
        laid = torch.zeros_like(lent, dtype=torch.bool)
        for number, each in enumerate(settings.classes):
            laid |= (lent == each) & chosen[:, number, None, None]
        taken.append((laid, rows))
    if settings.cutmix_prob:
        taken.append((_within(given["cut boxes"][:, None], *images.shape[2:])[:, 0], given["cut rows"]))
    own_images, own_labels = images, labels  # lent before any sample has borrowed
    for laid, rows in taken:
        images = torch.where(laid[:, None], own_images.index_select(0, rows), images)
        labels = [
            torch.where(laid, own.index_select(0, rows), mask) for own, mask in zip(own_labels, labels, strict=True)
        ]
    return images, labels


def _within(boxes: Tensor, height: int, width: int) -> Tensor:
    """Return for boxes NK4 which pixels lie in each: NKHW bool."""
    rows, columns = torch.arange(height, device=boxes.device), torch.arange(width, device=boxes.device)
    top, left, bottom, right = boxes[..., None].unbind(2)
    return ((rows >= top) & (rows < bottom))[..., None] & ((columns >= left) & (columns < right))[..., None, :]


def _wide(values: Tensor) -> Tensor:
    return values[:, None, None, None]


def _kernel_length(sigma: float) -> int:
    return 2 * math.ceil(3 * sigma) + 1
