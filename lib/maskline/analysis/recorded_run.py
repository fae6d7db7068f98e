"""What a trained model folder says about its run, and how a second run differs from it."""

import csv
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskline.core.errors import CheckpointError
from maskline.core.files import sha256_file, sha256_json
from maskline.params.base.former import with_names_of_now
from maskline.runtime import checkpoint

_ABSENT = "(absent)"

# Differences of these are differences of the result; all others are differences of what it was made of.
OUTCOMES = ("loss", "gradient norm", "weights", "final weights", "length of the run")

# What people call the parts of a receipt; others go by their key.
_NAMES = {
    "manifest_sha256": "manifest",
    "images_sha256": "images",
    "masks_sha256": "masks",
    "labels_sha256": "labels",
    "params_sha256": "params",
    "code_sha256": "code",
    "lock_sha256": "lock (requirements.lock)",
    "installed_instead": "packages that are not those of requirements.lock",
    "device_name": "device name",
    "threads": "thread count",
    "random_numbers": "random number scheme",
    "python": "environment: python",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A model folder.

    Args:
        folder: Where it is.
        card: Content of model.json.
        trace: Rows of trace.csv by iteration, as text.
    """

    folder: Path
    card: Mapping[str, Any]
    trace: Mapping[int, Mapping[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that is not as recorded.

    Args:
        what: Its name.
        recorded: In the receipt.
        found: Now.
    """

    what: str
    recorded: Any
    found: Any


def read(folder: Path) -> Run:
    """Read what a model folder says about its run.

    Raises:
        CheckpointError: Not a folder of the train stage, or not whole.
    """
    card = checkpoint.read_card(folder)
    path = Path(folder) / checkpoint.TRACE_FILE
    if "params_sha256" not in card.get("receipt", {}):
        raise CheckpointError(
            Path(folder) / checkpoint.CARD_FILE,
            "not a model that was trained here: its receipt has no settings",
            "verify a model of the train stage",
        )
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            rows = {int(row["iteration"]): row for row in csv.DictReader(stream)}
    except FileNotFoundError as error:
        raise CheckpointError(path, "no such file", "train again (dvc repro -f train)") from error
    except (KeyError, ValueError, TypeError, csv.Error) as error:
        raise CheckpointError(path, f"damaged ({error})", "take it from the cache (dvc checkout)") from error
    return Run(folder=Path(folder), card=card, trace=rows)


def params_of(run: Run, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a whole params file: the run's own sections, and those that training does not read.

    Args:
        run: See there.
        values: Every key of a params file.
    """
    return {**values, **_of_now(run, values)}


def integrity(run: Run) -> list[Difference]:
    """Return what in the folder is not what its receipt says: weights, settings."""
    receipt = run.card["receipt"]
    weights = run.folder / checkpoint.WEIGHTS_FILE
    pairs = (
        ("model.safetensors", receipt.get("weights_sha256"), sha256_file(weights) if weights.is_file() else _ABSENT),
        ("params in model.json", receipt["params_sha256"], sha256_json(run.card["params"])),
    )
    return [Difference(what=what, recorded=old, found=new) for what, old, new in pairs if old != new]


def changed_settings(run: Run, values: Mapping[str, Any]) -> list[Difference]:
    """Return the params whose values in a file, given with every key, are not those of the run."""
    now = dict(_leaves(values))
    own = dict(_leaves(_of_now(run, values)))
    return [
        Difference(what=f"params: {key}", recorded=value, found=now.get(key, _ABSENT))
        for key, value in own.items()
        if now.get(key, _ABSENT) != value
    ]


def _of_now(run: Run, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the run's sections by the names that keys have now; what changes no bit is no part of a run."""
    own = with_names_of_now(run.card["params"], place=run.folder)
    return {name: section for name, section in own.items() if name in run.card["params"] and name in values}


def compare(recorded: Run, again: Run) -> list[Difference]:
    """Return what a second run was made of differently, and where its results part from the first one's.

    Args:
        recorded: The run as it was.
        again: The second run; it may have stopped early.
    """
    return [*_causes(recorded.card["receipt"], again.card["receipt"]), *_outcomes(recorded, again)]


def _causes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Difference]:
    one, two = dict(_leaves(old)), dict(_leaves(new))
    for key in one | two:
        if key != "weights_sha256" and one.get(key, _ABSENT) != two.get(key, _ABSENT):
            yield Difference(what=_named(key), recorded=one.get(key, _ABSENT), found=two.get(key, _ABSENT))


def _named(key: str) -> str:
    for start, name in (
        ("libraries.", "environment: "),
        ("class_weights.", "class weights: "),
        ("own_code.", "code: "),
    ):
        if key.startswith(start):
            return name + key.removeprefix(start)
    return _NAMES.get(key, key)


def _outcomes(recorded: Run, again: Run) -> Iterator[Difference]:
    """Give the first iteration at which each measured thing differs, then the final weights."""
    for column in ("loss", "gradient_norm", "weights_sha256"):
        name = {"gradient_norm": "gradient norm", "weights_sha256": "weights"}.get(column, column)
        for number, row in again.trace.items():
            old, new = recorded.trace.get(number, {}).get(column), row[column]
            if old and new and not _same(old, new):
                yield Difference(what=name, recorded=f"iteration {number}: {old}", found=f"iteration {number}: {new}")
                break
    if len(again.trace) > len(recorded.trace):
        yield Difference(what="length of the run", recorded=len(recorded.trace), found=len(again.trace))
    if len(again.trace) >= len(recorded.trace):
        old, new = (run.card["receipt"]["weights_sha256"] for run in (recorded, again))
        if old != new:
            yield Difference(what="final weights", recorded=old, found=new)


def _same(old: str, new: str) -> bool:
    if old == new:
        return True
    try:  # two spellings of one number; nan is itself
        one, two = float(old), float(new)
    except ValueError:
        return False
    return one == two or (math.isnan(one) and math.isnan(two))


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for name, entry in value.items():
            yield from _leaves(entry, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list) and any(isinstance(entry, Mapping | list) for entry in value):
        for place, entry in enumerate(value):
            yield from _leaves(entry, f"{key}.{place}")
    else:
        yield key, value
