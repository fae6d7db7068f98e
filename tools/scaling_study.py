"""What becomes of a step on 1, 8 and 64 GPUs, simulated: ``python -m tools.scaling_study``.

Each GPU is a process. torch's DistributedDataParallel cuts the gradients into buckets and hands one over as soon as it
is full, as in training (``runtime/processes/distributed.py``); gloo adds them up, a thousandth of their numbers, so
that no process starts before all are ready. What a simulation has to bring is time: forward, each layer's backward and
the optimizer wait as long as a GPU computes, a bucket as long as its bytes take over the slowest link, one bucket after
the other, and the loader hands over as many images a second as it is told. All times are stretched, so that the
processes' own work does not count. Beside it stands what arithmetic says, without the spread of steps.

Nothing of it was measured on more than one GPU. What is put in stands in ``CLUSTERS`` and ``NETWORKS``.
"""

import itertools
import json
import math
import multiprocessing
import queue
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from maskline.builders.model import segmentor
from tools.device_cases import device_params

_SCALE = 1000  # numbers of the network for one of the simulation
_BUCKET = 25 * 2**20  # bytes; DistributedDataParallel's own, whose first bucket is smaller
_FORWARD, _OPTIMIZER = 0.3, 0.05  # shares of a step's compute; the rest is backward
_QUEUE = 2  # batches that a loader is ahead


@dataclass(frozen=True)
class Cluster:
    """GPUs and the slowest link on the way round them.

    Attributes:
        gpus: How many.
        bytes_s: Nominal bytes a second of that link in one direction; of all network cards of a machine together.
        used: Share of it that collective operations come to.
        latency_s: Seconds from one GPU to the next.
    """

    name: str
    gpus: int
    bytes_s: float
    used: float = 0.8
    latency_s: float = 5e-6

    def seconds(self, size: float) -> float:
        """Return how long adding up ``size`` bytes takes: by a ring or by a tree, whichever is faster."""
        if self.gpus == 1:
            return 0.0
        rate = self.bytes_s * self.used
        ring = 2 * (self.gpus - 1) / self.gpus * size / rate + 2 * (self.gpus - 1) * self.latency_s
        tree = 2 * size / rate + 2 * math.ceil(math.log2(self.gpus)) * self.latency_s
        return min(ring, tree)


@dataclass(frozen=True)
class Network:
    """A network's gradients, and how long one GPU computes on its share of a batch.

    Attributes:
        compute_s: Seconds of forward, losses, backward and optimizer.
        samples: Images in a GPU's share.
        parameters: Numbers in each tensor of parameters, in the order of the network.
    """

    name: str
    compute_s: float
    samples: int
    parameters: Sequence[int] = field(repr=False)

    @property
    def bytes(self) -> int:
        """Bytes of gradients in a step."""
        return 4 * sum(self.parameters)


CLUSTERS = (
    Cluster("1", 1, math.inf),
    Cluster("8, NVLink 450 GB/s", 8, 450e9),
    Cluster("8, PCIe 32 GB/s", 8, 32e9),
    Cluster("8 machines of one, 100 Gbit/s", 8, 12.5e9),
    Cluster("8 machines of one, 25 Gbit/s", 8, 3.125e9),
    Cluster("64, 8 cards of 400 Gbit/s a machine", 64, 400e9),
    Cluster("64, 1 card of 100 Gbit/s a machine", 64, 12.5e9),
    Cluster("64, 1 card of 25 Gbit/s a machine", 64, 3.125e9),
)
# Case of tools.device_cases, name, seconds of compute, images a GPU. The first was measured on one H100 (a plain loop's
# compute alone), the others are what is aimed at.
NETWORKS = (
    ("unet-s5-d16", "UNet-S5-D16, 24.3 ms", 0.0243, 16),
    ("unet-s5-d16", "UNet-S5-D16, 12 ms", 0.012, 16),
    ("smp-unet-r50", "SMP Unet/ResNet-50, 35 ms", 0.035, 16),
)


def network(case: str, name: str, compute_s: float, samples: int) -> Network:
    """Return a network of ``tools.device_cases`` with the sizes of its parameters, from torch's meta device."""
    params = device_params(case, device="cpu", tiny=False, small_batch=False, changes={})
    with torch.device("meta"):
        model = segmentor(params.model, num_classes=2)
    return Network(name, compute_s, samples, [p.numel() for p in model.parameters() if p.requires_grad])


def computed(of: Network, cluster: Cluster) -> float:
    """Return a step's seconds by arithmetic: each bucket goes when it is full and the one before it has gone."""
    backward = of.compute_s * (1 - _FORWARD - _OPTIMIZER)
    clock = of.compute_s * _FORWARD
    gone, bucket = clock, 0
    each = backward / len(of.parameters)
    for number, size in enumerate(reversed(of.parameters)):
        clock += each
        bucket += 4 * size
        if bucket >= _BUCKET or number == len(of.parameters) - 1:
            gone = max(gone, clock) + cluster.seconds(bucket)
            bucket = 0
    return max(gone, clock) + of.compute_s * _OPTIMIZER


@dataclass(frozen=True)
class Plan:
    """How the simulation runs.

    Attributes:
        stretch: Seconds of the simulation for one of a GPU.
        steps: Counted ones; two more come before them.
        spread: Standard deviation of a GPU's compute from step to step, relative.
        images_s: Images a second that a GPU's loader makes; None for as many as are asked for.
    """

    stretch: float = 40.0
    steps: int = 8
    spread: float = 0.02
    images_s: float | None = None


def simulate(of: Network, cluster: Cluster, plan: Plan) -> float:
    """Return a step's seconds, the median over the first process's steps."""
    context = multiprocessing.get_context("fork")  # the processes share torch's memory
    with tempfile.TemporaryDirectory() as folder:
        results = context.Queue()
        arguments = (of, cluster, plan, Path(folder) / "rendezvous", results)
        processes = [context.Process(target=_worker, args=(rank, *arguments)) for rank in range(cluster.gpus)]
        for process in processes:
            process.start()
        seconds = float(results.get(timeout=600))
        for process in processes:
            process.join()
    return seconds


def _worker(rank: int, of: Network, cluster: Cluster, plan: Plan, meeting: Path, results: Any) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=cluster.gpus)
    random = np.random.default_rng(rank)
    chain = _Chain(of)
    parallel = DistributedDataParallel(chain, gradient_as_bucket_view=True, bucket_cap_mb=_BUCKET / 2**20 / _SCALE)
    parallel.register_comm_hook(_Line(cluster, plan.stretch), _Line.add)
    clock, ends = _Clock(plan), []
    for _ in range(plan.steps + 2):
        clock.batch(of.samples)
        chain.begin(of.compute_s * plan.stretch * max(1 + plan.spread * random.standard_normal(), 0.5))
        parallel(torch.zeros(1, requires_grad=True)).backward()
        _until(time.perf_counter() + chain.optimizer_s)
        ends.append(time.perf_counter())
    if rank == 0:
        results.put(float(np.median(np.diff(ends[1:]))) / plan.stretch)
    distributed.barrier()


class _Clock:
    """When a loader that is at most two batches ahead hands over the next one."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._made = time.perf_counter()
        self._taken: list[float] = []

    def batch(self, samples: int) -> None:
        if self._plan.images_s is None:
            return
        place_free = self._taken[-_QUEUE] if len(self._taken) >= _QUEUE else self._made
        self._made = max(self._made, place_free) + samples / self._plan.images_s * self._plan.stretch
        _until(self._made)
        self._taken.append(time.perf_counter())


class _Chain(nn.Module):
    """As many numbers in as many tensors as the network has, a thousandth of each; its backward pass takes time."""

    def __init__(self, of: Network) -> None:
        super().__init__()
        sizes = [max(round(size / _SCALE), 1) for size in of.parameters]
        self.tensors = nn.ParameterList([nn.Parameter(torch.zeros(size)) for size in sizes])
        self.optimizer_s = 0.0

    def begin(self, seconds: float) -> None:
        """Start a step whose compute takes so long."""
        start = time.perf_counter()
        forward, backward = seconds * _FORWARD, seconds * (1 - _FORWARD - _OPTIMIZER)
        self.optimizer_s = seconds * _OPTIMIZER
        number = len(self.tensors)
        self._forward_end = start + forward
        self._ends = [start + forward + backward * (number - place) / number for place in range(number)]

    def forward(self, value: Tensor) -> Tensor:
        for weight, end in zip(self.tensors, self._ends, strict=True):
            value = _Timed.apply(value, weight, end)  # type: ignore[no-untyped-call]
        _until(self._forward_end)
        return value


class _Timed(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, value: Tensor, weight: Tensor, end: float) -> Tensor:
        context.save_for_backward(weight)
        context.end = end
        return value.clone()

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        _until(context.end)
        return gradients[0], torch.zeros_like(context.saved_tensors[0]), None


class _Line:
    """The link: gloo adds a bucket up, then its bytes take their time, one bucket after the other."""

    def __init__(self, cluster: Cluster, stretch: float) -> None:
        self._cluster, self._stretch = cluster, stretch
        self._waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
        threading.Thread(target=self._serve, daemon=True).start()

    def add(self, bucket: distributed.GradBucket) -> torch.futures.Future[Tensor]:  # type: ignore[name-defined]
        """Return the future of a bucket; torch's form of a communication hook."""
        result: torch.futures.Future[Tensor] = torch.futures.Future()
        self._waiting.put((distributed.all_reduce(bucket.buffer(), async_op=True), bucket.buffer(), result))
        return result

    def _serve(self) -> None:
        while True:
            work, buffer, result = self._waiting.get()
            work.wait()
            size = buffer.numel() * buffer.element_size() * _SCALE
            _until(time.perf_counter() + self._cluster.seconds(size) * self._stretch)
            result.set_result(buffer)


def _until(moment: float) -> None:
    time.sleep(max(moment - time.perf_counter(), 0.0))


@click.command()
@click.option("--gpus", type=int, default=8, show_default=True, help="The largest number that is simulated.")
@click.option("--stretch", type=float, default=40.0, show_default=True, help="Seconds for one of a GPU.")
@click.option("--steps", type=int, default=8, show_default=True)
@click.option("--images-s", type=float, help="Images a second that the loader of each GPU makes.")
@click.option("--json", "path", type=click.Path(path_type=Path), help="Writes the rows there too.")
def main(gpus: int, stretch: float, steps: int, images_s: float | None, path: Path | None) -> None:
    """Print a step's time by network and cluster: computed, and simulated up to a number of GPUs.

    Two cores need 1.9 s a step for 64 processes alone: more than can be stretched away.
    """
    rows = []
    columns = "network, images a GPU|GPUs|gradients, MB|adding up alone, ms|computed, ms|simulated, ms|of one GPU"
    click.echo(f"| {columns.replace('|', ' | ')} |")
    click.echo("| --- | --- | --- | --- | --- | --- | --- |")
    networks = [network(*each) for each in NETWORKS]
    for of, cluster in itertools.product(networks, CLUSTERS):
        plan = Plan(stretch=stretch, steps=steps, images_s=images_s)
        expected, step = computed(of, cluster), simulate(of, cluster, plan) if cluster.gpus <= gpus else None
        rows.append({"network": of.name, **asdict(cluster), "computed_s": expected, "step_s": step})
        numbers = [of.bytes / 1e6, cluster.seconds(of.bytes) * 1e3, expected * 1e3]
        shown = [f"{of.name}, {of.samples}", cluster.name, *(f"{number:.1f}" for number in numbers)]
        shown += [f"{step * 1e3:.1f}" if step else "", f"{of.compute_s / (step or expected):.2f}"]
        click.echo(f"| {' | '.join(shown)} |")
        if path:
            path.write_text(json.dumps(rows, indent=1, default=str))


if __name__ == "__main__":
    main()
