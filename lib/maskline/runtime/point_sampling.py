"""Values of maps at points between their pixels, and which points a loss looks at.

Points are x and y from 0 to 1 across a map, (N, P, 2).

Source: Kirillov et al., "PointRend: Image Segmentation as Rendering", 2020.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from maskline.runtime import gpu_forms


def sample_points(x: Tensor, points: Tensor, *, align_corners: bool) -> Tensor:
    """Return values (N, C, P) of ``x`` (NCHW) at points (N, P, 2), x and y from 0 to 1, bilinear, zero outside."""
    # In bfloat16 a coordinate would have 8 bits.
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32
    if gpu_forms.deterministic(x) and x.requires_grad and torch.is_grad_enabled():
        return _sampled(x.to(wide), points.to(wide), align_corners=align_corners).to(x.dtype)
    grid = (2 * points.to(wide) - 1).unsqueeze(2)
    sampled = F.grid_sample(x.to(wide), grid, mode="bilinear", padding_mode="zeros", align_corners=align_corners)
    return sampled.squeeze(3).to(x.dtype)


def corners(points: Tensor, size: tuple[int, int], *, align_corners: bool) -> list[tuple[Tensor, Tensor]]:
    """Return the four pixels around each point: index in the flat map, int64, and share, 0 outside of the map.

    Args:
        points: (N, P, 2), float.
        size: Height and width of the map, px.
        align_corners: Whether 0 and 1 are the centers of the outermost pixels, or their outer edges.
    """
    height, width = size
    less = 1.0 if align_corners else 0.0
    shift = 0.0 if align_corners else -0.5
    across, down = (points[..., i] * (length - less) + shift for i, length in ((0, width), (1, height)))
    left, top = across.floor(), down.floor()
    parts = []
    for column, row in ((left, top), (left + 1, top), (left, top + 1), (left + 1, top + 1)):
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        share = (1 - (across - column).abs()) * (1 - (down - row).abs()) * inside
        index = (row.clamp(0, height - 1) * width + column.clamp(0, width - 1)).long()
        parts.append((index, share))
    return parts


def draw_points(
    doubt: Callable[[Tensor], Tensor], *, rows: int, count: int, oversample: float, uncertain_share: float, like: Tensor
) -> Tensor:
    """Draw points (rows, count, 2) from torch's generator: the most uncertain candidates, then random ones.

    Args:
        doubt: Maps points (rows, P, 2) to how uncertain the prediction is there, (rows, P).
        rows: Maps that get points of their own.
        count: Points of each.
        oversample: Candidates per chosen point.
        uncertain_share: Share of the points that are the most uncertain candidates.
        like: Its device is the points'.
    """
    num_uncertain = int(uncertain_share * count)
    candidates = torch.rand(rows, int(count * oversample), 2, device=like.device)
    index = doubt(candidates).topk(num_uncertain, dim=1).indices
    chosen = candidates.gather(1, index.unsqueeze(2).expand(-1, -1, 2))
    others = torch.rand(rows, count - num_uncertain, 2, device=like.device)
    return torch.cat([chosen, others], dim=1)


def _sampled(x: Tensor, points: Tensor, *, align_corners: bool) -> Tensor:
    """See ``sample_points``: by four gathers, since torch's sampler refuses to be deterministic on a GPU."""
    flat = x.flatten(2)
    parts = [
        flat.gather(2, index.unsqueeze(1).expand(-1, x.shape[1], -1)) * share.unsqueeze(1)
        for index, share in corners(points, (x.shape[2], x.shape[3]), align_corners=align_corners)
    ]
    return torch.stack(parts).sum(0)
