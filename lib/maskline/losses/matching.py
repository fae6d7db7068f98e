"""Which query answers for which class of an image: the assignment of least cost.

Source: Carion et al., "End-to-End Object Detection with Transformers", 2020, with scipy's solver.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor


class Matches(NamedTuple):
    """The pairs of all images, in the order of images and queries: three of int64 (M,)."""

    image: Tensor
    query: Tensor
    of_class: Tensor


def assign(costs: Sequence[Tensor], present: Tensor) -> list[Matches]:
    """Return, for each of several layers, the pairs of queries and classes whose costs sum to the least.

    All costs are read from the device in one copy, and all pairs go back in one: the solver is on the CPU. Where an
    image has more classes than there are queries, some go without.

    Args:
        costs: By layer: of each query for each class, float (N, Q, classes).
        present: Which image has which class: 1 or 0, (N, classes), of the same type.
    """
    images, queries, classes = costs[0].shape
    flat = torch.cat([present.flatten(), *(cost.detach().flatten() for cost in costs)]).cpu().numpy()
    held, rest = np.split(flat, [images * classes])
    layers = rest.reshape(len(costs), images, queries, classes)
    pairs = [_pairs(layer, held.reshape(images, classes) > 0) for layer in layers]
    device = costs[0].device
    joined = torch.from_numpy(np.concatenate(pairs, axis=1)).to(device)
    parts = joined.split([part.shape[1] for part in pairs], dim=1)  # type: ignore[no-untyped-call]
    return [Matches(*part) for part in parts]


def _pairs(costs: "np.ndarray", present: "np.ndarray") -> "np.ndarray":
    """Return image, query and class of each pair of one layer, (3, M)."""
    parts = []
    for image, (cost, held) in enumerate(zip(costs, present, strict=True)):
        columns = np.flatnonzero(held)
        # A network that gives nan is told of by its loss.
        query, column = linear_sum_assignment(np.nan_to_num(cost[:, columns]))
        parts.append(np.stack([np.full_like(query, image), query, columns[column]]))
    return np.concatenate(parts, axis=1).astype(np.int64)
