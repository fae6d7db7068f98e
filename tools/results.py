"""docs/results.md, made of the runs under results/.

``make results`` writes it; a test fails while it is stale. ``tools.run_recipe`` makes the runs.
"""

import json
import shlex
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskline.analysis.compare.images import parse
from maskline.core.files import write_text
from tools.learning_curve import curve, difference, signed
from tools.recipe_measured import MEASURED, PUBLISHED

ROOT = Path(__file__).resolve().parent.parent
_LONGEST = 40  # characters of a setting in a heading
_Key = tuple[str, ...]
_INTRO = """# Results

<!-- Made of the files under results/ by `make results`. -->

Each row of a table is one run of a [recipe](how-to/recipes.md), from the archive to the scores, in a fresh clone at the
commit named, or at one with the same training code: the receipt in its file has the code's hash.
`python -m tools.run_recipe` makes it, and writes its scores, times and hashes to `results/`, of which
this page is made.

- **Score**: of all pixels of the scored images together, each image whole and at its own size. The interval is a 95 %
  bootstrap interval over images (over groups of them, where the set has groups): how far the score might move on other
  images of the same kind; with a handful of images or groups it is rough. It says nothing of other training runs:
  their spread over seeds does.
- **Total** is wall time in seconds: conversion, training and evaluation, with the start of each process and, where the
  network is compiled, its compilation. Fetching the archive is not in it. **Processor** is the time of all cores
  together: where it is far below cores times total, something else was using the machine.
- Settings were chosen on parts of the train images, never on the images scored here:
  [what was tried](explanation/trials.md).
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One committed run.

    Args:
        place: Its JSON file.
        content: What ``tools.run_recipe.report`` returned.
    """

    place: Path
    content: dict[str, Any]

    @property
    def key(self) -> _Key:
        """Recipe, archive and its hash, settings on top: what the runs of one table have in common."""
        data = self.content["data"]
        return self.content["recipe"], data["archive"], data["sha256"], *self.content["settings"]

    @property
    def score_name(self) -> str:
        """What the run is judged by."""
        return "Dice" if "foreground" in self.content["metrics"] else "mIoU"

    @property
    def score(self) -> float:
        """The score that the run is judged by."""
        metrics = self.content["metrics"]
        return float(metrics["foreground"]["Dice"] if self.score_name == "Dice" else metrics["mIoU"])

    @property
    def interval(self) -> str:
        """The score's 95 % interval."""
        intervals = self.content["metrics"].get("uncertainty_95", {})
        return _interval(
            intervals.get("foreground", {}).get("Dice") if self.score_name == "Dice" else intervals.get("mIoU")
        )

    @property
    def images(self) -> str:
        """Text of per_image.csv."""
        return self.place.with_suffix(".csv").read_text(encoding="utf-8")


def page(folder: Path) -> str:
    """Return the page of all runs below a folder."""
    tables: dict[_Key, list[Result]] = {}
    for result in read(folder):
        tables.setdefault(result.key, []).append(result)
    names = [*MEASURED, *sorted({key[0] for key in tables} - set(MEASURED))]
    lines = [_INTRO, *_glance(names, tables)]
    for name in names:
        lines += _recipe(name, {key: runs for key, runs in tables.items() if key[0] == name}, tables)
    return "\n".join(lines)


def read(folder: Path) -> list[Result]:
    """Return the runs below a folder, in the order of their tables and seeds."""
    runs = [
        Result(place=place, content=json.loads(place.read_text(encoding="utf-8"))) for place in folder.rglob("*.json")
    ]
    return sorted(runs, key=lambda result: (result.key, result.content["seed"]))


def _glance(names: Sequence[str], tables: dict[_Key, list[Result]]) -> list[str]:
    """Return one row a table: what a reader looks for first."""
    shown = [(name, runs) for name in names for key, runs in tables.items() if key[0] == name]
    if not shown:
        return []
    lines = [
        "| recipe | data | images: train, scored | score, median | seeds: smallest to largest | a second observer "
        "| minutes, longest |",
        "| --- | --- | ---: | ---: | :---: | ---: | ---: |",
    ]
    for name, runs in shown:
        content, scores = runs[0].content, [run.score for run in runs]
        images = content["data"]["images"]
        human = content["metrics"].get("second_annotator", {}).get("foreground", {}).get("Dice")
        cells = (
            f"`{name}`",
            " ".join([content["data"]["archive"], *(f"`{_brief(word)}`" for word in content["settings"])]),
            f"{images.get('train', 0)}, {images[content['data']['evaluated']]}",
            f"{runs[0].score_name} {statistics.median(scores):.4f}",
            f"{len(runs)}: {min(scores):.4f} to {max(scores):.4f}" if len(runs) > 1 else "1",
            "" if human is None else f"{human:.4f}",
            f"{max(run.content['seconds']['total'] for run in runs) / 60:.1f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def _recipe(name: str, own: dict[_Key, list[Result]], tables: dict[_Key, list[Result]]) -> list[str]:
    recipe = MEASURED.get(name)
    about = f" {recipe.about}" if recipe else ""
    lines = [f"## {recipe.title if recipe else name}", "", f"Recipe `{name}`.{about}", ""]
    if not own:
        archive = recipe.archive if recipe else "ARCHIVE"
        lines += [f"No run is committed yet. To make one: `{_command(name, 0, archive, ())}`", ""]
    for runs in own.values():
        lines += [*_table(runs), ""]
        if recipe and recipe.beside:
            lines += _beside(runs, recipe.beside, tables)
    return lines + curve(own)


def _table(runs: Sequence[Result]) -> list[str]:
    first = runs[0].content
    data, score = first["data"], runs[0].score_name
    split = ", ".join(f"{count} {part}" for part, count in data["images"].items() if count)
    groups = len(set(parse(runs[0].images, place=str(runs[0].place)).groups))
    number = data["images"][data["evaluated"]]
    scored = f"{number} of `{data['evaluated']}`" + (f", of {groups} kinds or people" if groups < number else "")
    return [
        f"### {' '.join([data['archive'], *map(_brief, first['settings'])])}",
        "",
        f"Data set `{data['name']}`: {split}; scored are the {scored}. Archive SHA-256 `{data['sha256'][:16]}`.",
        "",
        f"| seed | {score} | 95 % interval | total | convert | train and evaluate | processor | commit |",
        "| ---: | ---: | :---: | ---: | ---: | ---: | ---: | --- |",
        *map(_row, runs),
        "",
        *_summary(runs),
        *_references(runs),
        f"- To repeat: `{_command(first['recipe'], first['seed'], data['archive'], first['settings'])}`",
        f"- Hardware: {'; '.join(_unique(_hardware(run.content) for run in runs))}",
    ]


def _brief(setting: str) -> str:
    """Return a setting, a long value left out: the command below its table has it."""
    return setting if len(setting) <= _LONGEST else f"{setting.partition('=')[0]}=..."


def _row(run: Result) -> str:
    content, seconds = run.content, run.content["seconds"]
    cells = (
        str(content["seed"]),
        f"{run.score:.4f}",
        run.interval,
        *(f"{seconds[key]:.0f}" for key in ("total", "convert", "train_and_evaluate", "cpu")),
        f"`{content['commit'][:10]}`",
    )
    return f"| {' | '.join(cells)} |"


def _summary(runs: Sequence[Result]) -> list[str]:
    scores = [run.score for run in runs]
    if len(runs) == 1:
        return ["- One seed: how far another would be from it is not known"]
    return [
        f"- {len(runs)} seeds: median {statistics.median(scores):.4f}, smallest {min(scores):.4f}, "
        f"largest {max(scores):.4f}"
    ]


def _references(runs: Sequence[Result]) -> list[str]:
    content = runs[0].content
    lines = []
    if human := content["metrics"].get("second_annotator"):
        ends = content["metrics"].get("uncertainty_95", {}).get("second_annotator", {}).get("foreground", {})
        lines.append(
            f"- A second observer against the first, same images: Dice {human['foreground']['Dice']:.4f} "
            f"(95 % interval {_interval(ends.get('Dice'))})"
        )
    published = PUBLISHED.get(content["data"]["name"], ())
    lines += [f"- Published: {who}: {score} ({source}). Convention: {way}" for who, score, source, way in published]
    return lines


def _beside(runs: Sequence[Result], other: str, tables: dict[_Key, list[Result]]) -> list[str]:
    """Return the comparison with the recipe that differs in one thing, seed by seed, on the same images."""
    partners = {run.content["seed"]: run for run in tables.get((other, *runs[0].key[1:]), [])}
    lines = []
    for run in runs:
        if partner := partners.get(run.content["seed"]):
            score = difference(partner, run)
            named = f"{run.score_name} {signed(score)}, p {score.p:.3f}"
            lines.append(f"- Minus `{other}`, seed {run.content['seed']}, image by image: {named}")
    return [*lines, ""] if lines else []


def _interval(ends: dict[str, float] | None) -> str:
    return f"{ends['low']:.4f} to {ends['high']:.4f}" if ends else ""


def _command(recipe: str, seed: int, archive: str, settings: Sequence[str]) -> str:
    words = ["python -m tools.run_recipe", recipe, f"--seed {seed}", f"--data {archive}"]
    return " ".join([*words, *(f"-S {shlex.quote(word)}" for word in settings)])


def _hardware(content: dict[str, Any]) -> str:
    machine, receipt = content["hardware"], content["receipt"]
    parts = [
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB",
        *([] if receipt["device"] == "cpu" else [receipt["device_name"]]),
        f"train.threads {content['threads']}, {receipt['precision']}, torch {receipt['libraries']['torch']}",
    ]
    return ", ".join(parts)


def _unique(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


def main() -> None:
    """Write the page."""
    write_text(ROOT / "docs/results.md", page(ROOT / "results"))


if __name__ == "__main__":
    main()
