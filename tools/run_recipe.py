"""One measured run of a recipe, from the archive to the scores, in a clone of its own.

``python -m tools.run_recipe thin-structures --seed 0 --data CHASEDB1.zip`` clones the project at its last commit,
puts the recipe into its params.yaml, runs the pipeline up to the evaluation, and writes two small files that can be
committed: ``results/RECIPE/ARCHIVE-SETTINGS/seed-0.json`` (scores, times, hashes, machine) and ``seed-0.csv`` (the
pixel counts of each image). ``make results`` makes docs/results.md of all of them.

Fetching the archive is not timed; converting it, training and evaluation are, each with the start of its processes
and the compilation of the network, for which the clone has an empty cache.
"""

import contextlib
import csv
import json
import os
import platform
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from maskline.cli.entry import PATH, errors_to_exit_code, log
from maskline.core.errors import DataError
from maskline.core.files import sha256_file, write_json, write_text
from maskline.data.manifest import scored_split
from maskline.metrics import scores_table
from maskline.params.whole import load_params

ROOT = Path(__file__).resolve().parent.parent
FORMAT = 1
_SLUG = 40  # characters


@click.command()
@click.argument("recipe")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="train.seed.")
@click.option("--data", "archive", type=PATH, required=True, help="The data set's archive.")
@click.option("-S", "--set-param", "overrides", multiple=True, metavar="KEY=VALUE", help="Set a value on top of it.")
@click.option("-o", "--out", type=PATH, default=None, help="JSON to write; default: as above.")
@click.option("--work", type=PATH, default=None, help="New folder for the clone, which is then kept.")
@errors_to_exit_code
def main(
    *, recipe: str, seed: int, archive: Path, overrides: tuple[str, ...], out: Path | None, work: Path | None
) -> None:
    """Run RECIPE once and write its scores, times and origin to results/RECIPE/ARCHIVE-SETTINGS/seed-N.json.

    The machine should be idle: the times are part of the result. `taskset -c 0,1` before it gives it two cores.
    """
    if not archive.is_file():
        raise DataError(archive, "no such archive", "give --data the data set's archive, a file")
    target = out or ROOT / "results" / recipe / "-".join([archive.stem, *map(_slug, overrides)]) / f"seed-{seed}.json"
    _check_replaceable(target, overrides)
    with contextlib.ExitStack() as stack:
        folder = work or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="maskline-run-"))) / "project"
        run = Run(folder)
        run.clone(ROOT)
        run.use(recipe, [f"data.archive={_quoted(archive.resolve())}", f"train.seed={seed}", *overrides])
        seconds = run.timed()
        result = report(folder, recipe=recipe, seed=seed, archive=archive, overrides=overrides, seconds=seconds)
        write_json(target, result)
        images = (folder / "reports/evaluate/per_image.csv").read_text(encoding="utf-8")
        write_text(target.with_suffix(".csv"), images)
    log.info("%s: %.0f s, written to %s", recipe, seconds["total"], target)


def _slug(setting: str) -> str:
    """Return a setting as part of a folder's name, so that runs with others do not take its place."""
    key, _, value = setting.partition("=")
    return re.sub(r"[^\w.]+", "-", f"{key.rpartition('.')[2]}-{value}").strip("-")[:_SLUG]


def _check_replaceable(target: Path, overrides: tuple[str, ...]) -> None:
    """Raise where a run with other settings has this name already."""
    if target.is_file() and _read(target)["settings"] != list(overrides):
        raise DataError(target, "holds a run with other settings", "give -o another file")


class Run:
    """A clone of the project and what is run in it.

    Args:
        folder: Where it is to be; must not be there yet.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            # The clone's own code, and nothing compiled before.
            "PYTHONPATH": str(folder.resolve() / "lib"),
            "TORCHINDUCTOR_CACHE_DIR": str(folder.resolve().parent / "compiled"),
            "DVC_SITE_CACHE_DIR": str(folder.resolve().parent / "site"),
            "DVC_NO_ANALYTICS": "1",
        }
        self.environment.pop("DVC_ROOT", None)

    def clone(self, source: Path) -> None:
        """Clone the last commit; edits that are not committed are told, and are not in it.

        Raises:
            DataError: The folder is there already, or git fails.
        """
        if self.folder.exists():
            raise DataError(self.folder, "is there already", "give --work a new folder")
        if git(source, "status", "--porcelain", "--untracked-files=no"):
            log.warning("run_recipe: what is not committed in %s has no part in the run", source)
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        git(source, "clone", "--quiet", "--depth", "1", source.as_uri(), str(self.folder.resolve()))

    def use(self, recipe: str, overrides: list[str]) -> None:
        """Put a recipe into the clone's params.yaml, with its own data set.

        Raises:
            DataError: No such recipe in the last commit, or no such key.
        """
        settings = [word for override in overrides for word in ("-S", override)]
        self._python("maskline.commands.main", "recipe", "use", recipe, "--with-data", "--yes", *settings, quiet=True)

    def timed(self) -> dict[str, float]:
        """Run the pipeline up to the evaluation; return the seconds of its parts and of all processors together.

        Raises:
            DataError: A stage fails.
        """
        self._python("dvc", "repro", "download")
        busy, start = _children_seconds(), time.perf_counter()
        self._python("dvc", "repro", "convert")
        converted = time.perf_counter()
        self._python("dvc", "repro", "evaluate")
        end = time.perf_counter()
        return {
            "convert": round(converted - start, 1),
            "train_and_evaluate": round(end - converted, 1),
            "total": round(end - start, 1),
            "cpu": round(_children_seconds() - busy, 1),
        }

    def _python(self, module: str, *arguments: str, quiet: bool = False) -> None:
        words = [sys.executable, "-m", module, *arguments]
        sink = subprocess.DEVNULL if quiet else sys.stderr
        done = subprocess.run(words, cwd=self.folder, env=self.environment, stdout=sink, check=False)
        if done.returncode:
            raise DataError(
                " ".join(["python -m", module, *arguments[:3]]),
                f"ended with exit code {done.returncode}",
                "its output is above; fix it, commit, run this again",
            )


def report(
    folder: Path, *, recipe: str, seed: int, archive: Path, overrides: tuple[str, ...], seconds: dict[str, float]
) -> dict[str, Any]:
    """Return what is kept of a finished run: no path, no name of a machine, no time of day.

    Args:
        folder: The clone.
        recipe: Name of the recipe.
        seed: Its seed.
        archive: The data set's archive.
        overrides: Settings on top of the recipe.
        seconds: Times by part.
    """
    settings, scores = load_params(folder / "params.yaml"), folder / "reports/evaluate/scores.csv"
    images = Counter(row["split"] for row in _rows(folder / "data/prepared/manifest.csv"))
    return {
        "format": FORMAT,
        "recipe": recipe,
        "seed": seed,
        "settings": list(overrides),
        "commit": git(folder, "rev-parse", "HEAD"),
        "data": {
            "name": settings.data.name,
            "archive": archive.name,
            "sha256": sha256_file(archive),
            "images": dict(sorted(images.items())),
            "evaluated": scored_split(folder / "data/prepared", settings.evaluate.split),
        },
        "seconds": {**seconds, "training": float(_rows(folder / "reports/train/timing.csv")[0]["seconds"])},
        "iterations": settings.train.iterations,
        "threads": settings.train.threads,
        "hardware": hardware(),
        "receipt": _read(folder / "data/models/model.json")["receipt"],
        "training": _read(folder / "reports/train/metrics.json"),
        "metrics": scores_table.from_csv(scores.read_text(encoding="utf-8"), place=scores),
    }


def hardware() -> dict[str, Any]:
    """Return the processor, the cores that this process may use, and the memory in GiB."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
    }


def git(folder: Path, *arguments: str) -> str:
    """Return what git prints.

    Raises:
        DataError: It fails.
    """
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DataError(f"git {arguments[0]}", done.stderr.strip() or "failed", "run this in a checkout of the project")
    return done.stdout.strip()


def _quoted(path: Path) -> str:
    """Return a path as a value of -S: Hydra's grammar gives blanks and signs a meaning outside of quotes."""
    text = str(path).replace("'", "\\'")
    return f"'{text}'"


def _processor() -> str:
    for name, value in _cpu_lines():
        if name == "model name":
            return value
    return platform.processor() or platform.machine()


def _cpu_lines() -> Iterator[tuple[str, str]]:
    place = Path("/proc/cpuinfo")
    if place.is_file():
        for line in place.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            yield name.strip(), value.strip()


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
