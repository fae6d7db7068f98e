"""The training augmentation: parameters drawn per sample where the image is read, pixels changed on the device.

Each family of operations has random numbers of its own, from (seed, family, iteration, position): switching one on
changes nothing of what the others draw.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from maskline.augment import color_jitter, color_matrix, deform, fixed, geometric, mixing, soft_planes
from maskline.augment.color_jitter import ColorJitter
from maskline.augment.deform import Deform
from maskline.augment.extra import Transform
from maskline.augment.fixed import FixedBatch
from maskline.augment.mixing import Mixing
from maskline.augment.pixel_ops import PixelOps
from maskline.augment.resize import Resize
from maskline.augment.sample import Augmented, Draw, Region, RegionBatch
from maskline.augment.soft_labels import Part
from maskline.augment.warp import Reading, warp
from maskline.core.seeds import derive, numpy_generator
from maskline.runtime.normalize import normalize


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """Settings of the training augmentation; see the ``augment`` section of params.yaml for each.

    Args:
        resize: Scaled size before the crop.
        deform, color_jitter, pixel_ops, mixing: Families of operations; None: nothing of the kind is switched on.
        fill: Gray levels outside the source, one a channel.
        within_valid: Pixels outside an image's valid area are ignored.
        class_crop: Probability that a crop is laid over a pixel of a drawn class.
        extra: Transforms of kornia, in their order, after all operations on colors.
    """

    crop_size: tuple[int, int]
    resize: Resize
    cat_max_ratio: float
    class_crop: float
    rotate_degrees: float
    flip_horizontal: float
    flip_vertical: float
    deform: Deform | None
    photometric_prob: float
    brightness: float
    contrast: tuple[float, float]
    saturation: tuple[float, float]
    hue_degrees: float
    color_jitter: ColorJitter | None
    blur_prob: float
    blur_sigma: tuple[float, float]
    noise_prob: float
    noise_std: float
    pixel_ops: PixelOps | None
    mixing: Mixing | None
    fill: tuple[float, ...]
    within_valid: bool
    ignore_index: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    extra: tuple[Transform, ...] = ()

    @property
    def looks_for_classes(self) -> bool:
        """Whether the crop depends on where the classes are."""
        return self.cat_max_ratio < 1 or self.class_crop > 0

    def draw(
        self, mask: np.ndarray, *, seed: int, iteration: int, position: int, index: geometric.Classes | None
    ) -> Draw:
        """Draw one sample's parameters: a function of the mask and (seed, iteration, position) alone.

        Args:
            mask: HW class ids.
            seed: The run's seed.
            iteration: Where in training the sample stands.
            position: Where in that iteration's batch.
            index: Of the mask, where ``looks_for_classes``; without it, no crop is laid over a class.
        """

        def family(name: str) -> np.random.Generator:
            return numpy_generator(seed, f"augment {name}", iteration, position)

        rng = numpy_generator(seed, "augment", iteration, position)
        geometry = self._draw_geometry(rng, mask, index, extra=partial(family, "resize"))
        if self.class_crop and index is not None and index.classes:
            aim = family("class crop")
            if aim.random() < self.class_crop:
                geometry = geometric.aimed(geometry, aim, mask, index, crop_size=self.crop_size)
        colors = color_matrix.draw(
            rng,
            prob=self.photometric_prob if self.color_jitter is None else 0.0,
            brightness=self.brightness,
            contrast=self.contrast,
            saturation=self.saturation,
            hue_degrees=self.hue_degrees,
            blur_prob=self.blur_prob,
            blur_sigma=self.blur_sigma,
            noise_prob=self.noise_prob,
            noise_std=self.noise_std,
        )
        if self.deform is not None:
            geometry = geometric.bent(geometry, self.deform.draw(family("bend"), self.crop_size))
        return Draw(
            geometry=geometry,
            photometric=colors,
            steps=None if self.color_jitter is None else self.color_jitter.draw(family("steps")),
            effect=None if self.pixel_ops is None else self.pixel_ops.draw(family("effect"), self.crop_size),
            mix=None if self.mixing is None else self.mixing.draw(seed, iteration, position, crop_size=self.crop_size),
            extra=tuple(
                transform.draw(derive(seed, f"augment extra {number}", iteration, position))
                for number, transform in enumerate(self.extra)
            )
            or None,
        )

    def _draw_geometry(
        self,
        rng: np.random.Generator,
        mask: np.ndarray,
        index: geometric.Classes | None,
        *,
        extra: Callable[[], np.random.Generator],
    ) -> geometric.Geometry:
        return geometric.draw(
            rng,
            mask,
            scaled=self.resize.draw(rng, extra, (int(mask.shape[0]), int(mask.shape[1]))),
            crop_size=self.crop_size,
            cat_max_ratio=self.cat_max_ratio,
            rotate_degrees=self.rotate_degrees,
            flip_horizontal=self.flip_horizontal,
            flip_vertical=self.flip_vertical,
            ignore_index=self.ignore_index,
            index=index,
        )

    def target(self, mask: np.ndarray, valid: np.ndarray | None) -> np.ndarray:
        """Return the class ids that training reads: outside the valid area ignored where the settings say so."""
        if valid is None or not self.within_valid:
            return mask
        wide = mask.astype(np.result_type(mask, np.min_scalar_type(self.ignore_index)), copy=False)
        return np.where(valid, wide, wide.dtype.type(self.ignore_index))

    def region(
        self,
        image: np.ndarray,
        mask: np.ndarray,
        draw: Draw,
        *,
        valid: np.ndarray | None,
        second: np.ndarray | None,
        planes: Callable[[Part], np.ndarray] | None = None,
    ) -> Region:
        """Cut out what the sample will read, so that only that travels to the device.

        Args:
            image: HWC uint8, the whole source.
            mask: HW integer class ids.
            draw: From ``draw``.
            valid: HW bool, or None.
            second: HW class ids of a second observer, or None.
            planes: Rows and columns to the soft labels there, HWC uint8, one channel a class, 255 for the whole; None:
                not in this training.
        """
        size = (int(mask.shape[0]), int(mask.shape[1]))
        bend = draw.geometry.bend
        transform = geometric.matrix(draw.geometry, size=size, crop_size=self.crop_size)
        beyond = bend.elastic.magnitude_px if bend is not None and bend.elastic is not None else 0.0
        box = geometric.source_box(transform, size=size, crop_size=self.crop_size, beyond=beyond)
        top, left, bottom, right = box
        part = slice(top, bottom), slice(left, right)
        pixels = image[part]
        return Region(
            image=pixels if planes is None else np.concatenate([pixels, planes(part)], axis=2),
            mask=mask[part],
            valid=None if valid is None else valid[part],
            second=None if second is None else second[part],
            transform=transform,
            box=box,
            size=size,
            draw=draw,
        )

    def apply(self, batch: RegionBatch | FixedBatch, device: torch.device) -> Augmented:
        """Make the batch that the network sees, on the device: image and all masks by the same positions.

        On a CPU what a sample does not do costs nothing. On other devices, and for a batch that is packed already, it
        is a fixed series of operations (``maskline.augment.fixed``).
        """
        if isinstance(batch, FixedBatch):
            if batch.packed.buffer.device.type == device.type:
                return fixed.apply(self, batch)
            batch = batch.source
        if device.type != "cpu":
            return fixed.apply(self, fixed.pack(self, batch).to(device))
        fill = torch.tensor(self.fill)
        images, masks = batch.images, batch.masks
        if batch.resident is not None:
            there, starts = batch.resident.images.device, torch.tensor(batch.starts, dtype=torch.int64)
            places = [each.to(there) for each in (starts, batch.boxes, batch.sizes)]
            cut = batch.resident.cut(places[0], places[1], places[2], batch.region_size)
            images, masks = cut[0].to(device), cut[1].to(device)
        annotations = ((masks, self.ignore_index), (batch.valid, 0), (batch.second, self.ignore_index))
        given = [(each, value) for each, value in annotations if each is not None]
        room = soft_planes.with_room(fill, images)
        images, labels, beyond = warp(images, given, self._reading(batch), fill=room)
        images, planes = soft_planes.apart(images, len(fill))
        images = soft_planes.together(self._recolored(images, batch, outside=beyond, fill=fill), planes)
        outside = [value for _, value in given]
        for number, transform in enumerate(self.extra):
            samples = [draw.extra[number] for draw in batch.draws if draw.extra is not None]
            images, labels = transform.apply(images, list(zip(labels, outside, strict=True)), samples, fill=room)
        rows = {position: row for row, position in enumerate(batch.positions)}
        mixes = [draw.mix for draw in batch.draws if draw.mix is not None]
        if self.mixing is not None:
            self.mixing.paste(images, labels, mixes, rows)
        images, planes = soft_planes.apart(images, len(fill))
        if self.pixel_ops is not None:
            erased = [draw.effect for draw in batch.draws if draw.effect is not None]
            self.pixel_ops.erase(images, list(zip(labels, outside, strict=True)), erased, fill=fill)
        others, other_planes, share = None, None, 1.0
        if any(mix.mixup is not None for mix in mixes):
            images, partners, share = mixing.blend(images, mixes, rows)
            others = labels[0][partners][: batch.count]
            other_planes = None if planes is None else planes[partners][: batch.count]
        kept = [masks[: batch.count] for masks in labels]
        return Augmented(
            images=normalize(images[: batch.count], self.mean, self.std),
            targets=kept[0],
            valid=None if batch.valid is None else kept[1] > 0,
            second=None if batch.second is None else kept[-1],
            other_targets=others,
            share=share,
            soft=soft_planes.shares(None if planes is None else planes[: batch.count]),
            other_soft=soft_planes.shares(other_planes),
        )

    def _reading(self, batch: RegionBatch) -> Reading:
        bends = [(row, draw.geometry.bend) for row, draw in enumerate(batch.draws)]
        fields = {
            row: deform.field(bend.elastic, self.crop_size)
            for row, bend in bends
            if bend is not None and bend.elastic is not None
        }
        return Reading(
            transforms=batch.transforms,
            boxes=batch.boxes,
            sizes=batch.sizes,
            crop_size=self.crop_size,
            fields=fields,
            projective=any(bend is not None and bend.tilt is not None for _, bend in bends),
        )

    def _recolored(self, images: Tensor, batch: RegionBatch, *, outside: Tensor, fill: Tensor) -> Tensor:
        if self.color_jitter is not None:
            images = color_jitter.apply(images, [draw.steps for draw in batch.draws if draw.steps is not None])
            if self.color_jitter.mode == "mmseg":  # it pads last
                images = torch.where(outside[:, None], fill[None, :, None, None], images)
        images = color_matrix.apply(
            images, [draw.photometric for draw in batch.draws], matrix=self.color_jitter is None
        )
        if self.pixel_ops is not None:
            effects = [draw.effect for draw in batch.draws if draw.effect is not None]
            images = self.pixel_ops.recolor(images, effects, fill=fill)
        return images
