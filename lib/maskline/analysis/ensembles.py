"""Trained models of experiments as one model and one ONNX file, with the scores of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskline.analysis.experiments import Runner, fetch
from maskline.builders.ensemble import write_ensemble
from maskline.builders.evaluate import evaluated
from maskline.builders.export import build_trained, build_variants, export_model
from maskline.cli.entry import log
from maskline.core.files import write_json
from maskline.data.dataset import PreparedSplit
from maskline.data.manifest import Split, scored_split
from maskline.evaluation.evaluate import Evaluation
from maskline.export import card
from maskline.params.stages.evaluate import EvaluateStage
from maskline.params.whole import Params


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """What members and ensemble came to.

    Args:
        split: The images scored: test, or val where there is no test split.
        members: Scores of each member there, as trees.
        ensemble: Scores of all together.
    """

    split: Split
    members: Sequence[dict[str, Any]]
    ensemble: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return plain types."""
        return {"split": self.split, "members": list(self.members), "ensemble": self.ensemble}


def join_experiments(params: Params, refs: Mapping[str, str], out: Path, *, run: Runner) -> Joined:
    """Write ``model``, ``export``, ``scores.json`` and ``members`` of experiments over the same data into a folder.

    Args:
        params: Of the project.
        refs: Name of each experiment -> git ref.
        out: Folder of all results.
        run: Gives arguments to DVC and returns its exit code.

    Raises:
        MasklineError: An output is not in the cache, or the exported file is not the ensemble.
    """
    models = [fetched("data/models", name, ref, out, run=run) for name, ref in refs.items()]
    prepared = fetched("data/prepared", *next(iter(refs.items())), out, run=run)
    write_ensemble(models, out / "model")
    split = scored_split(prepared, "auto")
    *members, ensemble = (dict(score(params, prepared, each, split=split).metrics) for each in (*models, out / "model"))
    joined = Joined(split=split, members=members, ensemble=ensemble)
    write_json(out / "scores.json", joined.as_dict())
    export(params, out, prepared, scores=ensemble, images=None, members=len(models))
    return joined


def fetched(path: str, name: str, ref: str, out: Path, *, run: Runner) -> Path:
    """Return an output of an experiment as a folder below ``out/members``, brought there where it is missing."""
    target = out / "members" / f"{name}-{ref.split('/')[3][:8]}" / Path(path).name
    if not target.exists():
        fetch(path, ref, target, run=run)
    return target


def score(params: Params, prepared: Path, model: Path, *, split: Split) -> Evaluation:
    """Score a trained model on a split of prepared data."""
    stage = EvaluateStage(
        data=params.data,
        train=params.train,
        machine=params.machine,
        evaluate=params.evaluate.model_copy(update={"split": split}),
    )
    result = evaluated(stage, prepared, model).result
    assert result is not None, "there is one process"
    return result


def export(
    params: Params, out: Path, prepared: Path, *, scores: Mapping[str, Any], images: int | None, members: int
) -> None:
    """Export ``out/model`` through the gate of the export stage, with its card.

    Args:
        params: Of the project.
        out: ``export`` in it is written.
        prepared: Data that the file is compared on.
        scores: What the card tells.
        images: How many these were measured on; None: all of the scored split.
        members: How many models it is.
    """
    section, threads = params.export, params.train.threads
    trained = build_trained(section, out / "model", scale=params.evaluate.scale)
    name = scored_split(prepared, "auto")
    split = PreparedSplit.open(prepared, name, cache="stream")
    variants = build_variants(section, trained, prepared, threads=threads)
    agreement = export_model(section, trained, split, name=name, out=out / "export", threads=threads, variants=variants)
    card.write(
        out / "export",
        trained,
        agreement,
        variants=variants,
        data_set=params.data.name,
        split=name,
        images=len(split) if images is None else images,
        scores=scores,
    )
    log.info("one file of %d members, %s", members, out / "export" / "model.onnx")
