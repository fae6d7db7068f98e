"""``python -m tools.export_study``: what exporting a network gains, and what eight bits cost it, in one run.

Each network is trained shortly on the synthetic set, in a copy of the project, and exported by its export stage: times
of torch eager, torch.compile, onnxruntime in float32 and in int8, taken in turn; and the share of test pixels whose
class is the same in int8. Times are of the machine it runs on: leave that one alone meanwhile.
"""

import csv
import io
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from tools.closure import ROOT
from tools.trial import Project, copy_of

NETWORKS: Mapping[str, Mapping[str, Any]] = {
    "Unet/ResNet-18": {"model.smp.architecture": "Unet", "model.smp.encoder": "resnet18"},
    "SegFormer-B0": {"model.smp.architecture": "Segformer", "model.smp.encoder": "mit_b0"},
}

TARGETS = {"Unet/ResNet-18": (0.60, 0.30), "SegFormer-B0": (0.60, 0.45)}
"""Network -> median time of float32 and of int8 over torch eager's, at most, at 1x3x512x512 on two CPU cores."""

AGREEMENT = 0.999


@click.command()
@click.option("--iterations", default=300, show_default=True, help="Of training each network.")
@click.option("--size", default=512, show_default=True, help="Sides of the timed image.")
@click.option("--runs", default=20, show_default=True, help="Timed calls of each.")
@click.option("--threads", default=2, show_default=True, help="CPU threads of all.")
@click.option("--compiled/--no-compiled", default=True, show_default=True, help="Time torch.compile too.")
@click.option(
    "--network", "names", type=click.Choice(list(NETWORKS)), multiple=True, help="One of them.  [default: all]"
)
@click.option("--set", "further", multiple=True, metavar="KEY=JSON", help="A further setting, for all networks.")
def main(
    *,
    iterations: int,
    size: int,
    runs: int,
    threads: int,
    compiled: bool,
    names: tuple[str, ...],
    further: tuple[str, ...],
) -> None:
    """Print a table of times and agreement, with the targets beside them."""
    values = {
        "model.type": "smp",
        "train.iterations": iterations,
        "train.val_every": iterations,
        "train.threads": threads,
        "schedule.warmup_length": min(50, iterations // 2),
        "export.variants": ["int8"],
        "export.int8.max_disagreement": 1.0,  # this looks at the difference; it does not refuse it
        "export.int8.max_metric_change": 1.0,
        "export.latency_size": [size, size],
        "export.latency_runs": runs,
        "export.latency_compiled": compiled,
        **{key: json.loads(value) for key, value in (setting.split("=", 1) for setting in further)},
    }
    for name in names or NETWORKS:
        with tempfile.TemporaryDirectory() as folder:
            project = copy_of(ROOT, Path(folder), {**values, **NETWORKS[name]})
            project.environment.pop("OMP_NUM_THREADS")
            project.run("dvc", "init", "-q", "-f")
            project.run("dvc", "repro")
            agreement = [row for row in _rows(project, "reports/export/agreement.csv") if row["images"] == "test"]
            times = [row for row in _rows(project, "reports/export/latency.csv") if row["batch"] == "1"]
        for line in _lines(name, agreement, times):
            click.echo(line)


def _rows(project: Project, path: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(project.read(path).decode())))


def _lines(name: str, agreement: Sequence[Mapping[str, str]], times: Sequence[Mapping[str, str]]) -> list[str]:
    fp32, int8 = TARGETS[name]
    targets = {"fp32": f"at most {fp32:.2f}", "int8": f"at most {int8:.2f}"}
    lines = [f"{name}: median ms, over eager"]
    for time in times:
        kind, median, ratio = time["name"], float(time["median_ms"]), float(time["ratio"])
        lines.append(f"  {kind:<16}{median:9.1f}{ratio:8.3f}  {targets.get(kind, '')}".rstrip())
    by_name = {row["name"]: row for row in agreement}
    of_int8 = by_name["int8"]
    lines.append(f"  same class in int8: {1 - float(of_int8['disagreement']):.5f}, at least {AGREEMENT}")
    lines.append(f"  mIoU torch {of_int8['mIoU_torch']}, int8 {of_int8['mIoU_exported']}")
    lines.append(f"  bytes fp32 {by_name['fp32']['bytes']}, int8 {of_int8['bytes']}")
    return lines


if __name__ == "__main__":
    main()
