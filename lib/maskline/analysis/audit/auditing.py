"""An audit of labels: every image judged, ranked, and shown."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.progress import track

from maskline.analysis.audit.evidence import Evidence, examine
from maskline.analysis.audit.members import Judged, Part, judge
from maskline.analysis.audit.ranking import Finding, rank
from maskline.data.labels import LabelSet
from maskline.params.evaluate import EvaluateParams


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageName:
    """Which image of a set it is.

    Args:
        id: Of the manifest.
        source: Its file in the data set.
        split: Where it was predicted from.
        size: Height and width, px.
        place: Position of its part, and in the part's split.
    """

    id: str
    source: str
    split: str
    size: tuple[int, int]
    place: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """All images of a set, judged.

    Args:
        labels: The classes.
        images: In the order in which they were judged; findings count in it.
        findings: Those whose labels are most likely wrong first.
    """

    labels: LabelSet
    images: Sequence[ImageName]
    findings: Sequence[Finding]


def audit(params: EvaluateParams, parts: Sequence[Part], *, min_area_px: int | None = None) -> Audit:
    """Judge all images of the parts and rank them.

    Args:
        params: How models are used.
        parts: Of one data set, one at least.
        min_area_px: Smaller regions are left out; None: a 2000th of the image, 16 at least.

    Raises:
        MasklineError: A model or prepared data that cannot be read, or that do not belong together.
    """
    labels = parts[0].split.labels
    images: list[ImageName] = []
    evidence: list[Evidence] = []
    number = sum(len(part.split) for part in parts)
    for one in _tracked(judge(params, parts), number):
        part = parts[one.place[0]]
        images.append(
            ImageName(
                id=one.sample.id,
                source=part.sources[one.sample.id],
                split=part.name,
                size=(one.given.shape[0], one.given.shape[1]),
                place=one.place,
            )
        )
        evidence.append(
            examine(
                one.given,
                one.probabilities,
                ignore_index=labels.ignore_index,
                has_background=labels.first_is_clear,
                min_area_px=max(16, one.given.size // 2000) if min_area_px is None else min_area_px,
            )
        )
    return Audit(labels=labels, images=images, findings=rank(evidence))


def judged_again(
    params: EvaluateParams, parts: Sequence[Part], done: Audit, *, number: int
) -> Iterator[tuple[int, Judged]]:
    """Yield the first images of the ranking with their predictions, each with its rank from 1 on, in any order."""
    ranks = {done.images[finding.image].place: rank for rank, finding in enumerate(done.findings[:number], 1)}
    indices: list[list[int]] = [[] for _ in parts]
    for part, index in sorted(ranks):
        indices[part].append(index)
    for one in judge(params, parts, indices):
        yield ranks[one.place], one


def _tracked(judged: Iterator[Judged], number: int) -> Iterator[Judged]:
    """Return the images, with a bar where a person looks on."""
    shown = track(
        judged,
        description="audit",
        total=number,
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    return iter(shown)
