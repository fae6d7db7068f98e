"""The confusion matrix in words and shades, for the page."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]

# Above this share a cell is so dark that its text must be light.
_DARK = 0.55


def matrix_rows(confusion: Counts, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return for each actual class its name and cells: heat (share of the class), texts, what the cell says.

    Args:
        confusion: C x C counts, rows actual.
        names: Of the C classes.
    """
    rows = []
    for i, actual in enumerate(names):
        total = int(confusion[i].sum())
        cells = [_cell(int(confusion[i, j]), total, actual, predicted) for j, predicted in enumerate(names)]
        rows.append({"name": actual, "cells": cells, "first": i == 0})
    return rows


def largest_confusions(confusion: Counts, names: Sequence[str], *, number: int) -> list[dict[str, str]]:
    """Return the largest cells off the diagonal, by their share of the actual class.

    Args:
        confusion: C x C counts, rows actual.
        names: Of the C classes.
        number: How many at most.
    """
    shares = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    np.fill_diagonal(shares, 0)
    order = np.argsort(-shares, axis=None, kind="stable")[:number]
    cells = [divmod(int(place), len(names)) for place in order]
    return [
        {
            "actual": names[i],
            "predicted": names[j],
            "share": share_text(float(shares[i, j])),
            "pixels": f"{int(confusion[i, j]):,}",
        }
        for i, j in cells
        if shares[i, j] > 0
    ]


def share_text(value: float) -> str:
    """Return a share as per cent, with more digits the smaller it is."""
    percent = 100 * value
    if 0 < percent < 0.01:
        return "<0.01 %"
    return f"{percent:.2f} %" if percent < 10 else f"{percent:.1f} %"


def _cell(pixels: int, total: int, actual: str, predicted: str) -> dict[str, Any]:
    share = pixels / total if total else 0.0
    text = share_text(share) if total else "n/a"
    return {
        "heat": f"{share:.3f}",
        "dark": share > _DARK,
        "share": text,
        "pixels": f"{pixels:,}",
        "says": f"{actual} predicted as {predicted}: {pixels:,} pixels, {text} of {actual}",
    }
