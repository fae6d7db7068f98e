"""The engine beside a plain fp32 loop: time of a step, compute alone, peak memory; and the accuracy of both.

``python -m tools.compare_loops`` measures, for each network, four ways in processes of their own that take turns:

- ``engine``: the engine as params.yaml has it, from reading a sample to the optimizer's step;
- ``compute``: forward, backward and optimizer step alone on one ready batch, computed as the engine does;
- ``plain``: tools/plain_loop.py, fp32, eager, a DataLoader of PIL and numpy;
- ``plain_compute``: its compute alone.

``--accuracy SEEDS ITERATIONS`` trains both loops on the synthetic set and prints the val mDice of each seed. Times mean
something on a quiet machine only.
"""

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import click

from maskline.params.whole import Params, validate_params
from maskline.runtime.patches import memory
from tools.closure import ROOT
from tools.loop_cases import CASES, settings
from tools.trial import complete_params

WAYS = ("engine", "compute", "plain", "plain_compute")


def prepare(folder: Path, *, size: int, changes: Mapping[str, Any] | None = None) -> Path:
    """Draw a set of images of this size and convert it; return the prepared folder.

    Args:
        folder: An empty one.
        size: Height and width, px.
        changes: Of further params, by dotted key.
    """
    from stages import convert, download
    from tools.trial import write_params

    params = folder / "params.yaml"
    params.write_bytes((ROOT / "params.yaml").read_bytes())
    write_params(params, {"data.synthetic.size": size, **(changes or {})})
    shared = ["--params", str(params), "--raw", str(folder / "raw")]
    download.main(shared, standalone_mode=False)
    outputs = ["--prepared", str(folder / "prepared")]
    for option in convert.main.params:  # the reports go beside
        if option.name not in {"params_path", "raw", "prepared"} and isinstance(option.type, click.Path):
            outputs += [option.opts[0], str(folder / str(option.name))]
    convert.main([*shared, *outputs], standalone_mode=False)
    return folder / "prepared"


def job_of(way: str, params: Params, prepared: Path) -> Any:
    """Build the run that one of WAYS does."""
    from maskline.builders.training import build_training

    if way.startswith("plain"):
        changed = {"precision": "fp32", "channels_last": False, "compile": False}
        params = params.model_copy(update={"train": params.train.model_copy(update=changed)})
    return build_training(params, prepared)


def stepper(way: str, job: Any, params: Params, files: Path) -> Iterator[float]:
    """Yield the loss of one step after another, done in one of WAYS."""
    from maskline.augment.loader import iterate
    from maskline.engine.run import start_state
    from maskline.engine.train import step

    if way.startswith("plain"):
        yield from _plain(job, params, files, ready=way == "plain_compute")
    state = start_state(job)
    if way == "compute":
        yield from (float(loss) for loss in ready_steps(job))
    loop = job.loop
    for batch in iterate(loop.batches, start=0, stop=1_000_000, workers=loop.workers, device=loop.compute.device):
        yield step(state, loop, batch)["loss"]
        state.iteration += 1


def ready_steps(job: Any) -> Iterator[Any]:
    """Yield the loss, a scalar tensor, of one forward, backward and optimizer step after another on a ready batch."""
    import torch

    loop = job.loop
    batch = loop.batches.finish(loop.batches.batch(0), loop.compute.device)
    images = batch.images.contiguous(memory_format=loop.compute.memory_format)
    job.model.train()
    while True:
        job.optimizer.zero_grad(set_to_none=True)
        with loop.compute.autocast():
            pairs = job.model.training_pairs(images, batch.targets)
        ignored = loop.batches.augmentation.ignore_index
        losses = [loop.criteria[name](logits, target, ignored) for name, (logits, target) in pairs.items()]
        total = torch.stack(losses).sum()
        total.backward()  # type: ignore[no-untyped-call]
        job.optimizer.step()
        yield total.detach()


def _plain(job: Any, params: Params, files: Path, *, ready: bool) -> Iterator[float]:
    import torch

    from tools.plain_loop import Images, endless, plain_step

    torch.manual_seed(params.train.seed)
    ignored = job.loop.batches.augmentation.ignore_index
    pictures = Images(
        files, params.augment, mean=params.model.numbers()[0], std=params.model.numbers()[1], ignore_index=ignored
    )
    batches = endless(pictures, batch_size=params.train.batch_size, workers=params.machine.workers)
    if ready:
        only = next(batches)
        while True:
            yield plain_step(job, *only, iteration=0, ignore_index=ignored)
    for iteration, (images, targets) in zip(count(), batches, strict=False):
        yield plain_step(job, images, targets, iteration=iteration, ignore_index=ignored)


def answer(way: str, params: Params, prepared: Path, files: Path) -> None:
    """Do as many steps as each line of stdin says; answer with their seconds and the peak memory so far, MiB."""
    steps = stepper(way, job_of(way, params, prepared), params, files)
    for line in sys.stdin:
        started = time.perf_counter()
        for _ in range(int(line)):
            next(steps)
        seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps([seconds, peak]), flush=True)


def measure(case: str, options: Sequence[str], *, rounds: int, steps: int, base: Path) -> dict[str, dict[str, float]]:
    """Return the median seconds of a step and the peak memory of each way; the ways take turns."""
    servers = {
        way: subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tools.compare_loops",
                "--serve",
                way,
                "--case",
                case,
                "--base",
                str(base),
                *options,
            ],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for way in WAYS
    }
    times: dict[str, list[float]] = {way: [] for way in WAYS}
    peaks = dict.fromkeys(WAYS, 0.0)
    for number in range(rounds + 1):
        for way, server in servers.items():
            assert server.stdin is not None
            assert server.stdout is not None
            server.stdin.write(f"{steps if number else 2}\n")
            server.stdin.flush()
            seconds, peaks[way] = json.loads(server.stdout.readline())
            if number:  # the first round warms up, and compiles
                times[way].append(seconds / steps)
    for server in servers.values():
        server.communicate()
    return {way: {"step_s": statistics.median(times[way]), "peak_mib": peaks[way]} for way in WAYS}


def train_both(prepared: Path, files: Path, *, seeds: int, iterations: int, threads: int) -> dict[str, list[float]]:
    """Return the val mDice of the network of params.yaml after so many iterations, by loop, one a seed."""
    from maskline.data.dataset import PreparedSplit
    from maskline.engine.validate import validate as score
    from maskline.runtime.device import resolve

    by_way: dict[str, list[float]] = {"engine": [], "plain": []}
    for seed in range(seeds):
        for way, scores in by_way.items():
            values = complete_params(ROOT / "params.yaml")
            values["train"] |= {"threads": threads, "seed": seed, "iterations": iterations}
            values["schedule"]["warmup_length"] = min(values["schedule"]["warmup_length"], iterations // 10)
            params = validate_params(values)
            job = job_of(way, params, prepared)
            steps = stepper(way, job, params, files)
            for _ in range(iterations):
                next(steps)
            loop = job.loop
            row = score(
                job.model,
                PreparedSplit.open(prepared, "val", cache="ram"),
                criterion=list(loop.criteria.values())[-1],
                compute=resolve(device="cpu", precision="fp32", channels_last=False),
                mean=params.model.numbers()[0],
                std=params.model.numbers()[1],
            )
            scores.append(round(row["mDice"], 4))
            click.echo(f"seed {seed}, {way}: val mDice {scores[-1]}", err=True)
    return by_way


def report(case: str, found: Mapping[str, Mapping[str, float]]) -> str:
    """Return one case as lines of text."""
    engine, compute, plain, alone = (found[way]["step_s"] for way in WAYS)
    peaks = ", ".join(f"{way} {found[way]['peak_mib']:.0f}" for way in ("engine", "plain"))
    return "\n".join(
        (
            f"{case}: engine {engine:.4f} s a step, plain loop {plain:.4f} s: {plain / engine:.2f} times as fast",
            f"  compute alone {compute:.4f} s; the engine adds {engine / compute - 1:.1%} to it",
            f"  the plain loop's compute alone {alone:.4f} s; its loop adds {plain / alone - 1:.1%}",
            f"  peak memory, MiB: {peaks}",
        )
    )


@click.command()
@click.option("--case", "cases", type=click.Choice(list(CASES)), multiple=True, help="Networks; default: all.")
@click.option("--rounds", type=int, default=7, show_default=True, help="Turns of each way.")
@click.option("--steps", type=int, default=5, show_default=True, help="Steps a turn.")
@click.option("--threads", type=int, default=2, show_default=True, help="CPU threads.")
@click.option("--workers", type=int, default=0, show_default=True, help="Loader processes, of both loops.")
@click.option("--compile", "compiled", is_flag=True, help="The engine compiles the network.")
@click.option("--size", type=int, default=384, show_default=True, help="Height and width of the synthetic images, px.")
@click.option("--accuracy", type=int, nargs=2, default=None, help="SEEDS ITERATIONS: train both loops instead.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--serve", hidden=True, default="", help="A process that measures.")
@click.option("--base", hidden=True, default="", help="Its folder.")
def main(
    cases: tuple[str, ...],
    rounds: int,
    steps: int,
    threads: int,
    workers: int,
    compiled: bool,
    size: int,
    accuracy: tuple[int, int] | None,
    as_json: bool,
    serve: str,
    base: str,
) -> None:
    """Measure the engine beside a plain fp32 loop."""
    if serve:
        if not serve.startswith("plain"):
            memory.prefer_huge_pages()  # as the train stage does
        params = settings(cases[0], threads=threads, compiled=compiled, workers=workers)
        answer(serve, params, Path(base) / "prepared", Path(base) / "files")
        return
    with tempfile.TemporaryDirectory(prefix="compare-loops-") as scratch:
        folder = Path(scratch)
        files = _files(prepare(folder, size=size), folder)
        if accuracy:
            scores = train_both(folder / "prepared", files, seeds=accuracy[0], iterations=accuracy[1], threads=threads)
            click.echo(json.dumps(scores, indent=2))
            return
        options = ["--threads", str(threads), "--workers", str(workers), *(["--compile"] if compiled else [])]
        measured = {}
        for case in cases or CASES:
            measured[case] = measure(case, options, rounds=rounds, steps=steps, base=folder)
            click.echo(report(case, measured[case]), err=as_json)
        if as_json:
            click.echo(json.dumps(measured, indent=2))


def _files(prepared: Path, folder: Path) -> Path:
    from maskline.data.dataset import PreparedSplit
    from tools.plain_loop import write_files

    write_files(PreparedSplit.open(prepared, "train", cache="stream"), folder / "files")
    return folder / "files"


if __name__ == "__main__":
    main()
