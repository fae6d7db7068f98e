"""``maskline sweep-seeds N``: the same run with other seeds, as DVC experiments, and how far their scores spread."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maskline.cli.entry import PATH, errors_to_exit_code, params_option
from maskline.core.errors import ParamsError

if TYPE_CHECKING:
    from maskline.analysis.experiments import Runner


@click.command()
@click.argument("number", metavar="N", type=click.IntRange(1, 1000))
@click.option("--first", type=click.IntRange(0), default=0, show_default=True, help="The first of the N seeds.")
@click.option("--name", default="seed", show_default=True, help="Experiments are called NAME-SEED.")
@click.option(
    "--metrics",
    type=PATH,
    default="reports/evaluate/scores.csv",
    show_default=True,
    help="The evaluation's scores: its table, or a file of JSON.",
)
@click.option("--ensemble", is_flag=True, help="Make one model and one ONNX file of all.")
@click.option("-o", "--out", type=PATH, default="data/seeds", show_default=True, help="Folder of --ensemble.")
@params_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@errors_to_exit_code
def main(
    *,
    number: int,
    first: int,
    name: str,
    metrics: Path,
    ensemble: bool,
    out: Path,
    params_path: Path,
    as_json: bool,
) -> None:
    """Run N experiments that differ in train.seed alone, and sum up their scores.

    Each runs in a folder of its own (dvc exp run --temp), so the workspace stays as it is. An experiment of this
    name that was made from the current commit is not run again: what was stopped goes on.

    \b
    With --ensemble:
    OUT/model        all of them as one trained model: the mean of their probabilities
    OUT/export       the same as one ONNX file that has passed the export stage's comparison
    OUT/scores.json  scores of members and ensemble on the test split, or on val where there is none
    OUT/members      model of each, prepared data of the first
    """  # noqa: D301  (click wants the control character itself)
    from maskline.analysis.experiments import dvc

    seeds = list(range(first, first + number))
    if ensemble and number < 2:
        raise ParamsError("sweep-seeds: N", "1 with --ensemble", "give 2 or more")
    params = None
    if ensemble:
        from maskline.params.whole import load_params

        params = load_params(params_path)
    refs, scores = sweep(seeds, name=name, metrics=metrics, run=dvc)
    joined: dict[str, Any] = {}
    if params is not None:
        from maskline.analysis.ensembles import join_experiments

        joined = join_experiments(params, refs, out, run=dvc).as_dict()
    if as_json:
        click.echo(json.dumps({"seeds": seeds, "scores": scores, **({"ensemble": joined} if joined else {})}, indent=2))
    else:
        _print(scores, seeds)
        if joined:
            _print_joined(joined, seeds)


def sweep(
    seeds: Sequence[int], *, name: str, metrics: Path, run: "Runner"
) -> tuple[dict[str, str], dict[str, dict[str, float | None]]]:
    """Run what is missing, and return name -> git ref, and score -> mean, std, min and max over the seeds.

    Args:
        seeds: Values of train.seed.
        name: First part of the experiments' names.
        metrics: The file of scores in each experiment.
        run: Gives arguments to DVC and returns its exit code.

    Raises:
        DataError: An experiment failed, or has no such file.
    """
    from maskline.analysis.compare.paired_tests import spread
    from maskline.analysis.experiments import run_missing
    from maskline.metrics.scores import flatten
    from maskline.projects.revisions import read_at

    refs = run_missing({f"{name}-{seed}": {"train.seed": seed} for seed in seeds}, run=run)
    runs = [_leaves(flatten(_tree(read_at(ref, metrics), metrics))) for ref in refs.values()]
    names = [key for key in runs[0] if all(key in other for other in runs)]
    return refs, {key: _plain(spread([values[key] for values in runs])) for key in names}


def _tree(text: str, path: Path) -> dict[str, Any]:
    from maskline.metrics import scores_table

    if path.suffix == ".csv":
        return scores_table.from_csv(text, place=path)
    tree: dict[str, Any] = json.loads(text)
    return tree


def _leaves(flat: dict[str, Any]) -> dict[str, float]:
    """Return the scores; the intervals and the second observer are no matter of the seed."""
    parts = ("uncertainty_95.", "second_annotator.")
    return {key: float(value) for key, value in flat.items() if not key.startswith(parts)}


def _plain(values: dict[str, float]) -> dict[str, float | None]:
    return {key: round(value, 6) if value == value else None for key, value in values.items()}  # noqa: PLR0124 (nan)


def _print(found: dict[str, dict[str, float | None]], seeds: Sequence[int]) -> None:
    from rich.table import Table

    from maskline.commands.printing import wide_console

    table = Table("score", "mean", "std", "min", "max", title=f"{len(seeds)} seeds", title_justify="left")
    for name, values in found.items():
        table.add_row(name, *("" if value is None else f"{value:.4f}" for value in values.values()))
    wide_console().print(table)


def _print_joined(joined: dict[str, Any], seeds: Sequence[int]) -> None:
    from maskline.commands.printing import print_scores

    rows = {f"seed {seed}": scores for seed, scores in zip(seeds, joined["members"], strict=True)}
    print_scores(f"On the {joined['split']} split", {**rows, "ensemble": joined["ensemble"]})
