"""What another label buys: runs of one recipe on fewer and on more train images, as a table of docs/results.md."""

import statistics
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from maskline.analysis.compare.images import compare_images, parse

if TYPE_CHECKING:
    from maskline.analysis.compare.paired_tests import Difference
    from tools.results import Result

_KEY = "data.train_images"
# Name on the page -> name among the scores that `maskline compare` takes.
COMPARED = {"Dice": "foreground.Dice", "mIoU": "mIoU"}


def curve(tables: Mapping[tuple[str, ...], Sequence["Result"]]) -> list[str]:
    """Return the section of one recipe's runs, or nothing where none differ in the number of train images alone.

    Args:
        tables: Recipe, archive, its hash, settings -> runs, all of one recipe.
    """
    alike: dict[tuple[str, ...], list[Sequence[Result]]] = {}
    for key, runs in tables.items():
        rest = tuple(word for word in key if word.lstrip("+").partition("=")[0] != _KEY)
        alike.setdefault(rest, []).append(runs)
    lines = []
    for parts in alike.values():
        by_size: dict[int, list[Result]] = {}
        for run in (run for runs in parts for run in runs):
            by_size.setdefault(_size(run), []).append(run)
        if len(by_size) > 1:
            lines += _section([by_size[size] for size in sorted(by_size)])
    return lines


def difference(a: "Result", b: "Result") -> "Difference":
    """Return ``b`` minus ``a``, image by image, in what the runs are judged by."""
    both = [parse(one.images, place=str(one.place)) for one in (a, b)]
    comparison = compare_images(*both, resamples=2000, seed=0, place=f"{a.place} and {b.place}")
    (score,) = [one for one in comparison.scores if one.name == COMPARED[a.score_name]]
    return score


def signed(score: "Difference") -> str:
    """Return a difference with its interval."""
    ends = "" if score.low is None else f" (95 % interval {score.low:+.4f} to {score.high:+.4f})"
    return f"{score.difference:+.4f}{ends}"


def _size(run: "Result") -> int:
    return int(run.content["data"]["images"]["train"])


def _section(parts: Sequence[Sequence["Result"]]) -> list[str]:
    first = parts[0][0]
    lines = [
        f"### What another label buys: {first.content['data']['archive']}",
        "",
        "Runs of this recipe that differ in `data.train_images` alone: the same number of steps, and a smaller set is "
        "part of the larger ones. Each is held against the row above it, image by image, in the first seed of both.",
        "",
        f"| train images | {first.score_name}, median | seeds | 95 % interval of the first | more than the row above "
        "| for each image more |",
        "| ---: | ---: | ---: | :---: | :---: | ---: |",
    ]
    gains = [("", ""), *(_gain(few, many) for few, many in pairwise(parts))]
    for runs, (more, each) in zip(parts, gains, strict=True):
        median = statistics.median(run.score for run in runs)
        cells = (str(_size(runs[0])), f"{median:.4f}", str(len(runs)), runs[0].interval, more, each)
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def _gain(few: Sequence["Result"], many: Sequence["Result"]) -> tuple[str, str]:
    """Return what the larger set gains, and that by image; empty where no seed is in both."""
    partners = {run.content["seed"]: run for run in many}
    for run in few:
        if partner := partners.get(run.content["seed"]):
            score = difference(run, partner)
            return signed(score), f"{score.difference / (_size(partner) - _size(run)):+.4f}"
    return "", ""
