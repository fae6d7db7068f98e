"""Which images to look at, and their images: the best, the median and the worst of an evaluation."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from maskline.data.labels import LabelSet
from maskline.evaluation.page import layers
from maskline.evaluation.page.tables import Row, ranking_name, ranking_score
from maskline.evaluation.scoring import ImageScore, Split, labels_to_score

# In git, so small; the page is cached by DVC and may hold more.
_FILE_PX = 640
_FILE_BYTES = 120_000
_PAGE_PX = 960
_PAGE_QUALITY = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """An image chosen for the gallery.

    Args:
        index: Position in the split.
        kind: worst, median or best.
        rank: 1 for the most extreme of its kind, or the lowest of the median ones.
    """

    index: int
    kind: str
    rank: int

    @property
    def name(self) -> str:
        """File name without ending; the same place in another run has the same name, so that runs compare."""
        return f"{self.kind}_{self.rank:02d}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhibit:
    """A chosen image with all that its images show.

    Args:
        pick: Which image.
        caption: Its place, name and score, one line.
        image: HWC uint8.
        target: Class ids as scored: ignored where nothing counts, HW.
        prediction: Class ids, HW.
    """

    pick: Pick
    caption: str
    image: npt.NDArray[np.uint8]
    target: npt.NDArray[Any]
    prediction: npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class PageImage:
    """The layers of a chosen image for the page.

    Args:
        pick: Which image.
        size: Width and height of the image, px.
        layers: image, truth, prediction, error as ``data:`` addresses, in the order in which they lie.
    """

    pick: Pick
    size: tuple[int, int]
    layers: dict[str, str]


def choose(rows: Sequence[Row], *, each: int) -> list[Pick]:
    """Choose the worst, median and best images by ``ranking_score``, none twice; of few images all are chosen.

    Args:
        rows: One an image, in the split's order.
        each: How many of each kind.

    Returns:
        From worst to best.
    """
    scores = [ranking_score(row) for row in rows]
    order = sorted(
        (index for index, score in enumerate(scores) if not math.isnan(score)),
        key=lambda index: (scores[index], str(rows[index]["id"])),
    )
    share = min(each, -(-len(order) // 3))
    worst = order[:share]
    best = order[max(len(order) - share, share) :]
    middle = order[len(worst) : len(order) - len(best)]
    start = max(0, (len(middle) - each) // 2)
    median = middle[start : start + each]
    return [
        *(Pick(index=index, kind="worst", rank=rank) for rank, index in enumerate(worst, 1)),
        *(Pick(index=index, kind="median", rank=rank) for rank, index in enumerate(median, 1)),
        *(Pick(index=index, kind="best", rank=len(best) - place) for place, index in enumerate(best)),
    ]


def open_exhibits(
    picks: Sequence[Pick],
    rows: Sequence[Row],
    split: Split,
    scores: Sequence[ImageScore],
    *,
    ignore_index: int,
    within_valid: bool,
) -> Iterator[Exhibit]:
    """Yield the chosen images, read anew one at a time, with their predictions.

    Args:
        picks: Which.
        rows: One an image, in the split's order.
        split: The images.
        scores: Their scores and predictions, in the split's order.
        ignore_index: Label of pixels that do not count.
        within_valid: Outside the valid area nothing was scored and no error is shown.
    """
    for pick in picks:
        sample, row = split.sample(pick.index), rows[pick.index]
        target = labels_to_score(sample, ignore_index=ignore_index, within_valid=within_valid)
        yield Exhibit(
            pick=pick,
            caption=f"{pick.kind} {pick.rank} · {row['id']} · {ranking_name(row)} {ranking_score(row):.3f}",
            image=sample.image,
            target=target,
            prediction=scores[pick.index].prediction,
        )


def file_image(exhibit: Exhibit, labels: LabelSet) -> bytes:
    """Return the errors over the darkened image as a small JPEG with caption and legend."""
    return layers.overlay_image(
        exhibit.image,
        exhibit.prediction,
        exhibit.target,
        labels,
        caption=exhibit.caption,
        longest_px=_FILE_PX,
        max_bytes=_FILE_BYTES,
    )


def page_image(exhibit: Exhibit, labels: LabelSet) -> PageImage:
    """Return the layers of an image as ``data:`` addresses, all of one size."""
    image = layers.photo(exhibit.image, longest_px=_PAGE_PX, quality=_PAGE_QUALITY)
    see_through = {
        "truth": layers.class_layer(exhibit.target, labels, longest_px=_PAGE_PX),
        "prediction": layers.class_layer(exhibit.prediction, labels, longest_px=_PAGE_PX),
        "error": layers.error_layer(exhibit.prediction, exhibit.target, labels, longest_px=_PAGE_PX),
    }
    addresses = {name: layers.data_uri(content, kind="png") for name, content in see_through.items()}
    return PageImage(
        pick=exhibit.pick,
        size=(exhibit.image.shape[1], exhibit.image.shape[0]),
        layers={"image": layers.data_uri(image, kind="jpeg"), **addresses},
    )
