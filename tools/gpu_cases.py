"""What ``tools.gpu_check`` measures, the most important first."""

import copy
import functools
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from maskline.builders.losses import criterion
from maskline.builders.model import segmentor
from maskline.builders.training import build_training
from maskline.core.errors import CheckpointError
from maskline.data.dataset import PreparedSplit
from maskline.engine.journal import Journal
from maskline.engine.run import Job
from maskline.engine.state import TrainState, weights_of
from maskline.engine.validate import validate
from maskline.inference.predictor import Predictor
from maskline.params.base.reading import read_yaml
from maskline.params.network.heads import MaskHeadParams
from maskline.params.network.model import validate_model
from maskline.params.whole import Params
from maskline.runtime.checkpoint import weights_sha256
from maskline.runtime.device import resolve
from tools import device_steps
from tools.closure import ROOT
from tools.compare_loops import prepare, ready_steps
from tools.device_cases import CASES, device_params, knows
from tools.device_steps import Plan, Row
from tools.gpu_report import BITS, FORMS, UNET_FORMS, Item, Skip
from tools.plain_loop import write_files
from tools.twins import AUGMENTATIONS, LOSSES, twins

_NEAR = 1e-4  # of the largest value: float32 on two devices
_GRAY_LEVELS = 1.0
_MOST_STRAY = 1e-3  # share of pixels whose nearest source pixel may be another
_SCRATCH = "natural-scenes-10min"


class Bench:
    """The data, the device and how long to look.

    Args:
        folder: For the data.
        device: cuda or cpu.
        tiny: Small networks, crops and data, few steps.
    """

    def __init__(self, folder: Path, *, device: str, tiny: bool) -> None:
        self.folder, self.device, self.tiny = folder, torch.device(device), tiny
        self.workers = 0 if tiny else max(min(14, len(os.sched_getaffinity(0)) - 2), 0)
        self.plan = (
            Plan(warm=1, blocks=1, steps=1, seen=1, limit_s=5)
            if tiny
            else Plan(warm=5, blocks=3, steps=20, seen=5, limit_s=8)
        )

    @functools.cached_property
    def prepared(self) -> Path:
        """Folder of the prepared set."""
        number, size = (6, 96) if self.tiny else (32, 384)
        changes = {"data.synthetic.num_train": number, "data.synthetic.num_test": 2, "data.val_fraction": 0.34}
        return prepare(self.folder, size=size, changes=changes)

    @functools.cached_property
    def files(self) -> Path:
        """Folder of the train split as one file an image."""
        write_files(PreparedSplit.open(self.prepared, "train", cache="stream"), self.folder / "files")
        return self.folder / "files"

    def params(self, case: str, changes: Mapping[str, Any] | None = None) -> Params:
        """Return the params of a case."""
        return device_params(
            case, device=self.device.type, tiny=self.tiny, small_batch=self.tiny, changes=changes or {}
        )

    def job(self, params: Params) -> Job:
        """Build a run, after what the case before left is gone."""
        device_steps.clean(self.device)
        with chdir(ROOT):  # own code is named from there
            return build_training(params, self.prepared)

    def trained(self, case: str, form: str) -> Row:
        """Measure the engine."""
        changes = {**FORMS, **UNET_FORMS}[form]
        for key in changes:
            if key.startswith("train.") and not knows(key.removeprefix("train.")):
                raise Skip(f"not there: this checkout has no {key}")
        if self.device.type == "cpu" and (form in {"compiled", "graph", "eager", "cache device", "8 workers"}):
            raise Skip("not on a CPU")
        params = self.params(case, changes)
        job = self.job(params)
        row = device_steps.engine(job, self.plan)
        return {**row, "captured": bool(getattr(job.loop, "graph", False)), **self._rate(params, row)}

    def plain(self, case: str) -> Row:
        """Measure the plain loop."""
        params = self.params(case, {"train.fast_layers": False})
        row = device_steps.plain(self.job(params), self.files, params, workers=self.workers, plan=self.plan)
        return {**row, **self._rate(params, row)}

    def compute(self, case: str, *, captured: bool) -> Row:
        """Measure compute alone."""
        if captured and self.device.type == "cpu":
            raise Skip("not on a CPU")
        params = self.params(case)
        measured = (device_steps.captured if captured else device_steps.compute)(self.job(params), self.plan)
        return {**measured, **self._rate(params, measured)}

    @staticmethod
    def _rate(params: Params, row: Row) -> Row:
        return {"images_per_second": round(1000 * params.train.batch_size / row["step_ms"], 1)}

    def hash_after(self, name: str, *, stop: int | None = None) -> str:
        """Return the hash of UNet's weights after some steps, in a run that is stopped in between or not."""
        params = self.params("unet-s5-d16")
        length, journal = (4 if self.tiny else 20), Journal(self.folder / name)
        journal.folder.mkdir()
        if stop is not None:
            device_steps.run_to(self.job(params), stop, journal=journal)
        saved = journal.read() if stop is not None else None
        state: TrainState = device_steps.run_to(self.job(params), length, journal=journal, saved=saved)
        return weights_sha256(weights_of(state.model))

    @functools.cached_property
    def first_hash(self) -> str:
        """The hash of the run that others must equal."""
        return self.hash_after("first")

    def twice(self) -> Row:
        """Two runs have the same bits."""
        return _equal(self.first_hash, self.hash_after("second"))

    def stopped(self) -> Row:
        """A run that was stopped half-way has the same bits."""
        return _equal(self.first_hash, self.hash_after("stopped", stop=2 if self.tiny else 10))

    def augmented(self, changes: Mapping[str, Any]) -> Row:
        """The batch is the CPU's within a gray level."""
        whole = {f"augment.{section}.{key}": value for section, keys in changes.items() for key, value in keys.items()}
        params = self.params("unet-s5-d16", {"model.norm.name": "bn", **whole})
        batches = self.job(params).loop.batches
        here = batches.finish(batches.batch(0), torch.device("cpu"))
        there = batches.finish(batches.batch(0), self.device)
        std = torch.tensor(params.model.numbers()[1]).view(1, -1, 1, 1)
        apart = ((there.images.cpu() - here.images).abs() * std).flatten()
        # Where a step of the augmentation rounds or compares, single pixels may fall to the other side.
        level = float(apart.kthvalue(math.ceil((1 - _MOST_STRAY) * len(apart))).values)
        stray = float((there.targets.cpu() != here.targets).float().mean())
        _need(level <= _GRAY_LEVELS, f"images differ by {level:.2g} gray levels")
        _need(stray <= _MOST_STRAY, f"{stray:.2%} of the labels differ")
        return {"value": f"{float(apart.max()):.2g} gray levels at most, {stray:.2%} of the labels"}

    def loss(self, label: str, keywords: Mapping[str, Any]) -> Row:
        """A loss and its gradient are the CPU's."""
        section = self.params("unet-s5-d16").model.model_dump(mode="json")
        section["decode_head"]["losses"] = [{"name": label.partition(",")[0], **keywords}]
        head = validate_model(section, place=label).decode_head
        assert not isinstance(head, MaskHeadParams)
        function = criterion(head.losses)
        generator = torch.Generator().manual_seed(0)
        logits = torch.randn(2, 3, 24, 24, generator=generator)
        target = torch.randint(0, 3, (2, 24, 24), generator=generator)
        target[:, :2] = 255

        def value_and_gradient(device: torch.device) -> tuple[Tensor, Tensor]:
            given = logits.to(device, copy=True).requires_grad_()
            value = function(given, target.to(device), 255)
            value.backward()
            assert given.grad is not None
            return value.detach().cpu(), given.grad.cpu()

        pairs = zip(value_and_gradient(torch.device("cpu")), value_and_gradient(self.device), strict=True)
        return _near(max(_distance(found, expected) for expected, found in pairs))

    def twin(self, name: str) -> Row:
        """One step of a small network is finite."""
        params = self.params("unet-s5-d16")
        params = params.model_copy(update={"model": twins()[name]})
        loss = float(next(ready_steps(self.job(params))))
        _need(math.isfinite(loss), f"the loss is {loss}")
        return {"value": f"loss {loss:.3g}"}

    def pretrained(self) -> Row:
        """One step of the recipe whose encoder asks a hub where its package is missing."""
        section = read_yaml(ROOT / "recipes" / f"{_SCRATCH}.yaml")["model"]
        params, weights = self.params("smp-unet-r50"), "given"
        model = validate_model({**params.model.model_dump(mode="json"), **section}, place=_SCRATCH)
        try:
            segmentor(model, num_classes=3)
        except CheckpointError as error:
            values = model.model_dump(mode="json")
            values["smp"]["pretrained"] = values["backbone"]["pretrained"] = False
            model, weights = validate_model(values, place=_SCRATCH), f"fresh ({error.problem})"
        loss = float(next(ready_steps(self.job(params.model_copy(update={"model": model})))))
        _need(math.isfinite(loss), f"the loss is {loss}")
        return {"value": f"weights: {weights}; loss {loss:.3g}"}

    def predicted(self, case: str) -> Row:
        """Logits of an untrained network are the CPU's, tf32 off."""
        params = self.params(case, {"train.fast_layers": False})
        model = self.job(params).model.float().cpu().eval()
        images = torch.randint(0, 256, (1, 128, 160, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
        worst = 0.0
        for mode in ("whole", "slide"):
            here = self._predictor(model, params, mode=mode).logits(images)
            there = self._predictor(copy.deepcopy(model).to(self.device), params, mode=mode)
            with exact_products():
                worst = max(worst, _distance(there.logits(images.to(self.device)).cpu(), here))
        return _near(worst)

    @staticmethod
    def _predictor(model: torch.nn.Module, params: Params, *, mode: Any) -> Predictor:
        return Predictor(
            model=model,
            mean=params.model.numbers()[0],
            std=params.model.numbers()[1],
            mode=mode,
            window=(96, 96),
            stride=(64, 64),
            batch_size=4,
            weighting="gaussian",
            average="logits",
            precision="fp32",
        )

    def validated(self) -> Row:
        """Scores of the val split are the CPU's."""
        params = self.params("unet-s5-d16", {"train.fast_layers": False})
        job = self.job(params)
        model, split = job.model.cpu(), PreparedSplit.open(self.prepared, "val", cache="ram")
        rows = []
        for device in (torch.device("cpu"), self.device):
            with exact_products():
                rows.append(
                    validate(
                        copy.deepcopy(model).to(device),
                        split,
                        criterion=list(job.loop.criteria.values())[-1],
                        compute=resolve(device=device.type, precision="fp32", channels_last=True),
                        mean=params.model.numbers()[0],
                        std=params.model.numbers()[1],
                    )
                )
        worst = max(abs(rows[0][key] - rows[1][key]) for key in ("val_loss", "mIoU", "mDice"))
        _need(worst <= 1e-3, f"a score differs by {worst:.2g}")
        return {"value": f"scores differ by {worst:.2g} at most"}


@contextmanager
def exact_products() -> Iterator[None]:
    """Compute products in float32 inside the block, without tf32."""
    convolutions, products = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = convolutions, products


def items(folder: Path, *, device: str, tiny: bool) -> list[Item]:
    """Return everything there is to measure, in the order of its importance."""
    bench = Bench(folder, device=device, tiny=tiny)

    def case(name: str, form: str, seconds: float, run: Callable[[], Row]) -> Item:
        return Item(section="cases", name=name, form=form, seconds=0 if tiny else seconds, run=run)

    def check(name: str, seconds: float, run: Callable[[], Row]) -> Item:
        return Item(section="checks", name=name, form="", seconds=0 if tiny else seconds, run=run)

    def first_forms(name: str) -> list[Item]:
        return [
            case(name, "deterministic", 15, functools.partial(bench.trained, name, "deterministic")),
            case(name, "plain", 15, functools.partial(bench.plain, name)),
            case(name, "compute alone", 10, functools.partial(bench.compute, name, captured=False)),
            case(name, "compute alone, captured", 10, functools.partial(bench.compute, name, captured=True)),
        ]

    def further_form(name: str, form: str, seconds: float) -> Item:
        return case(name, form, seconds, functools.partial(bench.trained, name, form))

    unet, smp, *others = CASES
    augmentations = {"defaults": {}, **AUGMENTATIONS}
    small = list(twins())[: 1 if tiny else None]
    return [
        *first_forms(unet),
        *first_forms(smp),
        check(BITS[0], 10, bench.twice),
        check(BITS[1], 10, bench.stopped),
        *(further_form(name, form, 10) for name in (unet, smp) for form in ("not deterministic", "graph", "eager")),
        *(check(f"prediction, {name}", 5, functools.partial(bench.predicted, name)) for name in CASES),
        check("validation", 5, bench.validated),
        *(check(f"augmentation, {n}", 2, functools.partial(bench.augmented, c)) for n, c in augmentations.items()),
        *(check(f"loss, {name}", 1, functools.partial(bench.loss, name, each)) for name, each in LOSSES.items()),
        check(f"recipe {_SCRATCH}", 5, bench.pretrained),
        *(check(f"network, {name}", 3, functools.partial(bench.twin, name)) for name in small),
        *(item for name in others for item in first_forms(name)),
        *(further_form(name, form, 10) for name in others for form in ("not deterministic", "graph", "eager")),
        *(further_form(unet, form, 15) for form in UNET_FORMS),
        *(further_form(name, "compiled", 60) for name in CASES),
    ]


def _equal(found: str, expected: str) -> Row:
    _need(found == expected, f"{found[:12]} and {expected[:12]}")
    return {"value": found[:12]}


def _near(distance: float) -> Row:
    _need(distance <= _NEAR, f"{distance:.1e} of the largest value apart")
    return {"value": f"{distance:.1e}"}


def _distance(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-12))


def _need(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)
