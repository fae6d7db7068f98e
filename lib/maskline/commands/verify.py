"""``maskline verify``: train a model again from its receipt, and say what differs."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from maskline.cli.entry import PATH, errors_to_exit_code, log, params_option


@click.command()
@click.argument("model", type=PATH, default="data/models")
@params_option
@click.option("--prepared", type=PATH, default="data/prepared", show_default=True, help="Prepared data set.")
@click.option("--iterations", type=click.IntRange(1), default=None, help="Only the first so many; default: all.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@errors_to_exit_code
def main(*, model: Path, params_path: Path, prepared: Path, iterations: int | None, as_json: bool) -> None:
    """Run the training of MODEL again and compare every step, the weights, and all that its receipt holds.

    The train stage runs in a temporary folder with the settings of MODEL's model.json, on the prepared data and with
    the code, packages and device of now. Losses, and gradient norms where they were taken, are compared iteration by
    iteration to the last bit, weights at each validation and at the end. The workspace stays as it is.

    Exit code 0: nothing differs; 1: something does, and is named; 2: the run could not be repeated.
    """
    from maskline.analysis import recorded_run
    from maskline.params.whole import load_params

    recorded = recorded_run.read(model)
    values = load_params(params_path).model_dump(mode="json")
    differences = recorded_run.integrity(recorded) + recorded_run.changed_settings(recorded, values)
    with tempfile.TemporaryDirectory(prefix="maskline-verify-") as scratch:
        again = _train(recorded, values, prepared, Path(scratch), iterations)
        differences += recorded_run.compare(recorded, again)
    done = len(again.trace)
    weights = not any(each.what in recorded_run.OUTCOMES for each in differences)
    if as_json:
        rows = [{"what": each.what, "recorded": each.recorded, "found": each.found} for each in differences]
        click.echo(
            json.dumps(
                {"equal": not differences, "reproduced": weights, "iterations": done, "differences": rows}, indent=2
            )
        )
    else:
        _print(differences, f"{done} of {len(recorded.trace)} iterations", reproduced=weights)
    if differences:
        sys.exit(1)


def _train(recorded: Any, values: Mapping[str, Any], prepared: Path, scratch: Path, iterations: int | None) -> Any:
    """Run the train stage of the current folder into a scratch folder and read what it made."""
    from maskline.analysis import recorded_run
    from maskline.core.errors import DataError, TrainingError
    from maskline.core.files import write_json

    if not Path("stages/train.py").is_file():
        raise DataError("stages/train.py", "no such file", "run maskline verify in the project's folder")
    write_json(scratch / "params.yaml", recorded_run.params_of(recorded, values))  # JSON is YAML
    options = ["--params", scratch / "params.yaml", "--prepared", prepared, "--model", scratch / "models"]
    for name, file in (
        ("metrics", "m.json"),
        ("curves", "c.csv"),
        ("classes", "i.csv"),
        ("steps", "s.csv"),
        ("timing", "t.json"),
    ):
        options += [f"--{name}", scratch / file]
    if iterations is not None:
        options += ["--stop-after", iterations]
    # DVC_ROOT: the journal lies in the scratch folder too, so that no run goes on from another one's.
    environment = {key: value for key, value in os.environ.items() if key != "DVC_STAGE"} | {"DVC_ROOT": str(scratch)}
    command = [sys.executable, "-m", "stages.train", *map(str, options)]
    log.info("verify: training again")
    code = subprocess.run(command, check=False, stdout=sys.stderr, env=environment).returncode
    if code in {130, 143}:
        sys.exit(code)
    if code != 0:
        raise TrainingError("verify", f"training ended with exit code {code}", "see its message above")
    return recorded_run.read(scratch / "models")


def _print(found: "list[Any]", done: str, *, reproduced: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    if found:
        table = Table("what", "recorded", "now", title="What differs", title_justify="left")
        for each in found:
            table.add_row(each.what, str(each.recorded), str(each.found))
        console = Console()
        Console(width=None if console.is_terminal else 200).print(table)
    outcome = "the same to the last bit" if reproduced else "NOT the same"
    click.echo(f"{done}: losses, gradient norms and weights are {outcome}")
    if found and reproduced:
        click.echo("what differs above did not change them")
