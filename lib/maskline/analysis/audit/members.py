"""Who judges which image: the model of a cross-validation that has not seen it, or models that a user names."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from maskline.builders.inference import build_inference
from maskline.cli.entry import log
from maskline.core.errors import DataError
from maskline.data import manifest
from maskline.data.dataset import PreparedSplit, Sample
from maskline.data.manifest import SPLITS
from maskline.evaluation.evaluate import check_labels, check_reading
from maskline.evaluation.scoring import labels_to_score
from maskline.inference.pipeline import Inference
from maskline.params.evaluate import EvaluateParams
from maskline.runtime import checkpoint

MEMBERS = "members"
"""Folder below that of ``maskline folds``."""


@dataclass(frozen=True, slots=True)
class Part:
    """Images with those who judge them.

    Args:
        split: The images.
        name: Of the split.
        models: Trained model folders; the mean of their probabilities counts.
        sources: Image -> its file in the data set.
    """

    split: PreparedSplit
    name: str
    models: Sequence[Path]
    sources: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """An image with what was made of it.

    Args:
        place: Position of its part, and in the part's split.
        sample: The image with its labels.
        given: Class ids, HW, with the ignore index where nothing counts.
        probabilities: CHW float32, 0..1.
    """

    place: tuple[int, int]
    sample: Sample
    given: NDArray[Any]
    probabilities: NDArray[np.float32]


def of_folds(folder: Path) -> list[Part]:
    """Return the parts of a cross-validation: each fold's val split with its model, and the test split with all.

    Of members that judge the same images, as those of an earlier commit do, the newest counts.

    Args:
        folder: What ``maskline folds`` wrote.

    Raises:
        DataError: There is none, or only one fold.
    """
    folders = [path for path in (folder / MEMBERS).glob("*") if (path / "models" / checkpoint.CARD_FILE).is_file()]
    newest = sorted(folders, key=lambda path: (-path.stat().st_mtime_ns, path.name))
    parts: list[Part] = []
    judged: set[str] = set()
    for member in newest:
        split = PreparedSplit.open(member / "prepared", "val", cache="stream")
        if judged & set(split.ids):
            log.info("audit: %s judges images that a newer fold judges; left out", member)
            continue
        judged |= set(split.ids)
        parts.append(Part(split, "val", [member / "models"], _sources(member / "prepared")))
    if len(parts) < 2:
        remedy = "train them (maskline folds --folds 5), or name trained models (maskline audit data/models)"
        raise DataError(folder / MEMBERS, f"{len(parts)} models of folds, 2 are needed", remedy)
    parts.reverse()
    models = [part.models[0] for part in parts]
    prepared = newest[0] / "prepared"
    test = PreparedSplit.find(prepared, "test", cache="stream")
    return parts if test is None else [*parts, Part(test, "test", models, _sources(prepared))]


def of_models(models: Sequence[Path], prepared: Path) -> list[Part]:
    """Return all splits of a prepared folder, judged by the mean of models that may have seen them.

    Raises:
        DataError: No prepared data.
    """
    splits = {name: PreparedSplit.find(prepared, name, cache="stream") for name in SPLITS}
    sources = _sources(prepared)
    return [Part(split, name, models, sources) for name, split in splits.items() if split is not None]


def judge(
    params: EvaluateParams, parts: Sequence[Part], indices: Sequence[Sequence[int]] | None = None
) -> Iterator[Judged]:
    """Yield images of the parts, one at a time.

    Args:
        params: How models are used: windows and views count, what follows them does not.
        parts: Of one data set.
        indices: Positions in each part's split; None: all.

    Raises:
        CheckpointError: A model was trained for other classes or images.
    """
    labels = parts[0].split.labels
    for place, part in enumerate(parts):
        if part.split.labels != labels:
            raise DataError(MEMBERS, "folds of other classes than each other", "run maskline folds again")
        for model in part.models:
            _check(model, part.split)
        inferences = load_all(params, part.models)
        for index in indices[place] if indices is not None else range(len(part.split)):
            sample = part.split.sample(index)
            fields = member_probabilities(inferences, sample.image)
            yield Judged(
                place=(place, index),
                sample=sample,
                given=labels_to_score(sample, ignore_index=labels.ignore_index, within_valid=params.within_valid),
                probabilities=np.stack(fields).mean(0, dtype=np.float32),
            )


def member_probabilities(inferences: Sequence[Inference], image: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    """Return each model's probabilities, CHW, of an image HWC."""
    batch = torch.from_numpy(np.ascontiguousarray(image))[None]
    fields = []
    for inference in inferences:
        segmented = inference.segment(batch.to(inference.device), probabilities=True)
        assert segmented.probabilities is not None
        fields.append(segmented.probabilities[0].cpu().numpy())
    return fields


def load_all(params: EvaluateParams, models: Sequence[Path]) -> list[Inference]:
    """Return the use of models, without what would need choosing and what changes labels alone."""
    return [build_inference(_bare(params), model) for model in models]


def _check(model: Path, split: PreparedSplit) -> None:
    card = checkpoint.read_card(model)
    check_labels(split.labels, card, place=model / checkpoint.CARD_FILE)
    check_reading(split.rule, card, place=model / checkpoint.CARD_FILE)


def _bare(params: EvaluateParams) -> EvaluateParams:
    changes = {"threshold": None, "min_component_px": 0, "max_hole_px": 0}
    return params.model_copy(update={**changes, "crf": params.crf.model_copy(update={"enabled": False})})


def _sources(prepared: Path) -> dict[str, str]:
    frame = manifest.read(prepared)[0]
    return dict(zip(frame["id"], frame["source"], strict=True))
