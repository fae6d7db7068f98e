"""What an evaluation leaves behind: tables, images and the page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskline.core.files import replace_folder, write_json, write_text
from maskline.data.labels import LabelSet
from maskline.evaluation import conventions
from maskline.evaluation.evaluate import Evaluation, LabelledSplit
from maskline.evaluation.page import gallery, tables, tree
from maskline.evaluation.page.charts import Curves, read_curves
from maskline.evaluation.page.page import PageData, render
from maskline.metrics import scores_table


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """Where everything goes: the scores that DVC shows, five tables, the folder of images, the page."""

    metrics: Path
    scores: Path
    per_image: Path
    per_class: Path
    confusion: Path
    conventions: Path
    gallery: Path
    report: Path


def write_evaluation(
    evaluation: Evaluation,
    split: LabelledSplit,
    *,
    card: Mapping[str, Any],
    params: Mapping[str, Any],
    curves: Path | None,
    gallery_each: int,
    outputs: Outputs,
) -> None:
    """Write the tables, the gallery and the page; all of them are made before the first is written.

    Args:
        evaluation: What to report.
        split: The images again, for the images.
        card: Content of model.json.
        params: The section evaluate, every key.
        curves: CSV of the training's curves; None or absent: the page goes without.
        gallery_each: Images of each of worst, median and best.
        outputs: Where to.
    """
    labels, scores = split.labels, evaluation.scores
    rows = tables.per_image_rows(scores, labels)
    class_rows = tables.per_class_rows(scores, labels, evaluation.metrics)
    confusion = tree.total_confusion(scores)
    by_convention = conventions.rows([one.conventions for one in scores], class_keys=labels.keys)
    files, page_images = _images(evaluation, split, rows, gallery_each)
    subject = f"{_network(card)} on {evaluation.data_name}"
    text = render(
        PageData(
            title=params.get("title") or subject,
            facts=[
                *([subject] if params.get("title") else []),
                *_facts(evaluation, rows, labels),
                *_scale(params.get("scale"), card["params"]["model"].get("test_scale")),
            ],
            labels=labels,
            metrics=evaluation.metrics,
            images=rows,
            classes=class_rows,
            confusion=confusion,
            exhibits=page_images,
            curves=_curves(curves),
            card=card,
            params=params,
            reliability=tree.reliability(scores),
            conventions=by_convention if params.get("conventions") else [],
        )
    )
    write_json(outputs.metrics, scores_table.short(evaluation.metrics, by_class=params.get("metrics") == "full"))
    write_text(outputs.scores, scores_table.to_csv(evaluation.metrics))
    tables.write_csv(outputs.per_image, rows)
    tables.write_csv(outputs.per_class, class_rows)
    tables.write_csv(outputs.conventions, by_convention)
    tables.write_csv(outputs.confusion, tables.confusion_rows(confusion, labels.class_names))
    with replace_folder(outputs.gallery) as folder:
        for name, content in files.items():
            (folder / name).write_bytes(content)
    write_text(outputs.report, text)


def _images(
    evaluation: Evaluation, split: LabelledSplit, rows: Sequence[tables.Row], each: int
) -> tuple[dict[str, bytes], list[gallery.PageImage]]:
    """Return the gallery's files by name, and the page's images."""
    files, page_images = {}, []
    exhibits = gallery.open_exhibits(
        gallery.choose(rows, each=each),
        rows,
        split,
        evaluation.scores,
        ignore_index=split.labels.ignore_index,
        within_valid=evaluation.within_valid,
    )
    for exhibit in exhibits:
        files[f"{exhibit.pick.name}.jpg"] = gallery.file_image(exhibit, split.labels)
        page_images.append(gallery.page_image(exhibit, split.labels))
    return files, page_images


def _curves(path: Path | None) -> Curves:
    return read_curves(path) if path is not None and path.exists() else {}


def _network(card: Mapping[str, Any]) -> str:
    if members := card.get("members"):
        return f"{len(members)} networks"
    model = card["params"]["model"]
    row = ", then ".join(map(_one_network, (model, *model.get("refiners", ()))))
    return f"{count} side by side: {row}" if (count := model.get("members", 1)) > 1 else row


def _one_network(model: Mapping[str, Any]) -> str:
    if model["type"] == "smp":
        return f"{model['smp']['architecture']} with {model['smp']['encoder']}"
    return f"{model['backbone']['name']} with {model['decode_head']['name']}"


def _scale(scale: Sequence[int] | str | None, of_model: Sequence[int] | None) -> list[str]:
    scale = of_model if isinstance(scale, str) else scale
    return [] if scale is None else [f"images scaled to fit {max(scale)} x {min(scale)} px for the network"]


def _facts(evaluation: Evaluation, rows: Sequence[tables.Row], labels: LabelSet) -> list[str]:
    groups = len({score.group for score in evaluation.scores})
    scored = sum(int(score.confusion.sum()) for score in evaluation.scores)
    pixels = sum(score.size[0] * score.size[1] for score in evaluation.scores)
    facts = [
        f"{evaluation.name} split",
        f"{len(rows)} images" + (f" in {groups} groups" if groups < len(rows) else ""),
        f"{labels.num_classes} classes",
        f"{scored:,} pixels scored ({scored / pixels:.1%} of all)",
    ]
    return [*facts, "inside the valid area only"] if evaluation.within_valid else facts
