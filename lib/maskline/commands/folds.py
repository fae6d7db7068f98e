"""``maskline folds``: cross-validation as DVC experiments, and the ensemble of its models."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from maskline.cli.entry import PATH, errors_to_exit_code, log, params_option

if TYPE_CHECKING:
    from maskline.analysis.folds import Folds


@click.command()
@params_option
@click.option("--folds", "number", type=click.IntRange(2, 100), help="How many.  [default: data.num_folds]")
@click.option("--name", default="fold", show_default=True, help="Experiments are called NAME-FOLD.")
@click.option("--jobs", type=click.IntRange(1, 64), default=1, show_default=True, help="How many run at a time.")
@click.option("-o", "--out", type=PATH, default="data/folds", show_default=True, help="Folder of the results.")
@click.option("--soft-labels", is_flag=True, help="Write what the folds see in the images as soft labels.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@errors_to_exit_code
def main(
    *, params_path: Path, number: int | None, name: str, jobs: int, out: Path, soft_labels: bool, as_json: bool
) -> None:
    """Train a model a fold, score them out of fold, and make one model and one ONNX file of all.

    Each fold is a DVC experiment in a folder of its own (dvc exp run --temp); its log is seen as it runs, and the
    workspace stays as it is. An experiment of this name that was made from the current commit is not run again: what
    was stopped goes on.

    \b
    OUT/model        all members as one trained model: the mean of their probabilities
    OUT/export       the same as one ONNX file that has passed the export stage's comparison
    OUT/scores.json  out-of-fold scores; scores of members and ensemble on the test split, where there is one
    OUT/members      model and prepared data of each fold
    OUT/soft_labels-HASH  with --soft-labels: out-of-fold probabilities, for train.soft_labels
    """  # noqa: D301  (click wants the control character itself)
    from maskline.analysis.experiments import dvc
    from maskline.analysis.folds import train_folds
    from maskline.params.whole import load_params

    params = load_params(params_path)
    if number is not None:
        params = params.model_copy(update={"data": params.data.model_copy(update={"num_folds": number, "fold": 0})})
    done = train_folds(params, out, name=name, jobs=jobs, run=dvc, soft=soft_labels)
    if as_json:
        click.echo(json.dumps(done.as_dict(), indent=2))
    else:
        _print(done)
    log.info("folds: results in %s", out)


def _print(done: "Folds") -> None:
    from maskline.commands.printing import print_scores

    tested = {f"fold {i}": scores for i, scores in enumerate(done.members)}
    print_scores("On the val split of each fold", {f"fold {i}": scores for i, scores in enumerate(done.folds)})
    print_scores("Out of fold", {"all folds": done.out_of_fold})
    print_scores("On the test split", tested | ({"ensemble": done.ensemble} if tested else {}))
