"""The results of ``tools.gpu_check``: kept as they come, judged by the promises, shown as one table."""

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskline.core.files import write_json

FORMS: Mapping[str, Mapping[str, Any]] = {
    "deterministic": {},
    "not deterministic": {"train.deterministic": False},
    "graph": {"train.graph": True},
    "eager": {"train.graph": False},
    "compiled": {"train.compile": True},
}
"""How the engine trains, by the params that differ from the checkout's; UNet has further ones."""

UNET_FORMS: Mapping[str, Mapping[str, Any]] = {
    "cache device": {"machine.cache": "device"},
    "8 workers": {"machine.workers": 8},
}

# Which card the milliseconds are promised for.
_FAST_CARD = re.compile(r"H100|H200|B200|GB200")
MOST_MS = {"unet-s5-d16": 12.0, "smp-unet-r50": 35.0}
LEAST_RATIO = 1.5
MOST_OVERHEAD = 0.08
BITS = ("the same bits twice", "the same bits after a stop")


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One thing to measure.

    Args:
        section: ``cases`` or ``checks``.
        name: Of the case or check.
        form: Of the case.
        seconds: About how long it takes on a data-centre GPU; it is skipped where less is left.
        run: Measures it; the row has ``outcome`` and ``reason`` where it did not work.
    """

    section: str
    name: str
    form: str
    seconds: float
    run: Callable[[], dict[str, Any]]


class Skip(Exception):  # noqa: N818  # no error
    """What is not there, or not possible here, in one line."""


class Report:
    """The results so far, in a JSON file that is whole at any time.

    Args:
        path: Of the file.
        head: What was measured on.
    """

    def __init__(self, path: Path, head: Mapping[str, Any]) -> None:
        self.path = path
        self.data: dict[str, Any] = {**head, "cases": {}, "checks": {}, "promises": {}}

    def put(self, item: Item, row: Mapping[str, Any]) -> None:
        """Keep a result, and what follows from all of them."""
        section = self.data[item.section]
        if item.section == "cases":
            section.setdefault(item.name, {})[item.form] = dict(row)
            derive(section[item.name])
        else:
            section[item.name] = dict(row)
        self.data["promises"] = promises(self.data)
        self.write()

    def write(self) -> None:
        """Write the file under another name, then rename it."""
        write_json(self.path, self.data)


def derive(forms: dict[str, Any]) -> None:
    """Add to each form of a case its ratio to the plain loop and what it adds to compute alone."""
    plain, compute = forms.get("plain", {}).get("step_ms"), forms.get("compute alone", {}).get("step_ms")
    captured = forms.get("compute alone, captured", {}).get("step_ms")
    for form, row in forms.items():
        wall = row.get("step_ms")
        if wall is None or form == "plain" or form.startswith("compute"):
            continue
        row["ratio"] = None if plain is None else round(plain / wall, 3)
        alone = captured if row.get("captured") else compute
        row["overhead"] = None if alone is None else round((wall - alone) / wall, 4)


def promises(data: Mapping[str, Any]) -> dict[str, bool | None]:
    """Return whether each promise is kept; None: not measured, or not for this card, or on a CPU."""
    kept: dict[str, bool | None] = {}
    fast = _FAST_CARD.search(data["card"]) is not None
    for case, most in MOST_MS.items():
        row = data["cases"].get(case, {}).get("deterministic", {})
        ms, ratio, overhead = row.get("step_ms"), row.get("ratio"), row.get("overhead")
        failed = row.get("outcome") == "failed"
        on_card = None if ms is None or not fast else ms <= most
        kept[f"{case}: at most {most:g} ms a step"] = False if failed else on_card
        kept[f"{case}: at least {LEAST_RATIO} of the plain loop"] = None if ratio is None else ratio >= LEAST_RATIO
        kept[f"{case}: under {MOST_OVERHEAD:.0%} beside compute alone"] = (
            None if overhead is None else overhead < MOST_OVERHEAD
        )
    for name in BITS:
        outcome = data["checks"].get(name, {}).get("outcome")
        kept[name] = None if outcome in {None, "skipped"} else outcome == "ok"
    return dict.fromkeys(kept) if data["card"] == "CPU" else kept


def run_all(items: Sequence[Item], report: Report, *, until: float, say: Callable[[str], None]) -> None:
    """Run the items in their order, as long as time is left; a failure is a result."""
    for item in items:
        name = f"{item.name}, {item.form}" if item.form else item.name
        left = until - time.monotonic()
        started = time.perf_counter()
        if left < item.seconds:
            row: dict[str, Any] = {"outcome": "skipped", "reason": f"{max(left, 0):.0f} s left of {item.seconds:.0f}"}
        else:
            row = attempt(item.run)
        row["seconds"] = round(time.perf_counter() - started, 1)
        report.put(item, row)
        ms = f" {row['step_ms']} ms" if "step_ms" in row else ""
        say(f"{name}: {row['outcome']}{ms}{' (' + row['reason'] + ')' if row.get('reason') else ''}")


def attempt(run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what a case gives, or why it gives nothing."""
    try:
        return {"outcome": "ok", **run()}
    except Skip as skip:
        return {"outcome": "skipped", "reason": str(skip)}
    except Exception as error:  # whatever it is, the other cases go on
        line = (str(error).strip() or "no message").splitlines()[0]
        return {"outcome": "failed", "reason": f"{type(error).__name__}: {line}"[:300]}


def table(data: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of the table."""
    yield f"{data['card']}, torch {data['torch']}, {data['cores']} cores, commit {data['commit']}"
    titles = ("ms", "of plain", "overhead", "busy", "waits", "kernels", "MiB")
    keys = ("step_ms", "ratio", "overhead", "busy", "waits", "kernels", "peak_mib")
    yield f"{'':40}" + "".join(f"{title:>10}" for title in titles) + "  outcome"
    for case, forms in data["cases"].items():
        for form, row in forms.items():
            cells = ["" if row.get(key) is None else f"{row[key]:.3g}" for key in keys]
            cells[0] = "" if row.get("step_ms") is None else f"{row['step_ms']:.2f}"
            outcome = row["outcome"] + (f": {row['reason']}" if row.get("reason") else "")
            yield f"{case + ', ' + form:40}" + "".join(f"{cell:>10}" for cell in cells) + f"  {outcome}"
    for name, row in data["checks"].items():
        outcome = row["outcome"] + (f": {row['reason']}" if row.get("reason") else "")
        yield f"{name:40}  {outcome}" + (f" ({row['value']})" if "value" in row else "")
    for case, forms in data["cases"].items():
        row = forms.get("deterministic", {})
        for place, times in (row.get("wait_lines") or {}).items():
            yield f"{case} waits {times:g} times a step at {place}"
        for kernel in row.get("top_kernels") or ():
            yield f"{case} {kernel['ms_a_step']:8.3f} ms {kernel['a_step']:7g} times a step: {kernel['name']}"


def verdict(data: Mapping[str, Any]) -> tuple[str, int]:
    """Return the last line and the exit code."""
    broken = [name for name, kept in data["promises"].items() if kept is False]
    unmeasured = [name for name, kept in data["promises"].items() if kept is None]
    if data["card"] == "CPU":
        return "no GPU: no promise is judged", 0
    if broken:
        return f"broken: {'; '.join(broken)}", 1
    return "kept" + (f"; not measured: {'; '.join(unmeasured)}" if unmeasured else ": all promises"), 0
