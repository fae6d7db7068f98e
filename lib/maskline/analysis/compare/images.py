"""Two evaluations of the same images side by side: from per_image.csv to differences, and their image."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from maskline.analysis.compare.paired_tests import Difference, compare, count_scores, mean_image_scores, to_floats
from maskline.core.errors import DataError
from maskline.core.files import parse_rows
from maskline.core.text import from_cell
from maskline.evaluation.page.tables import COUNTS

_REMEDY = "evaluate both again with this version (dvc repro evaluate)"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageCounts:
    """What per_image.csv holds.

    Args:
        ids: Names of the images.
        groups: Patient, scene; one an image.
        class_keys: C names.
        counts: N x 3 x C pixels right, labelled and predicted.
    """

    ids: list[str]
    groups: list[str]
    class_keys: list[str]
    counts: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All that is compared.

    Args:
        scores: Of the summed pixels, overall and by class.
        image_means: The same scores, each image's by itself, averaged over images.
        images: Name, score of both and difference of each image; Dice of the foreground, or mIoU.
        ranking: What the images' score is.
    """

    scores: list[Difference]
    image_means: list[Difference]
    images: list[dict[str, Any]]
    ranking: str

    def as_dict(self) -> dict[str, Any]:
        """Return plain types."""
        return {
            "scores": [one.as_dict() for one in self.scores],
            "image_means": [one.as_dict() for one in self.image_means],
            "images": self.images,
            "image_score": self.ranking,
        }


def parse(text: str, *, place: str) -> ImageCounts:
    """Read the text of a per_image.csv.

    Raises:
        DataError: It has no counts.
    """
    rows = parse_rows(text, place=place, remedy=_REMEDY)
    prefix = f"{COUNTS[0]}_"
    keys = [name.removeprefix(prefix) for name in (rows[0] if rows else {}) if name.startswith(prefix)]
    if not keys:
        raise DataError(place, "no pixel counts of the classes", _REMEDY)
    try:
        counts = [[[int(row[f"{what}_{key}"]) for key in keys] for what in COUNTS] for row in rows]
        ids, groups = [from_cell(row["id"]) for row in rows], [from_cell(row["group"]) for row in rows]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(place, f"not a table of evaluate ({error})", _REMEDY) from error
    return ImageCounts(ids=ids, groups=groups, class_keys=keys, counts=np.array(counts, dtype=np.int64))


def compare_images(a: ImageCounts, b: ImageCounts, *, resamples: int, seed: int, place: str) -> Comparison:
    """Compare two evaluations.

    Raises:
        DataError: They are not of the same images, classes and labels.
    """
    for what, one, other in (("images", a.ids, b.ids), ("classes", a.class_keys, b.class_keys)):
        if one != other:
            raise DataError(place, f"not the same {what}", "compare runs on the same split and classes")
    if not np.array_equal(a.counts[:, 1], b.counts[:, 1]):
        raise DataError(place, "not the same labels", "compare runs with the same data and evaluate.within_valid")
    first, second = to_floats(a.counts), to_floats(b.counts)
    statistic = partial(count_scores, class_keys=a.class_keys)
    options: dict[str, Any] = {"groups": a.groups, "resamples": resamples, "seed": seed}
    names = list(statistic(first))
    ranking = "foreground.Dice" if "foreground.Dice" in names else "mIoU"
    means = [mean_image_scores(counts, class_keys=a.class_keys) for counts in (first, second)]
    return Comparison(
        scores=compare(first, second, statistic=statistic, **options),
        image_means=compare(*means, statistic=partial(_means, names=names), **options),
        images=_images(a.ids, statistic(first)[ranking], statistic(second)[ranking]),
        ranking=ranking,
    )


def forest_plot(differences: Sequence[Difference], *, a: str, b: str) -> bytes:
    """Return a PNG: a line an interval, a dot a difference, filled where the interval leaves 0 out."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 1.4 + 0.28 * len(differences)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for row, one in enumerate(reversed(differences)):
        if one.low is not None and one.high is not None:
            axes.plot([one.low, one.high], [row, row], color="#0072b2", linewidth=2)
        clear = one.low is not None and one.high is not None and not one.low <= 0 <= one.high
        axes.plot([one.difference], [row], "o", color="#0072b2", markerfacecolor="#0072b2" if clear else "white")
    axes.axvline(0, color="#555555", linewidth=1)
    axes.set_yticks(range(len(differences)), [one.name for one in reversed(differences)])
    axes.set_xlabel(f"{b} minus {a}, 95 % interval")
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=120, metadata={"Software": None})
    return stream.getvalue()


def _means(sums: npt.NDArray[np.float64], *, names: Sequence[str]) -> dict[str, npt.NDArray[np.float64]]:
    """Return the mean over images of each score: sum of values over number of defined ones."""
    values, defined = sums[..., 0, :], sums[..., 1, :]
    means = np.divide(values, defined, out=np.full(values.shape, np.nan), where=defined > 0)
    return {name: means[..., i] for i, name in enumerate(names)}


def _images(
    ids: Sequence[str], first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]
) -> list[dict[str, Any]]:
    """Return the images, those that changed most first; an image without a score has None."""
    rows = []
    for name, one, other in zip(ids, first, second, strict=True):
        undefined = bool(np.isnan(one) or np.isnan(other))
        pair = (None, None) if undefined else (round(float(one), 6), round(float(other), 6))
        difference = None if undefined else round(float(other - one), 6)
        rows.append({"id": name, "a": pair[0], "b": pair[1], "difference": difference})
    return sorted(rows, key=lambda row: (-abs(row["difference"] or 0.0), str(row["id"])))
