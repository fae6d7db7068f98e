"""The pipeline killed with SIGKILL at random moments, and run again: it must end as if nothing had happened.

``python -m tests.faults.kill_points --points 20`` works in copies of the project under a temporary folder, with tiny
settings. At each point a fresh copy starts ``dvc repro``; after a random time DVC with all its processes is killed, or
only the stage that runs, or all at the next moment at which DVC writes dvc.lock, which tears it. Then, as the guide
says, ``maskline doctor --fix`` fixes what was torn and ``dvc repro`` runs to its end: no stage that had ended may run
again, and dvc.lock and weights are compared with those of a run that was left alone. Linux only: it reads /proc.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import click

from tools.trial import TINY, Project, copy_of, ran

ROOT = Path(__file__).resolve().parent.parent.parent

# Long enough that a good part of the points falls into training, between journal entries and while one is written.
SETTINGS = {
    **TINY,
    "train.iterations": 60,
    "train.val_every": 20,
    "machine.journal_every": 7,
    "schedule.warmup_length": 5,
}
VICTIMS = ("all", "stage", "lock")
WRITING = 0.2  # seconds, about what DVC needs to write dvc.lock
COMPARED = ("dvc.lock", "data/models/model.safetensors", "data/models/model.json", "data/export/model.onnx")


@dataclass(frozen=True, kw_only=True)
class Point:
    """One kill.

    Args:
        after: Seconds from the start of ``dvc repro``.
        victim: ``all`` processes of it, or the ``stage`` that runs, or ``lock``: all, as soon as DVC writes dvc.lock.
        late: Seconds from the start of that writing.
    """

    after: float
    victim: str
    late: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a point.

    Args:
        point: The kill.
        killed: Whether it came before the run had ended.
        during: The stages that DVC had begun when it came, the last of them in work.
        fixed: What ``maskline doctor --fix`` said it did.
        again: The stages that the second ``dvc repro`` ran.
        wrong: Files that differ from those of the run that was left alone.
    """

    point: Point
    killed: bool
    during: list[str]
    mended: list[str]
    again: list[str]
    wrong: list[str]

    @property
    def repeated(self) -> list[str]:
        """Stages that had ended and ran again; DVC writes dvc.lock once a stage has ended."""
        ended = self.during if any("dvc.lock was torn" in line for line in self.mended) else self.during[:-1]
        return [name for name in self.again if name in ended]


def points(number: int, *, seconds: float, seed: int) -> list[Point]:
    """Draw the kills, evenly over a run of so many seconds."""
    rng = random.Random(seed)
    return [
        Point(after=seconds * (place + rng.random()) / number, victim=rng.choice(VICTIMS), late=WRITING * rng.random())
        for place in range(number)
    ]


def kill_and_repro(fresh: Project, base: Path, point: Point, expected: dict[str, bytes]) -> Outcome:
    """Kill a run in a copy of ``fresh``, fix what was torn, and run it again.

    Raises:
        AssertionError: Mending or the second run fails.
    """
    project = fresh.duplicate(base)
    with (base / "first.log").open("w") as log:
        first = subprocess.Popen(
            ["dvc", "repro"],
            cwd=project.folder,
            env=project.environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        time.sleep(point.after)
        if point.victim == "lock":
            _wait_for_change(project.folder / "dvc.lock", first)
            time.sleep(point.late)
        _kill(first, point.victim)
        first.wait()
    during = ran((base / "first.log").read_text())
    mended = project.run("maskline", "doctor", "--fix", "--quiet").splitlines()
    again = ran(project.run("dvc", "repro"))
    wrong = [name for name, content in expected.items() if project.read(name) != content]
    return Outcome(point=point, killed=first.returncode != 0, during=during, mended=mended, again=again, wrong=wrong)


def _wait_for_change(file: Path, first: "subprocess.Popen[bytes]") -> None:
    """Return when the file is written, or ``first`` has ended."""
    before = _state(file)
    while first.poll() is None and _state(file) == before:
        time.sleep(0.0005)


def _state(file: Path) -> tuple[int, int]:
    try:
        found = file.stat()
    except FileNotFoundError:
        return 0, 0
    return found.st_size, found.st_mtime_ns


def _kill(first: "subprocess.Popen[bytes]", victim: str) -> None:
    if first.poll() is not None:
        return
    stages = _children(first.pid) if victim == "stage" else []
    for child in stages:
        os.kill(child, signal.SIGKILL)
    if not stages:
        os.killpg(first.pid, signal.SIGKILL)


def _children(pid: int) -> list[int]:
    """Return the processes that a process started, theirs included."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            own = [int(text) for text in (task / "children").read_text().split()]
        except OSError:  # the thread has ended
            continue
        for child in own:
            found += [child, *(_children(child) if Path(f"/proc/{child}/task").exists() else [])]
    return found


def undisturbed(fresh: Project, base: Path) -> tuple[dict[str, bytes], float]:
    """Run a copy of ``fresh`` to its end; return the compared files and the seconds it took."""
    project = fresh.duplicate(base)
    started = time.perf_counter()
    project.run("dvc", "repro")
    return {name: project.read(name) for name in COMPARED}, time.perf_counter() - started


@click.command()
@click.option("--points", "number", type=click.IntRange(1), default=20, show_default=True, help="Kills.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the times and victims.")
def main(*, number: int, seed: int) -> None:
    """Kill the pipeline at random moments; exit code 1 where a run did not end as one that was left alone."""
    with tempfile.TemporaryDirectory(prefix="kill-points-") as scratch:
        base = Path(scratch)
        fresh = copy_of(ROOT, base / "fresh", SETTINGS)
        expected, seconds = undisturbed(fresh, base / "alone")
        click.echo(f"left alone: {seconds:.1f} s")
        bad = 0
        for place, point in enumerate(points(number, seconds=seconds, seed=seed), start=1):
            outcome = kill_and_repro(fresh, base / f"point-{place}", point, expected)
            bad += bool(outcome.wrong or outcome.repeated)
            result = f"DIFFERS: {', '.join(outcome.wrong)}" if outcome.wrong else "the same"
            if outcome.repeated:
                result += f", but REPEATED: {', '.join(outcome.repeated)}"
            during = outcome.during[-1] if outcome.during else "start"
            what = f"killed {point.victim}" if outcome.killed else "had ended"
            click.echo(
                f"{place}/{number}  {what} after {point.after:.1f} s in {during}; "
                f"fixed: {'; '.join(outcome.mended) or 'nothing'}; "
                f"again: {', '.join(outcome.again) or 'nothing'}; {result}"
            )
    click.echo(f"{number - bad} of {number} ended as the run that was left alone")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
