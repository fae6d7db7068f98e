"""An audit as work for labelling tools: which images to open, with a box and a reason at each suspicious region."""

import json
from pathlib import PurePosixPath
from typing import Any
from xml.etree import ElementTree

from maskline.analysis.audit.auditing import Audit, ImageName
from maskline.analysis.audit.regions import MISSING, OUTLINE, SUPERFLUOUS, WRONG_CLASS, Region
from maskline.analysis.audit.tables import described

_REASONS = (MISSING, SUPERFLUOUS, WRONG_CLASS, OUTLINE)
_BOXES = 20

# Names of the tags in label_studio_config.xml.
_FROM, _TO = "region", "image"


def file_list(audit: Audit, *, number: int) -> str:
    """Return the files of the first images, one a line, the most suspicious first."""
    return "".join(f"{audit.images[one.image].source}\n" for one in audit.findings[:number])


def label_studio_tasks(audit: Audit, *, number: int) -> str:
    """Return tasks of Label Studio with boxes as predictions.

    Format: labelstud.io/guide/predictions; positions are percent of the image's sides.
    """
    tasks = []
    for rank, finding in enumerate(audit.findings[:number], 1):
        image = audit.images[finding.image]
        boxes = [_box(one.region, image) for one in finding.regions[:_BOXES]]
        tasks.append(
            {
                "data": {
                    "image": image.source,
                    "id": image.id,
                    "rank": rank,
                    "reason": described(finding, audit.labels),
                },
                "predictions": [{"model_version": "maskline audit", "score": finding.score, "result": boxes}],
            }
        )
    return json.dumps(tasks, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def label_studio_config() -> str:
    """Return the labelling interface that the tasks' boxes are for."""
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Text", name="why", value="$reason")
    ElementTree.SubElement(view, "Image", name=_TO, value="$image")
    labels = ElementTree.SubElement(view, "RectangleLabels", name=_FROM, toName=_TO)
    for reason in _REASONS:
        ElementTree.SubElement(labels, "Label", value=reason)
    return _xml(view)


def cvat_annotations(audit: Audit, *, number: int) -> str:
    """Return CVAT for images 1.1: a box of the label ``suspicious`` at each region, its reason as an attribute.

    Format: docs.cvat.ai, CVAT for images 1.1. It is read into a task that has these files and that label.
    """
    top = ElementTree.Element("annotations")
    ElementTree.SubElement(top, "version").text = "1.1"
    for place, finding in enumerate(audit.findings[:number]):
        image = audit.images[finding.image]
        height, width = image.size
        name = PurePosixPath(image.source).name
        node = ElementTree.SubElement(top, "image", id=str(place), name=name, width=str(width), height=str(height))
        for one in finding.regions[:_BOXES]:
            corners = zip(("xtl", "ytl", "xbr", "ybr"), map(str, one.region.box), strict=True)
            box = ElementTree.SubElement(node, "box", {"label": "suspicious", "occluded": "0", **dict(corners)})
            ElementTree.SubElement(box, "attribute", name="reason").text = one.region.reason
    return _xml(top)


def _box(region: Region, image: ImageName) -> dict[str, Any]:
    height, width = image.size
    left, top, right, bottom = region.box
    return {
        "from_name": _FROM,
        "to_name": _TO,
        "type": "rectanglelabels",
        "original_width": width,
        "original_height": height,
        "value": {
            "x": 100 * left / width,
            "y": 100 * top / height,
            "width": 100 * (right - left) / width,
            "height": 100 * (bottom - top) / height,
            "rotation": 0,
            "rectanglelabels": [region.reason],
        },
        "score": region.confidence,
    }


def _xml(node: ElementTree.Element) -> str:
    ElementTree.indent(node)
    return ElementTree.tostring(node, encoding="unicode") + "\n"
