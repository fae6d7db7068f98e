"""The evaluation as one HTML page that needs no network: markup, style, script and images in one file."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from jinja2 import Environment, PackageLoader, StrictUndefined

from maskline.data.labels import LabelSet
from maskline.evaluation.page import charts, layers, measures
from maskline.evaluation.page.gallery import PageImage
from maskline.evaluation.page.matrix import largest_confusions, matrix_rows, share_text
from maskline.evaluation.page.tables import COUNTS, Row, ranking_name, ranking_score
from maskline.evaluation.page.tree import LEVEL
from maskline.metrics import scores_table
from maskline.metrics.scores_table import SECOND, UNCERTAINTY

# A matrix of more classes cannot be read; the list of its largest cells can.
_MATRIX_CLASSES = 40
_CONFUSIONS = 12
_SECTIONS = (
    ("summary", "Summary"),
    ("measures", "Measures"),
    ("classes", "Classes"),
    ("confusion", "Confusion"),
    ("training", "Training"),
    ("gallery", "Gallery"),
    ("images", "Images"),
    ("run", "Run"),
)
_COLUMN_NAMES = {
    "id": "Image",
    "group": "Group",
    "scored_px": "Scored pixels",
    "second_Dice": "Human Dice",
    "second_mIoU": "Human mIoU",
}
_HIDDEN_COLUMNS = {"height", "width", "mAcc"}
# Cells of single classes that a page can hold and still sort at once.
_CLASS_CELLS = 20_000
_HEADLINES = {
    "foreground.Dice": "Dice of {foreground}",
    "mIoU": "Mean IoU",
    "mDice": "Mean Dice",
    "foreground.sensitivity": "Sensitivity",
    "foreground.specificity": "Specificity",
    "aAcc": "Pixel accuracy",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PageData:
    """Everything the page shows.

    Args:
        title: Heading.
        facts: Short statements under it.
        labels: Classes of the set.
        metrics: All scores, as a tree.
        images: One row an image.
        classes: One row a class.
        confusion: C x C counts.
        exhibits: Chosen images, in the order of the gallery.
        curves: Columns of the training's curves; empty: none.
        card: Content of model.json.
        params: The section evaluate, every key.
        reliability: Counts of the reliability diagram; None: none.
        conventions: One row a convention; empty: none but the evaluation's own.
    """

    title: str
    facts: Sequence[str]
    labels: LabelSet
    metrics: Mapping[str, Any]
    images: Sequence[Row]
    classes: Sequence[Row]
    confusion: npt.NDArray[np.int64]
    exhibits: Sequence[PageImage]
    curves: charts.Curves
    card: Mapping[str, Any]
    params: Mapping[str, Any]
    reliability: npt.NDArray[np.float64] | None
    conventions: Sequence[Mapping[str, Any]] = ()


def render(data: PageData) -> str:
    """Return the page; the same data gives the same text."""
    environment = Environment(
        loader=PackageLoader("maskline", "evaluation/page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"score": _score, "share": share_text, "percent": _percent}
    best_metric = data.card.get("params", {}).get("train", {}).get("best_metric", "")
    drawn = charts.training_charts(data.curves, best_metric=best_metric) if data.curves else []
    small = [*measures.small_tables(data.metrics), *measures.conventions_table(data.conventions)]
    linked = {image.pick.index: number for number, image in enumerate(data.exhibits, 1)}
    names, columns = data.labels.class_names, _columns(data)
    return environment.get_template("page.html").render(
        title=data.title,
        facts=data.facts,
        sections=[(key, name) for key, name in _SECTIONS if {"training": drawn, "measures": small}.get(key, True)],
        small_tables=small,
        reliability=[] if data.reliability is None else [measures.reliability_chart(data.reliability)],
        cards=list(_cards(data)),
        summary_note=_note(data),
        has_second=SECOND in data.metrics,
        classes=list(_classes(data)),
        matrix=matrix_rows(data.confusion, names) if len(names) <= _MATRIX_CLASSES else [],
        confusions=largest_confusions(data.confusion, names, number=_CONFUSIONS) if len(names) > 2 else [],
        charts=drawn,
        width=charts.WIDTH,
        height=charts.HEIGHT,
        error_legend=[{"name": e.name, "color": _hex(e.color)} for e in layers.error_legend(data.labels)],
        exhibits=list(_exhibits(data)),
        ranking=ranking_name(data.images[0]),
        filter_example=f"{ranking_name(data.images[0])}<0.7",
        columns=[
            {"key": key, "name": _COLUMN_NAMES.get(key, key), "numeric": key not in {"id", "group"}} for key in columns
        ],
        images=[_image_cells(row, columns, linked.get(index)) for index, row in enumerate(data.images)],
        details=_details(data),
    )


def _cards(data: PageData) -> Iterator[dict[str, Any]]:
    """Yield the headline scores with interval and the second observer's value."""
    for name, heading in _HEADLINES.items():
        value = _at(data.metrics, name)
        if value is None:
            continue
        interval = _at(data.metrics.get(UNCERTAINTY, {}), name) or {"low": None, "high": None}
        second = _at(data.metrics.get(SECOND, {}), name)
        text = heading.format(foreground=data.labels.class_names[1])
        spoken = f"{text} {_score(value)}"
        if interval["low"] is not None:
            spoken += f", {LEVEL:.0%} interval {_score(interval['low'])} to {_score(interval['high'])}"
        if second is not None:
            spoken += f", second observer {_score(second)}"
        yield {"name": text, "value": value, "second": second, "spoken": spoken, **interval}


def _note(data: PageData) -> str:
    parts = []
    groups = len({row["group"] for row in data.images})
    if data.metrics.get(UNCERTAINTY):
        what = "images" if groups == len(data.images) else f"groups ({groups} of them, none split)"
        parts.append(f"Ranges are {LEVEL:.0%} bootstrap intervals over {what}.")
    elif groups == 1:
        parts.append("No intervals: all images are of one group.")
    if SECOND in data.metrics:
        name = f"second_{ranking_name(data.images[0])}"
        count = sum(row.get(name) is not None for row in data.images)
        parts.append(
            "The diamond is the human reference: a second observer's masks scored against the first's"
            + (f", on the {count} images that have both." if count < len(data.images) else ".")
        )
    promise = data.metrics.get(scores_table.PROMISE)
    if promise:
        parts += scores_table.promise_sentences(
            promise, threshold=data.metrics["threshold"], scored=f"the {data.facts[0]}"
        )
    return " ".join(parts)


def _classes(data: PageData) -> Iterator[dict[str, Any]]:
    for row, color in zip(data.classes, data.labels.palette, strict=True):
        yield {
            "name": row["class"],
            "color": _hex(color),
            "low": row.get("IoU_low"),
            "high": row.get("IoU_high"),
            "second": row.get("second_IoU"),
            **{name: row[name] for name in ("share", "IoU", "Dice", "Precision", "Recall")},
        }


def _exhibits(data: PageData) -> Iterator[dict[str, Any]]:
    for number, image in enumerate(data.exhibits, 1):
        pick, row = image.pick, data.images[image.pick.index]
        yield {
            "number": number,
            "kind": pick.kind,
            "rank": pick.rank,
            "id": row["id"],
            "score": ranking_score(row),
            "caption": f"{row['id']}, {pick.kind} {pick.rank}",
            "width": image.size[0],
            "height": image.size[1],
            "layers": image.layers,
        }


def _columns(data: PageData) -> list[str]:
    """Return the columns of the image table: names, scores, the human's beside the model's, then the rest.

    IoU of single classes says little where there are two, and is too much where there are very many.
    """
    row, num_classes = data.images[0], data.labels.num_classes
    few = num_classes > 2 and num_classes * len(data.images) <= _CLASS_CELLS
    counts = tuple(f"{what}_" for what in COUNTS)
    shown = [
        key
        for key in row
        if key not in _HIDDEN_COLUMNS and not key.startswith(counts) and (few or not key.startswith("IoU_"))
    ]
    main, human = ranking_name(row), f"second_{ranking_name(row)}"
    others = [key for key in shown if key not in {"id", "group", "scored_px", main, human}]
    return ["id", "group", main, *([human] if human in row else []), *others, "scored_px"]


def _image_cells(row: Row, columns: Sequence[str], link: int | None) -> list[dict[str, Any]]:
    return [
        {
            "value": "" if row[key] is None else row[key],
            "text": _cell_text(row[key]),
            "numeric": key not in {"id", "group"},
            "score": row[key] if isinstance(row[key], float) else None,
            "link": link,
        }
        for key in columns
    ]


def _cell_text(value: str | int | float | None) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return value if isinstance(value, str) else _score(value)


def _details(data: PageData) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return the folded tables at the end, as far as there is something in them."""
    tables = {
        "All metrics": data.metrics,
        "Params of the training run": data.card.get("params", {}),
        "Params of the evaluation": {"evaluate": data.params} if data.params else {},
        "Preprocessing": data.card.get("preprocessing", {}),
        "Receipt of the training run": data.card.get("receipt", {}),
    }
    return [(name, list(_lines(tree))) for name, tree in tables.items() if tree]


def _lines(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield dotted names and texts of a tree's leaves."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _lines(part, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list) and any(isinstance(part, Mapping) for part in value):
        for index, part in enumerate(value):
            yield from _lines(part, f"{name}.{index}")
    elif isinstance(value, list):
        yield name, ", ".join(map(str, value))
    else:
        yield name, value if isinstance(value, str) else json.dumps(value)


def _at(tree: Mapping[str, Any], dotted: str) -> Any:
    value: Any = tree
    for key in dotted.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _score(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"


def _percent(value: float) -> str:
    """Return a length for CSS."""
    return f"{100 * value:.2f}%"


def _hex(color: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)
