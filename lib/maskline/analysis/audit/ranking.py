"""Which images and regions to look at first: each kind of evidence against what is usual in the set."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskline.analysis.audit.evidence import Evidence
from maskline.analysis.audit.regions import OUTLINE, Region

SHIFTED, SWAPPED, INVERTED, UNSURE = "shifted", "swapped classes", "inverted", "low label quality"

# Least deviation of each kind of evidence, in its own unit: in a set without noise every trifle would stand out.
_LEAST_DEVIATION = {"quality": 0.01, "shift": 0.03, "swap": 0.02}
# A shift by fewer pixels is how outlines are drawn.
_LEAST_STEP_PX = 2
# Evidence that is so far above the set's median is named as a reason, in deviations; the strongest from one on.
_NAMED = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredRegion:
    """A region with its place in the ranking.

    Args:
        image: Position of its image in the sequence that was ranked.
        region: The region.
        score: 0..1; margin x root of its share of the image x how unusual this confusion of classes is in the set.
    """

    image: int
    region: Region
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """An image with its place in the ranking.

    Args:
        image: Position in the sequence that was ranked.
        score: How far the strongest evidence is above the set's median, in robust standard deviations.
        reasons: What it looks like, the strongest first; one at least.
        evidence: All that is known.
        regions: Its regions, the highest score first.
    """

    image: int
    score: float
    reasons: tuple[str, ...]
    evidence: Evidence
    regions: tuple[ScoredRegion, ...]


def rank(evidence: Sequence[Evidence]) -> list[Finding]:
    """Return all images, those whose labels are most likely wrong first.

    Evidence are the label quality, the share of the disagreement that goes when the labels are moved, and what is
    gained when two classes are exchanged. Each is taken against the set: value less median, over 1.4826 x the median
    absolute deviation; the largest of an image counts. So a set of hard images, and a network that is sure of nothing,
    have their own measure. Regions do not count here: with them, tools.planted_errors found no more.

    Args:
        evidence: One an image.
    """
    if not evidence:
        return []
    total = np.zeros((evidence[0].num_classes,) * 2)
    for one in evidence:
        total[one.present] += one.sums
    regions = [_scored(place, one, unusual_pairs(total, one.confusion)) for place, one in enumerate(evidence)]
    values = {
        "quality": [0.0 if np.isnan(one.quality) else 1 - one.quality for one in evidence],
        "shift": [_explained_by_shift(one) for one in evidence],
        "swap": [one.swap.gain if one.swap else 0.0 for one in evidence],
    }
    far = {name: _deviations(of, _LEAST_DEVIATION[name]) for name, of in values.items()}
    findings = [
        Finding(
            image=place,
            score=max(float(deviations[place]) for deviations in far.values()),
            reasons=_reasons(one, {name: float(deviations[place]) for name, deviations in far.items()}, regions[place]),
            evidence=one,
            regions=tuple(regions[place]),
        )
        for place, one in enumerate(evidence)
    ]
    return sorted(findings, key=lambda finding: (-finding.score, finding.image))


def unusual_pairs(total: NDArray[np.float64], own: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return C x C: how unusual it is in all other images that pixels of one class are predicted as another.

    0: what the models mostly make of this class; 1: what they never do. So a class that the models cannot see raises no
    alarm. It is the class-conditional noise of confident learning (Northcutt et al., 2021), without the image itself.

    Args:
        total: Sums of all images, as ``soft_confusion`` gives them.
        own: Those of the image.
    """
    others = np.maximum(total - own, 0)
    shares = others / np.maximum(others.sum(1, keepdims=True), 1e-9)
    unusual: NDArray[np.float64] = 1 - shares / np.maximum(shares.max(1, keepdims=True), 1e-9)
    return unusual


def _scored(place: int, one: Evidence, unusual: NDArray[np.float64]) -> list[ScoredRegion]:
    pixels = max(one.pixels, 1.0)
    scored = [
        ScoredRegion(
            image=place,
            region=region,
            score=float(region.margin * np.sqrt(region.area_px / pixels) * unusual[region.given, region.predicted]),
        )
        for region in one.regions
    ]
    return sorted(scored, key=lambda each: -each.score)


def _explained_by_shift(one: Evidence) -> float:
    """Return the share of the disagreement that goes when the labels are moved."""
    if max(map(abs, one.shift.step)) < _LEAST_STEP_PX:
        return 0.0
    return one.shift.gain / (1 - one.agreement + 0.02)


def _deviations(values: Sequence[float], least: float) -> NDArray[np.float64]:
    numbers = np.asarray(values, dtype=np.float64)
    median = np.median(numbers)
    deviation = max(1.4826 * float(np.median(np.abs(numbers - median))), least)
    deviations: NDArray[np.float64] = (numbers - median) / deviation
    return deviations


def _reasons(one: Evidence, far: dict[str, float], regions: Sequence[ScoredRegion]) -> tuple[str, ...]:
    """Return what stands out in the whole image, and what its most suspicious region looks like."""
    texts = {"shift": SHIFTED, "swap": INVERTED if one.num_classes == 2 else SWAPPED}
    first = max(far.values())
    ordered = sorted(texts, key=lambda name: -far[name])
    whole = [texts[name] for name in ordered if far[name] >= _NAMED or 1 <= far[name] == first]
    objects = [each.region.reason for each in regions if each.region.reason != OUTLINE]
    if INVERTED in whole:  # then every object is wrong, and the labels need no moving
        return (INVERTED,)
    return (*whole, *(objects[:1] if objects else [each.region.reason for each in regions[:1]])) or (UNSURE,)
