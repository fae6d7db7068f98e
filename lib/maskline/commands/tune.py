"""``maskline tune``: measure what computes fastest here, and write it into params.yaml."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from maskline.cli.entry import PATH, errors_to_exit_code, log, params_option

if TYPE_CHECKING:
    from maskline.analysis.tune import Choice, Measured
    from maskline.engine.run import Job
    from maskline.params.whole import Params
    from maskline.runtime.processes.waiting import Wait

_MEANING: "Mapping[Wait, str]" = {"spin": " (on a free machine)", "yield": " (what auto takes on a busy machine)"}


@click.command()
@params_option
@click.option("--prepared", type=PATH, default="data/prepared", show_default=True, help="Prepared data set.")
@click.option("--reports", type=PATH, default="reports", show_default=True, help="Folder of tune.json and tune.csv.")
@click.option("--steps", type=click.IntRange(1), default=5, show_default=True, help="Timed steps of each combination.")
@click.option(
    "--threads", type=click.IntRange(1, 256), multiple=True, help="A thread count to try; default: 1, 2, 4, ..."
)
@click.option("--no-compile", is_flag=True, help="Leave compiled networks out: compiling each takes up to minutes.")
@click.option("--dry-run", is_flag=True, help="Write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--wait", type=click.Choice(["spin", "yield"]), hidden=True)
@click.option("--alone", hidden=True)
@errors_to_exit_code
def main(
    *,
    params_path: Path,
    prepared: Path,
    reports: Path,
    steps: int,
    threads: tuple[int, ...],
    no_compile: bool,
    dry_run: bool,
    as_json: bool,
    wait: "Wait | None",
    alone: str | None,
) -> None:
    """Measure a few training steps for each combination of memory format, precision, compilation and threads.

    Network, batch and crop are those of the params file. What makes the whole run shortest, compiling included, is
    written into the keys channels_last, precision, compile and threads of train, as plain values; comments stay. The
    present values stay where nothing is faster by more than 3 %. A combination that fails is reported and left out.

    Where several threads compute, the step is timed once more with threads that spin and with threads that sleep while
    they wait (machine.wait), each in processes of its own; that key stays as it is.
    """
    from maskline.params.whole import load_params
    from maskline.runtime.patches import memory
    from maskline.runtime.processes import waiting

    settings = load_params(params_path)
    memory.prefer_huge_pages()  # as training does
    is_said = waiting.is_said()
    waiting.tune(wait or settings.machine.wait)
    from maskline.analysis import tune, tune_waits
    from maskline.core.files import write_json, write_text

    if alone is not None:
        (only,) = _measure(settings, prepared, steps=steps, wanted=[tune.Choice(**json.loads(alone))]).measured
        click.echo(json.dumps(only.to_dict()))
        return
    trials = _measure(settings, prepared, steps=steps, threads=threads, compiled=not no_compile)
    chosen = tune.best(trials.measured, trials.present)
    given = ["--params", str(params_path), "--prepared", str(prepared), "--steps", str(steps)]
    several = trials.device == "cpu" and chosen.threads > 1
    waits = tune_waits.measure(chosen, given) if several and not is_said else {}
    summary = {
        "device": trials.device,
        "iterations": trials.iterations,
        "present": asdict(trials.present),
        "chosen": asdict(chosen),
        "measured": [each.to_dict() for each in tune.by_speed(trials.measured)],
        "waits": waits,
    }
    if not dry_run:
        write_json(reports / "tune.json", summary)
        write_text(reports / "tune.csv", tune.table(trials.measured))
        _write(params_path, chosen)
    if as_json:
        click.echo(json.dumps(summary, indent=2))
    else:
        _print(trials.measured, chosen, trials.present, waits)
        log.info("tune: %s", "nothing written" if dry_run else f"{params_path} and {reports}/tune.json, .csv written")


class _Found(NamedTuple):
    device: str
    iterations: int
    present: "Choice"
    measured: "list[Measured]"


def _measure(
    settings: "Params",
    prepared: Path,
    *,
    steps: int,
    threads: Sequence[int] = (),
    compiled: bool = False,
    wanted: "Sequence[Choice]" = (),
) -> _Found:
    from maskline.analysis import tune
    from maskline.builders.training import build_training, run_length
    from maskline.data.dataset import PreparedSplit
    from maskline.runtime import device

    train = settings.train  # one process's share of the batch
    train = train.model_copy(update={"devices": 1, "batch_size": train.batch_size // train.devices})
    compute = device.resolve(device=train.device, precision=train.precision, channels_last=train.channels_last)
    kind = compute.device.type
    present = tune.Choice(
        channels_last=compute.channels_last,
        precision=compute.precision,
        compile=device.resolve_compile(train.compile, kind),
        threads=train.threads,
    )
    precisions: list[tune.Precision] = ["fp32", "bf16", "fp16"] if kind == "cuda" else ["fp32", "bf16"]
    counts = threads or (_counts() if kind == "cpu" else [present.threads])

    def job(choice: tune.Choice) -> "Job":
        return build_training(settings.model_copy(update={"train": train.model_copy(update=asdict(choice))}), prepared)

    length = run_length(settings, PreparedSplit.open(prepared, "train", cache="stream"))
    wanted = wanted or tune.choices(precisions=precisions, threads=counts, compiled=compiled)
    return _Found(kind, length, present, tune.measure(job, wanted, steps=steps, iterations=length))


def _counts() -> list[int]:
    cores = os.cpu_count() or 1
    return [*(2**power for power in range(cores.bit_length()) if 2**power <= cores), cores]


def _write(path: Path, choice: "Choice") -> None:
    from maskline.core.files import write_text
    from maskline.projects.overrides import with_overrides

    values = [f"++train.{key}={json.dumps(value)}" for key, value in asdict(choice).items()]
    write_text(path, with_overrides(path.read_text(encoding="utf-8"), values, place=str(path)))


def _print(measured: "list[Measured]", chosen: "Choice", present: "Choice", waits: "Mapping[Wait, float]") -> None:
    from rich.console import Console
    from rich.table import Table

    from maskline.analysis.tune import by_speed

    grid = Table(
        *asdict(present), "first step, s", "step, s", "run, s", "", title="Training steps", title_justify="left"
    )
    for each in by_speed(measured):
        times = [each.first_seconds, each.step_seconds, each.run_seconds]
        marks = [name for name, choice in (("chosen", chosen), ("present", present)) if choice == each.choice]
        grid.add_row(
            *(str(value) for value in asdict(each.choice).values()),
            *("" if value is None else f"{value:.4g}" for value in times),
            each.problem or ", ".join(marks),
        )
    console = Console()
    Console(width=None if console.is_terminal else 200).print(grid)
    for way, seconds in waits.items():
        click.echo(f"machine.wait: {way}: {seconds:.4g} s a step" + _MEANING[way])


if __name__ == "__main__":
    main()
