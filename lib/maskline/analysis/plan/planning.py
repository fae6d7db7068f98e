"""A whole plan: fingerprint, rules, trial, and what comes of them as params."""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from maskline.analysis.plan import trial, writing
from maskline.analysis.plan.fingerprint import Fingerprint, fingerprint
from maskline.analysis.plan.rules import Choice, Costs, choices, kind, length
from maskline.core import yaml_text
from maskline.core.errors import ParamsError
from maskline.models.backbones import packaged
from maskline.models.backbones.encoder import resolve_encoder
from maskline.params.whole import Params, validate_params
from maskline.projects import recipe_merge
from maskline.projects.resources import shipped_params

_ENCODER = "tu-tf_efficientnet_lite0"
_MOST_THREADS = 16
_TRIAL_SHARE, _TRIAL_SECONDS = 0.02, (4.0, 30.0)  # of the time, and in between


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be trained, and why.

    Args:
        title: One line.
        about: Lines on the data set and the machine.
        seen: The data set.
        costs: This machine.
        choices: All of them, in order.
    """

    title: str
    about: tuple[str, ...]
    seen: Fingerprint
    costs: Costs
    choices: tuple[Choice, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain types."""
        costs = {name: round(value, 4) for name, value in asdict(self.costs).items()}
        return {
            "title": self.title,
            "data": self.seen.to_dict(),
            "seconds": costs,
            "choices": [asdict(choice) for choice in self.choices],
        }


def plan(prepared: Path, params: Path, *, minutes: float, threads: int | None) -> Plan:
    """Make a plan.

    Args:
        prepared: Prepared data, of which the train split alone is looked at.
        params: The params file whose data section stays; where there is none, the shipped one.
        minutes: Of training and evaluation.
        threads: Of training; None: the cores there are.

    Raises:
        MasklineError: No prepared data, or params that are wrong.
    """
    seen = fingerprint(prepared)
    there = packaged.source(resolve_encoder(_ENCODER)) is not None
    count = threads or min(_cores(), _MOST_THREADS)
    cores = Choice(keys={"train.threads": count}, reason="the cores there are" if threads is None else "as asked for")
    chosen = [*choices(seen, minutes=minutes, packaged=there), cores]
    fastest, fp32, bf16 = trial.precision(_drafted(params, chosen), prepared)
    reason = f"a step takes {fp32:.3g} s in fp32, {bf16:.3g} s in bf16"
    chosen.append(Choice(keys={"train.precision": fastest}, reason=reason))
    shortest, longest = _TRIAL_SECONDS
    seconds = min(max(minutes * 60 * _TRIAL_SHARE, shortest), longest)
    costs = trial.costs(_drafted(params, chosen), prepared, seconds=seconds)
    chosen.append(length(costs, seen, minutes=minutes))
    return Plan(
        title=f"maskline plan --minutes {minutes:g}",
        about=(
            f"{seen.train} train, {seen.val} val and {seen.test} test images, {seen.height}x{seen.width} px (median of "
            f"train), {seen.classes} classes: {_WHAT[kind(seen)]}",
            *_hints(seen),
            "Only train images were looked at. The rules: docs/explanation/plan.md",
        ),
        seen=seen,
        costs=costs,
        choices=tuple(chosen),
    )


def _hints(seen: Fingerprint) -> list[str]:
    """Return what a plan would like otherwise and cannot change: how images are read is in the section data."""
    if not seen.uneven:
        return []
    darkest, brightest = seen.brightness
    return [
        f"Gray images of unequal brightness (their brightest pixels from {darkest} to {brightest}): data.image_scale",
        "[p1, p99.8] would scale each by itself. Set it, then dvc repro convert, and plan anew.",
    ]


_WHAT = {"thin": "thin structures", "scene": "a scene", "objects": "objects"}


def merged(params: Path, recipe: str) -> str:
    """Return the text of a params file with a plan in it; its section data stays.

    Args:
        params: The file; where there is none, the shipped one.
        recipe: Text of the plan.

    Raises:
        ParamsError: The params file is wrong.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "plan.yaml"
        path.write_text(recipe, encoding="utf-8")
        return recipe_merge.merged(params if params.is_file() else shipped_params(), path, with_data=False)


def _drafted(params: Path, chosen: Sequence[Choice]) -> Params:
    """Return the params with a plan of no length yet."""
    unsaid = Choice(keys={"schedule.warmup_length": 0}, reason="")
    text = merged(params, writing.text("draft", (), [*chosen, unsaid]))
    return validate_params(yaml_text.load(text, place=params, error=ParamsError), place=params)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
