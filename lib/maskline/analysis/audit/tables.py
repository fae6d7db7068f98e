"""An audit as tables: images and regions, for people, scripts and spreadsheets."""

import csv
import io
import math
from collections.abc import Iterator, Sequence
from typing import Any

from maskline.analysis.audit.auditing import Audit
from maskline.analysis.audit.ranking import Finding, ScoredRegion
from maskline.core.text import cell
from maskline.data.labels import LabelSet

IMAGE_COLUMNS = (
    "rank",
    "id",
    "file",
    "split",
    "score",
    "reason",
    "label_quality",
    "agreement",
    "move_down_px",
    "move_right_px",
    "swapped",
    "regions",
)
REGION_COLUMNS = (
    "rank",
    "id",
    "left",
    "top",
    "right",
    "bottom",
    "given",
    "predicted",
    "area_px",
    "confidence",
    "reason",
    "score",
)


def image_table(audit: Audit) -> str:
    """Return the images as CSV, the most suspicious first."""
    return _csv(IMAGE_COLUMNS, list(_image_rows(audit)))


def region_table(audit: Audit) -> str:
    """Return the regions of all images as CSV, the most suspicious first."""
    regions = sorted(
        (region for finding in audit.findings for region in finding.regions), key=lambda one: (-one.score, one.image)
    )
    return _csv(REGION_COLUMNS, [_region_row(rank, one, audit) for rank, one in enumerate(regions, 1)])


def described(finding: Finding, labels: LabelSet) -> str:
    """Return the reasons of a finding in a line, with the classes and the way that they are about."""
    return "; ".join(_described(reason, finding, labels) for reason in finding.reasons)


def _described(reason: str, finding: Finding, labels: LabelSet) -> str:
    names, evidence = labels.class_names, finding.evidence
    if reason == "shifted":
        down, right = evidence.shift.step
        return f"{reason}: {_way(down, 'down', 'up')}, {_way(right, 'right', 'left')} would fit better"
    if reason == "swapped classes" and evidence.swap:
        return f"{reason}: {names[evidence.swap.classes[0]]} and {names[evidence.swap.classes[1]]}"
    region = next((one.region for one in finding.regions if one.region.reason == reason), None)
    return reason if region is None else f"{reason}: {names[region.given]} where {names[region.predicted]} is predicted"


def _way(step: int, ahead: str, back: str) -> str:
    return f"{abs(step)} px {ahead if step >= 0 else back}"


def _image_rows(audit: Audit) -> Iterator[list[Any]]:
    for rank, finding in enumerate(audit.findings, 1):
        image, evidence = audit.images[finding.image], finding.evidence
        pair = evidence.swap.classes if evidence.swap else ()
        yield [
            rank,
            image.id,
            image.source,
            image.split,
            round(finding.score, 3),
            described(finding, audit.labels),
            "" if math.isnan(evidence.quality) else round(evidence.quality, 4),
            round(evidence.agreement, 4),
            *evidence.shift.step,
            " and ".join(audit.labels.class_names[one] for one in pair),
            len(finding.regions),
        ]


def _region_row(rank: int, one: ScoredRegion, audit: Audit) -> list[Any]:
    region, names = one.region, audit.labels.class_names
    return [
        rank,
        audit.images[one.image].id,
        *region.box,
        names[region.given],
        names[region.predicted],
        region.area_px,
        round(region.confidence, 4),
        region.reason,
        round(one.score, 4),
    ]


def _csv(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([cell(value) if isinstance(value, str) else value for value in row] for row in rows)
    return stream.getvalue()
