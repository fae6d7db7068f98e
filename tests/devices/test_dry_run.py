"""A training step, each augmentation, loss and predictor on the meta device: nothing is mixed, nothing read unlisted.

``read_backs.py`` is the list.
"""

import pytest
import torch
from torch import nn

from maskline.builders.losses import criterion
from maskline.builders.model import segmentor
from maskline.inference.crf import DenseCrf
from maskline.inference.pipeline import Inference
from maskline.inference.predictor import Predictor
from maskline.inference.tta import Tta
from maskline.params.network.model import validate_model
from tests.devices.read_backs import LISTED
from tools.device_cases import CASES, device_params
from tools.device_watch import DeviceWatch, most
from tools.twins import AUGMENTATIONS, LOSSES, twins

_NEVER = 1_000_000


def settings(case="unet-s5-d16", **changes):
    dotted = {key.replace("__", "."): value for key, value in changes.items()}
    shared = {"train.log_every": _NEVER, "train.batch_size": 4}
    return device_params(case, device="cpu", tiny=True, small_batch=True, changes={**shared, **dotted})


def check(part, watches, *, leave_out=()):
    """Compare with the list; the message has the list as it would be."""
    mixed = {f"{name}: {line}" for name, watch in watches.items() for line in watch.mixed}
    assert not mixed, "\n".join(sorted(mixed))
    found, listed = {}, LISTED[part]
    for kind in ("reads", "copies"):
        for key, times in most([getattr(watch, kind) for watch in watches.values()]).items():
            whole = key if kind == "reads" else f"copy to it at {key}"
            if not whole.partition(" at ")[2].startswith(leave_out):
                found[whole] = times
    lines = [f'        "{key}": ({times}, "{listed.get(key, (0, ""))[1]}"),' for key, times in found.items()]
    message = "\n".join([f"{part}, as it is now:", *lines])
    assert found == {key: times for key, (times, _) in listed.items()}, message


def test_a_step(watched):
    """That of params.yaml's augmentation: all that it reads and copies."""
    check("a step", {"defaults": watched(settings())})


def test_a_step_that_logs(watched):
    check("a step that logs", {"logs": watched(settings(train__log_every=2))}, leave_out=("augment", "runtime"))


def test_options_of_a_step(watched):
    watches = {
        "average": watched(settings(train__ema_decay=0.9), steps=1),
        "accumulate": watched(settings(train__accumulate=2), steps=1),
        "sgd": watched(settings(optimizer__name="sgd"), steps=1),
        "clip": watched(settings(optimizer__clip_norm=1.0), steps=1),
        "class crop": watched(settings(augment__class_crop=0.5, augment__cat_max_ratio=0.75), steps=1),
    }
    check("options of a step", watches, leave_out=("augment", "runtime"))


def test_a_step_of_each_network(watched):
    """The recipes' small twins, each with its losses, and the networks of ``tools.gpu_check``."""
    params = settings()
    watches = {
        name: watched(params.model_copy(update={"model": section}), steps=1) for name, section in twins().items()
    }
    watches |= {name: watched(settings(name), steps=1) for name in CASES}
    check("networks", watches, leave_out=("augment", "runtime"))


def test_a_step_of_heads_that_predict_masks(watched):
    """The one thing that a step may wait for: costs of all layers and images, of which scipy makes pairs."""
    few = {"channels": 8, "num_queries": 4, "num_heads": 2, "num_layers": 2, "feedforward_channels": 8}
    watches = {}
    for name, extra in (("maskformer", {}), ("mask2former", {"encoder_layers": 1, "train_points": 16})):
        params = settings()
        section = params.model.model_dump(mode="json") | {"decode_head": {"name": name, **few, **extra}}
        changed = params.model_copy(update={"model": validate_model(section, place=name)})
        watches[name] = watched(changed, steps=2)
    check("heads that predict masks", watches, leave_out=("augment", "runtime"))


def test_each_augmentation(meta):
    watches = {}
    for name, sections in AUGMENTATIONS.items():
        keys = {f"augment__{section}__{key}": value for section, own in sections.items() for key, value in own.items()}
        batches = meta(settings(**keys)).loop.batches
        batch = batches.batch(0)
        with DeviceWatch(answers={"augment/mixing.py Mixing._taken": 1.0}) as watches[name]:
            made = batches.finish(batch, torch.device("meta"))
        assert made.images.device.type == made.targets.device.type == "meta"
    check("augmentations", watches)


def test_each_loss():
    watches = {}
    section = settings().model.model_dump(mode="json")
    for label, keywords in LOSSES.items():
        section["decode_head"]["losses"] = [{"name": label.partition(",")[0], **keywords}]
        function = criterion(validate_model(section, place=label).decode_head.losses)
        logits = torch.empty(2, 3, 16, 16, device="meta", requires_grad=True)
        target = torch.empty(2, 16, 16, dtype=torch.int64, device="meta")
        with DeviceWatch() as watches[label]:
            function(logits, target, 255).backward()
        assert logits.grad.device.type == "meta"
    check("losses", watches)


def predictor(model, **changes):
    values = {"mode": "whole", "weighting": "uniform", "average": "logits", **changes}
    return Predictor(
        model=model,
        mean=(120.0,) * 3,
        std=(60.0,) * 3,
        window=(32, 32),
        stride=(24, 24),
        batch_size=4,
        precision="fp32",
        **values,
    )


def test_each_predictor():
    model = segmentor(settings().model, num_classes=3).eval().to("meta")
    images = torch.empty(1, 48, 64, 3, dtype=torch.uint8, device="meta")
    plain = Tta(scales=(1.0,), flips=("none",))
    views = Tta(scales=(0.75, 1.0), flips=("none", "horizontal"))
    crf = DenseCrf(
        iterations=2,
        radius=2,
        bilateral_weight=4.0,
        bilateral_px=10.0,
        bilateral_grey=10.0,
        smooth_weight=3.0,
        smooth_px=3.0,
    )
    parts = {"tta": plain, "crf": None, "threshold": None, "min_component_px": 0, "max_hole_px": 0}
    uses = {
        "whole": (predictor(model), {}),
        "slide": (predictor(model, mode="slide"), {}),
        "slide, gaussian, probabilities": (
            predictor(model, mode="slide", weighting="gaussian", average="probabilities"),
            {},
        ),
        "tta": (predictor(model), {"tta": views}),
        "crf": (predictor(model), {"crf": crf}),
        "cleanup": (predictor(model), {"min_component_px": 3, "max_hole_px": 3}),
    }
    watches = {}
    for name, (use, changes) in uses.items():
        whole = Inference(predictor=use, **{**parts, **changes})
        with DeviceWatch() as watches[name]:
            whole.segment(images, probabilities=False)
    check("predictors", watches)


class TestTheWatch:
    """It sees what the meta device alone does not."""

    def test_a_weight_on_the_cpu(self):
        with DeviceWatch() as watch:
            nn.functional.conv2d(torch.empty(1, 3, 8, 8, device="meta"), torch.zeros(2, 3, 3, 3))
            torch.empty(2, 3, device="meta") @ torch.zeros(3, 2)
        assert [line.split(" at ")[0] for line in watch.mixed] == ["convolution", "mm"]

    def test_a_scalar_of_the_cpu_is_a_number(self):
        with DeviceWatch() as watch:
            torch.empty(2, device="meta") * torch.tensor(3.0)
        assert watch.mixed == []

    def test_copies(self):
        values = torch.zeros(3)
        with DeviceWatch() as watch:
            values.to("meta")
            torch.empty(3, device="meta").copy_(values)
            torch.tensor([1.0, 2.0], device="meta")
            torch.empty(3, device="meta")[torch.zeros(2, dtype=torch.int64)]
        assert watch.copies.total() == 4

    @pytest.mark.parametrize(
        "read",
        [
            lambda x: float(x.sum()),
            lambda x: bool((x > 0).any()),
            lambda x: x.cpu(),
            lambda x: x.nonzero(),
            lambda x: x[x > 0],
            lambda x: x.__setitem__(x > 0, 1.0),
            lambda x: x.masked_fill_(x > 0, torch.empty((), device="meta")),
            lambda x: x.unique(),
            lambda x: x.equal(x),
            lambda x: x.masked_select(x > 0),
            lambda x: x.long().bincount(),
        ],
    )
    def test_reads(self, read):
        with DeviceWatch() as watch:
            read(torch.empty(3, device="meta"))
        assert watch.reads.total() == 1

    def test_arithmetic_reads_nothing(self):
        x = torch.empty(3, device="meta", requires_grad=True)
        with DeviceWatch() as watch:
            (x.masked_fill(x > 0, 1.0) * x[torch.zeros(2, dtype=torch.int64, device="meta")].sum()).sum().backward()
        assert watch.reads.total() == watch.copies.total() == 0
