"""An audit as one HTML page that needs no network; verdicts of who looks through it stay in the browser."""

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from maskline.analysis.audit.auditing import Audit
from maskline.analysis.audit.members import Judged
from maskline.analysis.audit.ranking import Finding
from maskline.analysis.audit.tables import described
from maskline.data.labels import LabelSet, Rgb
from maskline.evaluation.page import layers

_LONGEST_PX = 960
_QUALITY = 80
_REGIONS = 12
_LAYERS = (("image", "Image"), ("given", "Given label"), ("prediction", "Prediction"), ("error", "Disagreement"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """An image for the page.

    Args:
        rank: From 1 on.
        layers: image, given, prediction, error as ``data:`` addresses.
    """

    rank: int
    layers: Mapping[str, str]


def drawn(rank: int, judged: Judged, labels: LabelSet) -> Shown:
    """Return an image with its layers."""
    prediction = judged.probabilities.argmax(0)
    see_through = {
        "given": layers.class_layer(judged.given, labels, longest_px=_LONGEST_PX),
        "prediction": layers.class_layer(prediction, labels, longest_px=_LONGEST_PX),
        "error": layers.error_layer(prediction, judged.given, labels, longest_px=_LONGEST_PX),
    }
    photo = layers.photo(judged.sample.image, longest_px=_LONGEST_PX, quality=_QUALITY)
    addresses = {name: layers.data_uri(content, kind="png") for name, content in see_through.items()}
    return Shown(rank=rank, layers={"image": layers.data_uri(photo, kind="jpeg"), **addresses})


def render(audit: Audit, shown: Sequence[Shown], *, title: str, facts: Sequence[str], warning: str = "") -> str:
    """Return the page; the same audit gives the same text.

    The policy in it lets nothing run or load but the page's own style, script and images, by their hashes.

    Args:
        audit: The audit.
        shown: The first images of its ranking, in any order.
        title: Heading.
        facts: Short statements under it.
        warning: What a reader must know first; empty: nothing.
    """
    environment = Environment(
        loader=ChoiceLoader(
            [PackageLoader("maskline", "analysis/audit"), PackageLoader("maskline", "evaluation/page")]
        ),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

    def text_of(*names: str) -> str:
        return "\n".join(environment.get_template(name).render() for name in names)

    style, script = text_of("page.css", "audit.css"), text_of("audit.js")
    findings = dict(enumerate(audit.findings, 1))
    ordered = sorted(shown, key=lambda one: one.rank)
    names = "\n".join(audit.images[one.image].id for one in audit.findings)
    return environment.get_template("audit.html").render(
        title=title,
        facts=facts,
        warning=warning,
        key=hashlib.sha256(f"{title}\n{names}".encode()).hexdigest()[:16],
        layers=_LAYERS,
        entries=[_entry(one, findings[one.rank], audit) for one in ordered],
        legend=list(_legend(audit.labels)),
        classes=[_key(*one) for one in zip(audit.labels.class_names, audit.labels.palette, strict=True)],
        style=style,
        script=script,
        style_hash=_hash(style),
        script_hash=_hash(script),
    )


def _entry(one: Shown, finding: Finding, audit: Audit) -> dict[str, Any]:
    image, names = audit.images[finding.image], audit.labels.class_names
    return {
        "rank": one.rank,
        "id": image.id,
        "reason": described(finding, audit.labels),
        "width": image.size[1],
        "height": image.size[0],
        "layers": one.layers,
        "regions": [
            {
                "left": region.box[0],
                "top": region.box[1],
                "width": region.box[2] - region.box[0],
                "height": region.box[3] - region.box[1],
                "reason": region.reason,
                "given": names[region.given],
                "predicted": names[region.predicted],
                "area": f"{region.area_px:,}",
                "confidence": f"{region.confidence:.2f}",
            }
            for region in (scored.region for scored in finding.regions[:_REGIONS])
        ],
    }


def _legend(labels: LabelSet) -> Iterator[dict[str, str]]:
    """Yield colors and names of the layer of disagreement; here nobody knows who is right."""
    names = ("both", "predicted alone", "labelled alone") if labels.num_classes == 2 else ("differs",)
    for entry, name in zip(layers.error_legend(labels), names, strict=True):
        yield _key(f"{labels.class_names[1]}: {name}" if labels.num_classes == 2 else name, entry.color)


def _key(name: str, color: Rgb) -> dict[str, str]:
    return {"name": name, "color": _hex(color)}


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _hex(color: Rgb) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)
