"""The one warp of a sample: images bilinear, labels nearest, by the same positions.

Where a position lies outside the source, an image gets the fill value and a mask its own value for that. Inside,
positions beyond the centres of the outermost pixels repeat those pixels, as a resize does.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

_EXACT = 2**24  # whole numbers below it are exact in float32
_CACHED_PX = 2**17


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Where each output pixel of a batch reads.

    Args:
        transforms: N33 float32, output pixel to source pixel (of the whole source, not of the region).
        boxes: N4 float32, top, left, bottom, right of each region in its source.
        sizes: N2 float32, height and width of each source.
        crop_size: Height and width of the output.
        fields: Elastic deformations by row of the batch.
        projective: Whether any of the transforms has a perspective.
        moved: Elastic deformations of all rows, 2NHW, in place of ``fields``.
    """

    transforms: Tensor
    boxes: Tensor
    sizes: Tensor
    crop_size: tuple[int, int]
    fields: dict[int, Tensor]
    projective: bool
    moved: Tensor | None = None

    def part(self, rows: slice) -> "Reading":
        """Return that of some rows of the batch."""
        fields = {row - rows.start: field for row, field in self.fields.items() if rows.start <= row < rows.stop}
        boxes, sizes = self.boxes[rows], self.sizes[rows]
        return replace(self, transforms=self.transforms[rows], boxes=boxes, sizes=sizes, fields=fields)


def warp(
    images: Tensor, labels: Sequence[tuple[Tensor, int]], reading: Reading, *, fill: Tensor, fixed: bool = False
) -> tuple[Tensor, list[Tensor], Tensor]:
    """Resample a batch of source regions: images bilinear, labels nearest.

    Args:
        images: NCHW uint8 or float; regions of the sources, padded on the right and bottom to one size.
        labels: Masks NHW, integers, of the same regions; each with its value outside the source.
        reading: From where.
        fill: C float, value of the images outside the source.
        fixed: The whole batch at once, by operations that depend on no value and read none back: for a GPU.

    Returns:
        Images NCHW float32; the masks NHW int64; NHW bool, where the source does not reach.
    """
    count, size, device = len(images), reading.crop_size, images.device
    if fixed:
        return _warp_at_once(images, labels, reading, fill=fill)
    warped = torch.empty(count, images.shape[1], *size, device=device)
    picked = [torch.empty(count, *size, dtype=torch.int64, device=device) for _ in labels]
    outside = torch.empty(count, *size, dtype=torch.bool, device=device)
    # So few samples that their numbers stay in the CPU's cache from step to step, at least one a thread.
    step = max(torch.get_num_threads(), _CACHED_PX // (size[0] * size[1]))
    for start in range(0, count, step):
        rows = slice(start, min(start + step, count))
        grid, index = _places(reading.part(rows), outside[rows], (images.shape[2], images.shape[3]))
        warped[rows] = F.grid_sample(
            images[rows].float(), grid, mode="bilinear", padding_mode="border", align_corners=False
        )
        for made, (masks, _) in zip(picked, labels, strict=True):
            made[rows] = masks[rows].flatten(1).gather(1, index.flatten(1)).view_as(index)
        if bool(outside[rows].any()):
            for channel, value in enumerate(fill):
                warped[rows, channel].masked_fill_(outside[rows], value)
            for made, (_, number) in zip(picked, labels, strict=True):
                made[rows].masked_fill_(outside[rows], number)
    return warped, picked, outside


def _warp_at_once(
    images: Tensor, labels: Sequence[tuple[Tensor, int]], reading: Reading, *, fill: Tensor
) -> tuple[Tensor, list[Tensor], Tensor]:
    outside = torch.empty(len(images), *reading.crop_size, dtype=torch.bool, device=images.device)
    grid, index = _places(reading, outside, (images.shape[2], images.shape[3]))
    warped = F.grid_sample(images.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)
    picked = [masks.flatten(1).gather(1, index.flatten(1)).view_as(index).long() for masks, _ in labels]
    warped = torch.where(outside[:, None], fill[None, :, None, None], warped)
    return warped, [torch.where(outside, value, mask) for mask, (_, value) in zip(picked, labels, strict=True)], outside


def _places(reading: Reading, outside: Tensor, region_size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Fill ``outside`` (NHW); return the places for ``grid_sample`` (NHW2) and the nearest pixels (NHW int64)."""
    x, y = _source_positions(reading)
    limits = reading.sizes[:, :, None, None] - 0.5
    # How far a position lies beyond the source; a sum and one comparison cost less than four comparisons.
    beyond = (x - x.clamp(min=-0.5).minimum(limits[:, 1])).abs_()
    beyond += (y - y.clamp(min=-0.5).minimum(limits[:, 0])).abs_()
    torch.gt(beyond, 0, out=outside)
    top, left, bottom, right = (reading.boxes[:, i, None, None] for i in range(4))
    # Within the region: its edge is the source's edge wherever a position inside the source lies beyond it.
    torch.minimum(torch.maximum(x, left, out=x), right - 1, out=x)
    torch.minimum(torch.maximum(y, top, out=y), bottom - 1, out=y)
    # Rounded in the source's own coordinates, so that a tie falls the same way whatever the region.
    column, row = (x + 0.5).floor_().sub_(left), (y + 0.5).floor_().sub_(top)
    height, width = region_size
    grid = torch.empty(len(x), 2, *x.shape[1:], device=x.device)  # an axis in one piece is written and read faster
    torch.sub(x.sub_(left).mul_(2).add_(1).div_(width), 1, out=grid[:, 0])
    torch.sub(y.sub_(top).mul_(2).add_(1).div_(height), 1, out=grid[:, 1])
    exact = height * width < _EXACT
    index = row.mul_(width).add_(column).long() if exact else row.long().mul_(width).add_(column.long())
    return grid.movedim(1, -1), index


def _source_positions(reading: Reading) -> tuple[Tensor, Tensor]:
    height, width = reading.crop_size
    rows = torch.arange(height, dtype=torch.float32, device=reading.transforms.device)[None, :, None]
    columns = torch.arange(width, dtype=torch.float32, device=reading.transforms.device)[None, None, :]
    if reading.fields:
        moved = torch.zeros(2, len(reading.transforms), height, width, device=rows.device)
        for i, field in reading.fields.items():
            moved[:, i] = field
        columns, rows = columns + moved[0], rows + moved[1]
    if reading.moved is not None:
        columns, rows = columns + reading.moved[0], rows + reading.moved[1]
    a = reading.transforms[:, :, :, None, None]
    x = (a[:, 0, 0] * columns + a[:, 0, 1] * rows).add_(a[:, 0, 2])
    y = (a[:, 1, 0] * columns + a[:, 1, 1] * rows).add_(a[:, 1, 2])
    if reading.projective:  # the depth of a sample without perspective is 1: its positions stay the same
        depth = (a[:, 2, 0] * columns + a[:, 2, 1] * rows).add_(a[:, 2, 2])
        x, y = x.div_(depth), y.div_(depth)
    return x, y
