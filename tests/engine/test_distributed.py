"""Two processes with half of each batch, or three with a third, do what one process does alone."""

import dataclasses
import signal

import numpy as np
import pytest
import torch

from maskline.augment.sample import collate
from maskline.core.errors import ParamsError, TrainingError
from maskline.engine.journal import Journal
from maskline.engine.process import StopFlag
from maskline.engine.run import Job, start_state
from maskline.engine.state import weights_of
from maskline.engine.train import StoppedError, fit
from maskline.engine.validate import validate
from maskline.losses.composite import CompositeLoss
from maskline.losses.pixel import cross_entropy
from maskline.losses.region import dice
from maskline.models.sync_norm import SyncBatchNorm
from maskline.optim.optimizers import Knobs, optimizer
from maskline.runtime.device import Compute
from maskline.runtime.processes import distributed
from tests.engine.conftest import MemorySplit, model, run
from tests.processes import together

ITERATIONS = 20
OPTIONS = {"accumulate": 2, "ema_decay": 0.9, "clip_norm": 0.5, "val_every": 4}


class Uneven(MemorySplit):
    """Images of which very different parts are ignored."""

    def sample(self, index):
        sample = super().sample(index)
        mask = sample.mask.copy()
        mask[: 5 * index] = 255
        return dataclasses.replace(sample, mask=mask)


def plain(logits, target, ignore_index):
    return cross_entropy(logits, target, ignore_index, class_weights=None, label_smoothing=0.0)


def overlap(logits, target, ignore_index):
    return dice(logits, target, ignore_index, class_weights=None, smooth=1.0)


def prepared(norm, *, batch_size=4, unused=False, **changes):
    """Return a run without dropout, over images of which very different parts are ignored."""
    state, loop = run(
        criteria={
            "auxiliary_head.0": CompositeLoss([(plain, 0.4)]),
            "decode_head": CompositeLoss([(plain, 1.0), (overlap, 1.0)]),
        },
        validation=Uneven(5),
        **{"iterations": ITERATIONS, "log_every": 1, "val_every": 4, **changes},
    )
    network = with_norm(state.model, norm)
    if unused:
        network.unused = torch.nn.Linear(2, 3)
    # Adam's first steps are of one size whatever the gradient's: they would blow rounding up.
    knobs = Knobs(
        momentum=0.9,
        dampening=0.0,
        nesterov=False,
        betas=(0.9, 0.999),
        eps=1e-8,
        alpha=0.9,
        amsgrad=False,
        centered=False,
    )
    sgd = optimizer("sgd", network.parameters(), lr=0.1, weight_decay=1e-4, knobs=knobs)
    loop.batches.split, loop.batches.batch_size = Uneven(6), batch_size
    loop.batches.positions = range(batch_size)
    job = Job(model=network, optimizer=sgd, loop=loop, card={})
    loop = dataclasses.replace(loop, batches=loop.batches.share(rank=distributed.rank(), size=distributed.size()))
    return start_state(dataclasses.replace(job, loop=loop)), loop


def with_norm(network, norm):
    """Exchange the batch norms, whose weights the optimizer has; switch dropout off."""
    for module in list(network.modules()):
        if isinstance(module, torch.nn.Dropout2d):
            module.p = 0.0
        for name, child in list(module.named_children()):
            if isinstance(child, torch.nn.BatchNorm2d) and norm != "bn":
                kind = torch.nn.GroupNorm(4, child.num_features) if norm == "gn" else SyncBatchNorm(child.num_features)
                kind.weight, kind.bias = child.weight, child.bias
                setattr(module, name, kind)
    return network


def trained(norm, folder, **changes):
    state, loop = prepared(norm, **changes)
    fit(state, loop, journal=Journal(folder), stop=StopFlag())
    return state


def results(state):
    return {"steps": state.steps, "validations": state.validations, "weights": weights_of(state.result)}


def scaled(**changes):
    """Everything at once; the scale of fp16 on plain float32, which a CPU can check."""
    state, loop = prepared("gn", **OPTIONS, **changes)
    state.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=5)
    return state, loop


def in_two(folder):
    found = {norm: results(trained(norm, folder / f"{norm}{distributed.rank()}")) for norm in ("gn", "syncbn", "bn")}
    state, loop = scaled()
    fit(state, loop, journal=Journal(folder / "whole"), stop=StopFlag())
    found["scaled"] = results(state) | {"scale": state.scaler.get_scale()}
    found["stopped"] = stopped_and_resumed(folder)
    found["validation"] = validation()
    found["broken"] = broken(folder / "broken")
    found["late"] = broken(folder / "late", deferred=True)
    found["deferred"] = results(trained("gn", folder / "deferred", deferred=True))
    found["sizes"] = [
        distributed.everyones(distributed.rank()),
        distributed.firsts(distributed.rank()),
        distributed.largest(distributed.rank()),
    ]
    torch.save(found, folder / f"rank{distributed.rank()}.pt")


def stopped_and_resumed(folder):
    """Send the second process alone a signal, then go on from the journal."""
    state, loop = scaled()
    flag, journal = StopFlag(), Journal(folder / "stopped")
    loop.batches.split = Stopping(6, flag=flag) if distributed.rank() else Uneven(6)
    with pytest.raises(StoppedError) as caught:
        fit(state, loop, journal=journal, stop=flag)
    assert caught.value.signal == signal.SIGTERM
    at = state.iteration
    again, loop = scaled()
    again.restore(distributed.firsts(journal.read() if distributed.rank() == 0 else None))
    fit(again, loop, journal=journal, stop=StopFlag())
    return results(again) | {"at": at}


@dataclasses.dataclass
class Stopping(Uneven):
    flag: StopFlag = None
    seen: int = 0

    def sample(self, index):
        self.seen += 1
        if self.seen == 4 * 7:  # of the seventh iteration: two samples of two batches each
            self.flag.set(signal.SIGTERM, None)
        return super().sample(index)


def validation():
    compute = Compute(device=torch.device("cpu"), precision="fp32", channels_last=False)
    criterion = CompositeLoss([(plain, 1.0)])
    return validate(model(), Uneven(5), criterion=criterion, compute=compute, mean=(120.0,) * 3, std=(60.0,) * 3)


def broken(folder, **changes):
    state, loop = prepared("gn", **changes)
    torch.nn.init.constant_(state.model.decode_head.conv_seg.bias, float("inf"))
    with pytest.raises(TrainingError) as caught:
        fit(state, loop, journal=Journal(folder), stop=StopFlag())
    return str(caught.value)


def in_three(folder):
    """Train without a stop, then stop after three steps and go on in a state that knows nothing of the first ones."""
    options = {**OPTIONS, "iterations": 8, "log_every": 4, "journal_every": 3, "batch_size": 6, "unused": True}
    straight, loop = prepared("gn", **options)
    fit(straight, loop, journal=Journal(folder / f"straight{distributed.rank()}"), stop=StopFlag())
    journal = Journal(folder / "stopped")
    stopped, loop = prepared("gn", **options)
    fit(stopped, loop, journal=journal, stop=StopFlag(), stop_after=3)
    distributed.wait()
    resumed, loop = prepared("gn", **options)
    resumed.restore(distributed.firsts(journal.read() if distributed.rank() == 0 else None))
    assert resumed.iteration == 3
    fit(resumed, loop, journal=journal, stop=StopFlag())
    found = {"straight": results(straight), "resumed": results(resumed), "unused": straight.model.unused.weight.grad}
    torch.save(found, folder / f"rank{distributed.rank()}.pt")


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    folder = tmp_path_factory.mktemp("three")
    together(in_three, folder, count=3)
    return [torch.load(folder / f"rank{rank}.pt") for rank in range(3)]


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    together(in_two, folder)
    return folder, [torch.load(folder / f"rank{rank}.pt") for rank in (0, 1)]


def follows(found, expected):
    assert [row["iteration"] for row in found["steps"]] == list(range(1, ITERATIONS + 1))
    for row, other in zip(found["steps"], expected["steps"], strict=True):
        assert row["loss"] == pytest.approx(other["loss"], abs=1e-4)
        assert row["gradient_norm"] == pytest.approx(other["gradient_norm"], rel=1e-2, abs=1e-4)
    masks = np.concatenate([Uneven(5).sample(i).mask.ravel() for i in range(5)])
    for row, other in zip(found["validations"], expected["validations"], strict=True):
        for loss in ("train_loss", "val_loss"):
            assert row[loss] == pytest.approx(other[loss], abs=1e-4)
        # A pixel whose classes are equally probable may go to either: one of all pixels, no more.
        assert row["aAcc"] == pytest.approx(other["aAcc"], abs=1.01 / np.count_nonzero(masks != 255))
        assert row == pytest.approx(other, abs=2e-3)


@pytest.mark.parametrize("norm", ["gn", "syncbn"])
def test_the_loss_curve_is_that_of_one_process(two, tmp_path, norm):
    alone = results(trained("bn" if norm == "syncbn" else norm, tmp_path))
    for rank in two[1]:
        follows(rank[norm], alone)


def test_both_processes_have_one_model(two):
    one, other = two[1]
    for norm in ("gn", "syncbn", "bn", "scaled"):
        assert one[norm]["steps"] == other[norm]["steps"]
        assert one[norm]["validations"] == other[norm]["validations"]
        for key, tensor in one[norm]["weights"].items():
            assert torch.equal(tensor, other[norm]["weights"][key]), f"{norm} {key}"


def test_scale_average_clipping_and_accumulation_together(two, tmp_path):
    state, loop = scaled()
    fit(state, loop, journal=Journal(tmp_path), stop=StopFlag())
    follows(two[1][0]["scaled"], results(state))
    assert two[1][0]["scaled"]["scale"] == state.scaler.get_scale() > 2.0**10


def test_a_signal_to_one_stops_both_and_they_go_on_bit_by_bit(two):
    folder, (one, other) = two
    assert one["stopped"]["at"] == other["stopped"]["at"] == 7
    assert sorted(path.name for path in (folder / "stopped").glob("*.pt"))[-1] == "iteration-000000020.pt"
    for key in ("steps", "validations"):
        assert one["stopped"][key] == one["scaled"][key]
    assert all(torch.equal(tensor, one["scaled"]["weights"][key]) for key, tensor in one["stopped"]["weights"].items())


def test_validation_is_that_of_one_process_to_the_last_bit(two):
    for rank in two[1]:
        assert rank["validation"] == validation()


def test_three_processes_that_go_on_give_the_bits_of_those_never_stopped(three, tmp_path):
    for rank in three:
        # Where it stopped there is a point more.
        assert rank["resumed"]["steps"][1:] == rank["straight"]["steps"] == three[0]["straight"]["steps"]
        for key, tensor in rank["straight"]["weights"].items():
            assert torch.equal(rank["resumed"]["weights"][key], tensor), key
            assert torch.equal(three[0]["straight"]["weights"][key], tensor), key


def test_three_processes_follow_one_and_a_layer_that_is_not_used_has_no_gradient(three, tmp_path):
    alone, loop = prepared("gn", **OPTIONS, iterations=8, log_every=4, batch_size=6, unused=True)
    fit(alone, loop, journal=Journal(tmp_path), stop=StopFlag())
    assert [row["iteration"] for row in alone.steps] == [4, 8]
    for row, other in zip(alone.steps, three[0]["straight"]["steps"], strict=True):
        assert other["loss"] == pytest.approx(row["loss"], abs=1e-4)
        assert other["gradient_norm"] == pytest.approx(row["gradient_norm"], rel=1e-2)
    assert three[0]["unused"] is None


def test_a_loss_that_is_not_finite_leaves_the_whole_batch(two):
    folder, (one, other) = two
    assert one["broken"].startswith("train, iteration 1: the loss is")
    assert one["broken"] == other["broken"]
    assert one["late"] == one["broken"].replace("broken/", "late/") == other["late"]
    saved = torch.load(folder / "broken" / "not-finite.pt")
    assert [len(images) for images in saved["images"]] == [4]


def test_losses_read_where_they_are_due_change_nothing(two):
    for rank in two[1]:
        assert rank["deferred"]["steps"] == rank["gn"]["steps"]
        assert rank["deferred"]["validations"] == rank["gn"]["validations"]
        for key, tensor in rank["deferred"]["weights"].items():
            assert torch.equal(tensor, rank["gn"]["weights"][key]), key


def test_what_processes_tell_each_other(two):
    assert [rank["sizes"] for rank in two[1]] == [[[0, 1], 0, 1]] * 2


def test_shares_make_up_the_batch():
    _, loop = run()
    whole = loop.batches.batch(3)
    shares = [loop.batches.share(rank=rank, size=2) for rank in (0, 1)]
    regions = [share.region(3, position) for share in shares for position in share.positions]
    again = collate(regions, positions=range(4), count=4, annotations=False, ignore_index=255)
    assert torch.equal(again.images, whole.images)
    assert torch.equal(again.transforms, whole.transforms)
    assert again.draws == whole.draws
    assert [share.batch(3).count for share in shares] == [2, 2]
    assert np.array_equal(shares[1].batch(3).positions, (2, 3))
    with pytest.raises(ParamsError, match=r"train.batch_size: 4 cannot be shared by 3 processes; set it to a multiple"):
        loop.batches.share(rank=0, size=3)
