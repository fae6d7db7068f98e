"""The evaluation of a trained model: score a split, then write numbers, pictures and the page."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.progress import track

from maskline.errors import CheckpointError
from maskline.files import replace_folder, write_json, write_text
from maskline.inference.pipeline import Inference
from maskline.inference.scoring import Counting, ImageScore, Split, score_split
from maskline.labels import LabelSet
from maskline.metrics.extra import Measures
from maskline.metrics.scores import flatten
from maskline.report import gallery, tables, tree
from maskline.report.charts import Curves, read_curves
from maskline.report.page import PageData, render


class LabelledSplit(Split, Protocol):
    """Images by position, with the classes of their masks."""

    @property
    def labels(self) -> LabelSet:
        """Classes of the masks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """A scored split.

    Args:
        data_name: Of the data set.
        name: Of the split: train, val or test.
        scores: One an image, in the split's order.
        metrics: The tree of metrics.json.
        within_valid: Whether only valid areas were scored.
    """

    data_name: str
    name: str
    scores: Sequence[ImageScore]
    metrics: Mapping[str, Any]
    within_valid: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """Where everything goes: four tables, the folder of pictures, the page."""

    metrics: Path
    per_image: Path
    per_class: Path
    confusion: Path
    gallery: Path
    report: Path


def check_labels(labels: LabelSet, card: Mapping[str, Any], *, place: object) -> None:
    """Compare the classes of the data with those that the model was trained for.

    Raises:
        CheckpointError: They differ.
    """
    trained, prepared = LabelSet.from_dict(card["labels"], place=place).to_dict(), labels.to_dict()
    for key, value in prepared.items():
        if trained[key] != value:
            raise CheckpointError(
                place,
                f"was trained with {key} {trained[key]}, the prepared data has {value}",
                "train again (dvc repro train)",
            )


def evaluate(
    inference: Inference,
    split: LabelledSplit,
    *,
    data_name: str,
    name: str,
    within_valid: bool,
    measures: Measures,
    resamples: int,
    seed: int,
    tuned_crf: Mapping[str, float],
) -> Evaluation:
    """Score every image of a split at its own size.

    Args:
        inference: The network and what follows it.
        split: Images with their labels.
        data_name: Of the data set.
        name: Of the split.
        within_valid: Score only inside the valid-area mask, where an image has one.
        measures: What to measure beyond the confusion matrix.
        resamples: Bootstrap resamples behind each interval; 0: no intervals.
        seed: Of the resampling.
        tuned_crf: Settings of the CRF that were chosen on other images; empty: none were.

    Raises:
        DataError: A label is no class, or nothing can be scored.
        CheckpointError: The network gives nan.
    """
    labels = split.labels
    counting = Counting(
        num_classes=labels.num_classes,
        ignore_index=labels.ignore_index,
        within_valid=within_valid,
        measures=measures,
    )
    scored = score_split(inference, split, counting)
    shown = track(
        scored,
        description=f"evaluate {name}",
        total=len(split.sizes),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    scores = sorted(shown, key=lambda score: score.index)
    chosen: dict[str, Any] = {} if inference.threshold is None else {"threshold": inference.threshold}
    chosen |= {"tuned_crf": dict(tuned_crf)} if tuned_crf else {}
    metrics = tree.metrics_tree(scores, labels, resamples=resamples, seed=seed, settings=chosen)
    return Evaluation(data_name=data_name, name=name, scores=scores, metrics=metrics, within_valid=within_valid)


def headline(evaluation: Evaluation) -> str:
    """Return the result in a line: images, Dice of the foreground where there is one, mIoU, with intervals."""
    flat = flatten(dict(evaluation.metrics))
    parts = []
    for name in ("foreground.Dice", "mIoU"):
        if name in flat:
            low, high = (flat.get(f"{tree.UNCERTAINTY}.{name}.{end}") for end in ("low", "high"))
            parts.append(f"{name} {flat[name]:.4f}" + (f" ({low:.3f} to {high:.3f})" if low is not None else ""))
    return f"{len(evaluation.scores)} images of {evaluation.name}, " + ", ".join(parts)


def write(
    evaluation: Evaluation,
    split: LabelledSplit,
    *,
    card: Mapping[str, Any],
    curves: Path | None,
    gallery_each: int,
    outputs: Outputs,
) -> None:
    """Write the tables, the gallery and the page; all of them are made before the first is written.

    Args:
        evaluation: What to report.
        split: The images again, for the pictures.
        card: Content of model.json.
        curves: CSV of the training's curves; None or absent: the page goes without.
        gallery_each: Pictures of each of worst, median and best.
        outputs: Where to.
    """
    labels, scores = split.labels, evaluation.scores
    rows = tables.per_image_rows(scores, labels)
    class_rows = tables.per_class_rows(scores, labels, evaluation.metrics)
    confusion = tree.total_confusion(scores)
    files, pictures = _pictures(evaluation, split, rows, gallery_each)
    text = render(
        PageData(
            title=f"{_network(card)} on {evaluation.data_name}",
            facts=_facts(evaluation, rows, labels),
            labels=labels,
            metrics=evaluation.metrics,
            images=rows,
            classes=class_rows,
            confusion=confusion,
            pictures=pictures,
            curves=_curves(curves),
            card=card,
            reliability=tree.reliability(scores),
        )
    )
    write_json(outputs.metrics, evaluation.metrics)
    tables.write_csv(outputs.per_image, rows)
    tables.write_csv(outputs.per_class, class_rows)
    tables.write_csv(outputs.confusion, tables.confusion_rows(confusion, labels.class_names))
    with replace_folder(outputs.gallery) as folder:
        for name, content in files.items():
            (folder / name).write_bytes(content)
    write_text(outputs.report, text)


def _pictures(
    evaluation: Evaluation, split: LabelledSplit, rows: Sequence[tables.Row], each: int
) -> tuple[dict[str, bytes], list[gallery.PagePicture]]:
    """Return the gallery's files by name, and the page's pictures."""
    files, pictures = {}, []
    exhibits = gallery.open_exhibits(
        gallery.choose(rows, each=each),
        rows,
        split,
        evaluation.scores,
        ignore_index=split.labels.ignore_index,
        within_valid=evaluation.within_valid,
    )
    for exhibit in exhibits:
        files[f"{exhibit.pick.name}.jpg"] = gallery.file_picture(exhibit, split.labels)
        pictures.append(gallery.page_picture(exhibit, split.labels))
    return files, pictures


def _curves(path: Path | None) -> Curves:
    return read_curves(path) if path is not None and path.exists() else {}


def _network(card: Mapping[str, Any]) -> str:
    model = card["params"]["model"]
    if model["type"] == "smp":
        return f"{model['smp']['architecture']} with {model['smp']['encoder']}"
    return f"{model['backbone']['name']} with {model['decode_head']['name']}"


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
