"""How many operations a training step is made of: ``python -m tools.operations`` counts anew and writes the table.

On a GPU each is a kernel or more, and launching one takes longer than most of them compute. Counted are the operations
that torch dispatches, without views, by the part of the step: on the CPU in bf16, and on the meta device in float32,
where the code takes the ways that it takes on a GPU. tests/devices/test_operations.py looks at the numbers.
"""

import tempfile
from contextlib import chdir, nullcontext
from pathlib import Path
from typing import Any

import torch

from maskline.builders.training import build_training
from maskline.core.files import write_json
from maskline.engine.run import Job
from tools.closure import ROOT
from tools.compare_loops import prepare
from tools.device_cases import CASES, device_params
from tools.device_watch import DeviceWatch
from tools.meta import on_meta

TABLE = ROOT / "tests" / "devices" / "operations.json"
PARTS = ("augmentation", "forward", "loss", "backward", "optimizer")
DEVICES = ("cpu", "meta")


def count(job: Job) -> dict[str, int]:
    """Return the number of operations of each part of a step; that of the second one, when all state is there."""
    loop, watch = job.loop, DeviceWatch("none")
    numbers: dict[str, int] = {}

    def part(name: str) -> DeviceWatch:
        if watch.operations:
            numbers[counting[-1]] = watch.operations.total()
        counting.append(name)
        watch.clear()
        return watch

    counting = [""]
    job.model.train()
    for number in range(2):
        batch = loop.batches.batch(number)
        with part("augmentation"):
            augmented = loop.batches.finish(batch, loop.compute.device)
            images = augmented.images.contiguous(memory_format=loop.compute.memory_format)
        job.optimizer.zero_grad(set_to_none=True)
        with part("forward"), loop.compute.autocast():
            pairs = job.model.training_pairs(images, augmented.targets)
        ignored = loop.batches.augmentation.ignore_index
        with part("loss"):
            losses = [loop.criteria[name](logits, target, ignored) for name, (logits, target) in pairs.items()]
            total = torch.stack(losses).sum()
        with part("backward"):
            total.backward()  # type: ignore[no-untyped-call]
        with part("optimizer"):
            job.optimizer.step()
    part("")
    return numbers


def counted(prepared: Path, case: str, device: str) -> dict[str, int]:
    """Return the number of operations of each part of a step of one of CASES."""
    changes: dict[str, Any] = {"train.precision": "bf16" if device == "cpu" else "fp32", "train.fast_layers": False}
    # A narrow UNet is made of as many operations as a wide one.
    tiny = case.startswith(("unet", "vit"))
    params = device_params(case, device="cpu", tiny=tiny, small_batch=True, changes=changes)
    with chdir(ROOT), on_meta() if device == "meta" else nullcontext():
        return count(build_training(params, prepared))


def prepared_set(folder: Path) -> Path:
    """Return a small prepared set."""
    number = {"data.synthetic.num_train": 6, "data.synthetic.num_test": 2, "data.val_fraction": 0.34}
    return prepare(folder, size=96, changes=number)


def main() -> None:
    """Count all and write the table."""
    with tempfile.TemporaryDirectory(prefix="operations-") as folder:
        prepared = prepared_set(Path(folder))
        cases = {case: {device: counted(prepared, case, device) for device in DEVICES} for case in CASES}
    write_json(TABLE, {"torch": torch.__version__.partition("+")[0], "cases": cases})
    print(f"| network, device | {' | '.join(PARTS)} | together |")
    for case, devices in cases.items():
        for device, numbers in devices.items():
            cells = [numbers[part] for part in PARTS]
            print(f"| {case}, {device} | {' | '.join(map(str, cells))} | {sum(cells)} |")


if __name__ == "__main__":
    main()
