"""Cross-validation: a model a fold as DVC experiments, out-of-fold scores, and all members as one model and file."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from maskline.analysis.audit.members import Part, judge
from maskline.analysis.ensembles import export, fetched, score
from maskline.analysis.experiments import Runner, run_missing
from maskline.augment.soft_labels import write_soft_labels
from maskline.builders.ensemble import write_ensemble
from maskline.cli.entry import log
from maskline.core.errors import ParamsError
from maskline.core.files import write_json
from maskline.data.dataset import PreparedSplit
from maskline.data.manifest import scored_split
from maskline.evaluation.evaluate import Evaluation
from maskline.evaluation.page import tree
from maskline.params.whole import Params


@dataclass(frozen=True, slots=True, kw_only=True)
class Folds:
    """What the folds came to.

    Args:
        images: How many val images all folds have together.
        folds: Scores of each fold's model on its own val split, as trees.
        out_of_fold: Scores of all val images together, each seen by the one model that was not trained on it.
        members: Scores of each fold's model on the test split; empty without one.
        ensemble: Scores of all members together there; empty without one.
        soft_labels: Folder of the out-of-fold probabilities; None: nobody asked.
    """

    images: int
    folds: Sequence[dict[str, Any]]
    out_of_fold: dict[str, Any]
    members: Sequence[dict[str, Any]]
    ensemble: dict[str, Any]
    soft_labels: Path | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain types."""
        return {
            "folds": list(self.folds),
            "out_of_fold": self.out_of_fold,
            "members": list(self.members),
            "ensemble": self.ensemble,
            **({} if self.soft_labels is None else {"soft_labels": str(self.soft_labels)}),
        }


def train_folds(params: Params, out: Path, *, name: str, jobs: int, run: Runner, soft: bool = False) -> Folds:
    """Train a model a fold, score them, and write ``model``, ``export`` and ``scores.json`` into a folder.

    Args:
        params: Of the project; ``data.num_folds`` says how many.
        out: Folder of all results; ``members`` in it holds each fold's model and prepared data.
        name: First part of the experiments' names.
        jobs: How many are trained at a time.
        run: Gives arguments to DVC and returns its exit code.
        soft: Write the out-of-fold probabilities of all images as soft labels too.

    Raises:
        MasklineError: No folds are asked for, an experiment fails, or the exported file is not the ensemble.
    """
    count = params.data.num_folds
    if count < 2:
        raise ParamsError("data.num_folds", f"{count}, so there are no folds", "set it to 2 or more, or give --folds N")
    _tell_disk(count)
    labels = {f"{name}-{i}": {"++data.num_folds": count, "++data.fold": i} for i in range(count)}
    refs = run_missing(labels, run=run, target="train", jobs=jobs)
    models: list[Path] = []
    prepared: list[Path] = []
    for label, ref in refs.items():
        models.append(fetched("data/models", label, ref, out, run=run))
        prepared.append(fetched("data/prepared", label, ref, out, run=run))
    validated = [score(params, data, model, split="val") for data, model in zip(prepared, models, strict=True)]
    write_ensemble(models, out / "model")
    found = _joined(params, validated, prepared, models, out)
    if soft:
        found = replace(found, soft_labels=_soft_labels(params, prepared, models, out))
    write_json(out / "scores.json", found.as_dict())
    scores, images = (found.ensemble, None) if found.ensemble else (found.out_of_fold, found.images)
    export(params, out, prepared[0], scores=scores, images=images, members=count)
    return found


def _soft_labels(params: Params, prepared: Sequence[Path], models: Sequence[Path], out: Path) -> Path:
    """Write what each fold's model sees in the images that it was not trained on."""
    splits = [PreparedSplit.open(data, "val", cache="stream") for data in prepared]
    parts = [Part(split, "val", [model], {}) for split, model in zip(splits, models, strict=True)]
    judged = ((each.sample.id, each.probabilities) for each in judge(params.evaluate, parts))
    folder = write_soft_labels(out, splits[0].labels, judged)
    log.info("folds: soft labels of %d images; -S ++train.soft_labels=%s", sum(map(len, splits)), folder)
    return folder


def _joined(
    params: Params, validated: Sequence[Evaluation], prepared: Sequence[Path], models: Sequence[Path], out: Path
) -> Folds:
    split = PreparedSplit.open(prepared[0], "val", cache="stream")
    every = [score for one in validated for score in one.scores]
    section, seed = params.evaluate, params.train.seed
    tests: list[Evaluation] = []
    if scored_split(prepared[0], "auto") == "test":
        tests = [score(params, prepared[0], model, split="test") for model in (*models, out / "model")]
    return Folds(
        images=len(every),
        folds=[dict(one.metrics) for one in validated],
        out_of_fold=tree.metrics_tree(every, split.labels, resamples=section.bootstrap, seed=seed, settings={}),
        members=[dict(one.metrics) for one in tests[:-1]],
        ensemble=dict(tests[-1].metrics) if tests else {},
    )


def _tell_disk(count: int) -> None:
    here = Path("data/prepared")
    size = sum(path.stat().st_size for path in here.rglob("*") if path.is_file()) if here.is_dir() else 0
    known = f", {size / 2**20:.0f} MiB here" if size else ""
    log.info(
        "folds: each of %d converts anew and keeps its prepared data%s, in DVC's cache and below --out", count, known
    )
