"""Which files to label next: read, looked at, chosen, written as a table."""

import csv
import io
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from maskline.analysis.audit.members import load_all
from maskline.analysis.next_images.acquisition import METHODS, choose
from maskline.analysis.next_images.measuring import Measured, measure
from maskline.core.errors import CheckpointError, DataError, ShapeError
from maskline.core.text import cell
from maskline.data.reading_rule import UNKNOWN, ReadingRule
from maskline.inference.pipeline import Inference
from maskline.params.evaluate import EvaluateParams
from maskline.reading.as_trained import read_as_trained
from maskline.runtime import checkpoint

_ALIKE = ("labels", "reading")


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """Models of one data set.

    Args:
        inferences: Their use, one at least.
        rule: How images are read for them.
    """

    inferences: Sequence[Inference]
    rule: ReadingRule


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Images to label next.

    Args:
        chosen: Names, in the order in which they were chosen.
        method: By which they were.
        measured: Name -> what is known of it, for every image that could be read.
        problems: Images that could not.
    """

    chosen: Sequence[str]
    method: str
    measured: Mapping[str, Measured]
    problems: list[DataError]

    def table(self, files: Mapping[str, Path]) -> str:
        """Return all images as CSV: the chosen ones in order, then the others by how unsure the models are."""
        order = {name: place for place, name in enumerate(self.chosen, 1)}
        rest = sorted(
            (name for name in self.measured if name not in order),
            key=lambda name: (-self.measured[name].uncertainty[self.method], name),
        )
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("order", "image", "file", *METHODS))
        for name in (*self.chosen, *rest):
            numbers = [round(self.measured[name].uncertainty[one], 6) for one in METHODS]
            writer.writerow([order.get(name, ""), cell(name), cell(str(files[name])), *numbers])
        return stream.getvalue()


def load_models(params: EvaluateParams, folders: Sequence[Path]) -> Models:
    """Load trained models.

    Args:
        params: How models are used.
        folders: One at least.

    Raises:
        CheckpointError: One cannot be read, or is for other classes or images than the first.
    """
    cards: list[dict[str, Any]] = [checkpoint.read_card(folder) for folder in folders]
    for folder, card in zip(folders, cards, strict=True):
        for key in _ALIKE:
            if card.get(key) != cards[0].get(key):
                problem = f"was trained with other {key} than {folders[0]}"
                raise CheckpointError(folder / checkpoint.CARD_FILE, problem, "name models of one data set")
    place = folders[0] / checkpoint.CARD_FILE
    rule = ReadingRule.from_dict(cards[0]["reading"], place=place) if "reading" in cards[0] else UNKNOWN
    return Models(inferences=load_all(params, folders), rule=rule)


def next_images(models: Models, files: Mapping[str, Path], *, number: int, method: str | None) -> Choice:
    """Look at all images and choose.

    Args:
        models: That judge.
        files: Name -> image.
        number: How many to choose.
        method: One of ``METHODS``; None: disagreement of several models, entropy of one.

    Raises:
        CheckpointError: A network gives nan.
    """
    measured, problems = {}, []
    shown = track(files.items(), "next", console=Console(stderr=True), disable=not sys.stderr.isatty())
    for name, path in shown:
        try:
            measured[name] = measure(models.inferences, read_as_trained(path, models.rule))
        except (DataError, ShapeError) as error:
            problems.append(DataError(path, error.problem, error.remedy))
    by = method or ("disagreement" if len(models.inferences) > 1 else "entropy")
    scores = {name: one.uncertainty[by] for name, one in measured.items()}
    chosen = choose(scores, {name: one.features for name, one in measured.items()}, number)
    return Choice(chosen=chosen, method=by, measured=measured, problems=problems)
