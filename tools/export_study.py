"""``python -m tools.export_study``: what exporting a network gains, and what eight bits cost it, in one run.

Each network is trained shortly on the synthetic set, in a copy of the project, and exported by its export stage: times
of torch eager, torch.compile, onnxruntime in float32 and in int8, taken in turn; and the share of test pixels whose
class is the same in int8. Times are of the machine it runs on: leave that one alone meanwhile.
"""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from tools.closure import ROOT
from tools.trial import copy_of

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
            agreement = json.loads(project.read("reports/export/metrics.json"))
            times = json.loads(project.read("reports/export/latency.json"))["batch_1"]
        for line in _lines(name, agreement, times):
            click.echo(line)


def _lines(name: str, agreement: Mapping[str, Any], times: Mapping[str, Any]) -> list[str]:
    fp32, int8 = TARGETS[name]
    targets = {"fp32": f"at most {fp32:.2f}", "int8": f"at most {int8:.2f}"}
    lines = [f"{name}: median ms, over eager"]
    for kind, time in times.items():
        lines.append(
            f"  {kind:<16}{time['median_ms']:9.1f}{time.get('ratio', 1.0):8.3f}  {targets.get(kind, '')}".rstrip()
        )
    of_int8 = agreement["int8"]["test"]
    lines.append(f"  same class in int8: {1 - of_int8['disagreement']:.5f}, at least {AGREEMENT}")
    lines.append(f"  mIoU torch {of_int8['mIoU_torch']}, int8 {of_int8['mIoU_exported']}")
    lines.append(f"  bytes fp32 {agreement['bytes']}, int8 {agreement['int8']['bytes']}")
    return lines


if __name__ == "__main__":
    main()
