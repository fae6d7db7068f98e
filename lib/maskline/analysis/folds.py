"""Cross-validation: a model a fold as DVC experiments, out-of-fold scores, and all members as one model and file."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from maskline.analysis.audit.members import Part, judge
from maskline.analysis.experiments import Runner, fetch, run_missing
from maskline.augment.soft_labels import write_soft_labels
from maskline.builders.ensemble import write_ensemble
from maskline.builders.evaluate import evaluated
from maskline.builders.export import build_limits, build_trained, build_variants
from maskline.cli.entry import log
from maskline.core.errors import ParamsError
from maskline.core.files import write_json
from maskline.data.dataset import PreparedSplit
from maskline.data.manifest import Split, scored_split
from maskline.evaluation.evaluate import Evaluation
from maskline.evaluation.page import tree
from maskline.export import card, package
from maskline.params.stages.evaluate import EvaluateStage
from maskline.params.whole import Params
from maskline.runtime import device


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
        for path, folders in (("data/models", models), ("data/prepared", prepared)):
            target = out / "members" / f"{label}-{ref.split('/')[3][:8]}" / Path(path).name
            if not target.exists():
                fetch(path, ref, target, run=run)
            folders.append(target)
    validated = [_score(params, data, model, split="val") for data, model in zip(prepared, models, strict=True)]
    write_ensemble(models, out / "model")
    found = _joined(params, validated, prepared, models, out)
    if soft:
        found = replace(found, soft_labels=_soft_labels(params, prepared, models, out))
    write_json(out / "scores.json", found.as_dict())
    _export(params, out, prepared[0], found)
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
        tests = [_score(params, prepared[0], model, split="test") for model in (*models, out / "model")]
    return Folds(
        images=len(every),
        folds=[dict(one.metrics) for one in validated],
        out_of_fold=tree.metrics_tree(every, split.labels, resamples=section.bootstrap, seed=seed, settings={}),
        members=[dict(one.metrics) for one in tests[:-1]],
        ensemble=dict(tests[-1].metrics) if tests else {},
    )


def _score(params: Params, prepared: Path, model: Path, *, split: Split) -> Evaluation:
    stage = EvaluateStage(
        data=params.data,
        train=params.train,
        machine=params.machine,
        evaluate=params.evaluate.model_copy(update={"split": split}),
    )
    result = evaluated(stage, prepared, model).result
    assert result is not None, "there is one process"
    return result


def _export(params: Params, out: Path, prepared: Path, found: Folds) -> None:
    """Export the ensemble through the gate of the export stage, with its card."""
    section, threads = params.export, params.train.threads
    trained = build_trained(section, out / "model")
    name = scored_split(prepared, "auto")
    split = PreparedSplit.open(prepared, name, cache="stream")
    variants = build_variants(section, trained, prepared, threads=threads)
    agreement = package.export_model(
        trained,
        split,
        name=name,
        out=out / "export",
        opset=section.opset,
        example_size=section.example_size,
        threads=threads,
        limits=build_limits(section, "export"),
        variants=variants,
        device=device.resolve_kind(section.device, place="export.device"),
    )
    scores = found.ensemble or found.out_of_fold
    card.write(
        out / "export",
        trained,
        agreement,
        variants=variants,
        data_set=params.data.name,
        split=name,
        images=len(split) if found.ensemble else found.images,
        scores=scores,
    )
    log.info("folds: one file of %d members, %s", len(found.folds), out / "export" / "model.onnx")


def _tell_disk(count: int) -> None:
    here = Path("data/prepared")
    size = sum(path.stat().st_size for path in here.rglob("*") if path.is_file()) if here.is_dir() else 0
    known = f", {size / 2**20:.0f} MiB here" if size else ""
    log.info(
        "folds: each of %d converts anew and keeps its prepared data%s, in DVC's cache and below --out", count, known
    )
