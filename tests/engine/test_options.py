"""What params switch on: accumulation, averaged weights, early stop, compilation, precision; and what can go wrong."""

import os
import signal
from types import SimpleNamespace

import pytest
import torch

from maskline.augment.loader import iterate
from maskline.core.errors import ParamsError, TrainingError
from maskline.engine.journal import Journal
from maskline.engine.process import StopFlag
from maskline.engine.run import Job, start_state
from maskline.engine.state import weights_of
from maskline.engine.train import StoppedError, fit, step
from maskline.runtime import device
from tests.engine.conftest import MemorySplit, run, stopping_at


def prepared(**changes):
    """Return state and loop as a run starts with them."""
    fresh, loop = run(**changes)
    return start_state(Job(model=fresh.model, optimizer=fresh.optimizer, loop=loop, card={})), loop


def trained(folder, **changes):
    state, loop = prepared(**changes)
    fit(state, loop, journal=Journal(folder), stop=StopFlag())
    return state


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


def test_two_equal_batches_are_one():
    one, loop = prepared()
    two, _ = prepared()
    for state in (one, two):  # dropout would draw anew for the second batch
        for module in state.model.modules():
            if isinstance(module, torch.nn.Dropout2d):
                module.p = 0.0
    batch = loop.batches.batch(0)
    alone, doubled = step(one, loop, batch, closely=True), step(two, loop, batch, batch, closely=True)
    assert doubled == pytest.approx(alone, rel=1e-6)
    for mine, other in zip(one.model.parameters(), two.model.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-5, atol=1e-7)


def test_accumulation_reads_on_where_the_former_iteration_ended(tmp_path, monkeypatch):
    seen = []
    state, loop = prepared(iterations=3, accumulate=2)
    batch = loop.batches.batch
    monkeypatch.setattr(loop.batches, "batch", lambda k: seen.append(k) or batch(k))
    fit(state, loop, journal=Journal(tmp_path), stop=StopFlag())
    assert seen == [0, 1, 2, 3, 4, 5]


def test_the_average_is_validated_and_kept(tmp_path):
    plain, averaged = trained(tmp_path / "plain"), trained(tmp_path / "averaged", ema_decay=0.9)
    assert same(weights_of(plain.model), weights_of(averaged.model))
    assert averaged.result is averaged.average.model
    assert not same(weights_of(averaged.result), weights_of(averaged.model))
    assert plain.steps == averaged.steps
    assert plain.validations != averaged.validations
    assert not same(plain.best_weights, averaged.best_weights)


OPTIONS = {"ema_decay": 0.9, "accumulate": 2}


@pytest.mark.parametrize("stop_at", [3, 5, 8])
def test_a_stopped_run_with_options_goes_on_bit_by_bit(tmp_path, stop_at):
    whole = trained(tmp_path / "whole", **OPTIONS, workers=0)
    state, loop = prepared(**OPTIONS)
    flag = StopFlag()
    loop.batches.split = stopping_at(8 * stop_at, flag)
    journal = Journal(tmp_path / "stopped")
    with pytest.raises(StoppedError):
        fit(state, loop, journal=journal, stop=flag)
    assert state.iteration == stop_at
    again, loop = prepared(**OPTIONS)
    again.restore(journal.read())
    fit(again, loop, journal=journal, stop=StopFlag())
    assert same(weights_of(again.model), weights_of(whole.model))
    assert same(weights_of(again.result), weights_of(whole.result))
    assert same(again.best_weights, whole.best_weights)
    assert (again.validations, again.steps) == (whole.validations, whole.steps)


def test_early_stop(tmp_path):
    changes = {"iterations": 40, "val_every": 2, "early_stop": 2, "schedule": SimpleNamespace(rate=lambda *_: 0.0)}
    state = trained(tmp_path, **changes, best_metric="aAcc", journal_every=1)
    scores = [row["aAcc"] for row in state.validations]
    best = scores.index(max(scores))
    assert len(scores) == best + 3
    assert state.iteration == 2 * len(scores) < 40
    again, loop = prepared(**changes, best_metric="aAcc")
    again.restore(Journal(tmp_path).read())
    fit(again, loop, journal=Journal(tmp_path), stop=StopFlag())
    assert again.iteration == state.iteration


def test_fp16_on_a_cpu():
    with pytest.raises(ParamsError, match=r"train.precision: fp16 trains on a GPU only; set train.precision"):
        device.resolve(device="cpu", precision="fp16", channels_last=False)


def test_compiled_training_is_the_same_function(monkeypatch):
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda function: compiled.append(function) or function)
    state, loop = prepared(compiled=True)
    plain, _ = prepared()
    batch = loop.batches.batch(0)
    assert len(compiled) == 1
    assert step(state, loop, batch, closely=True) == step(plain, loop, batch, closely=True)
    assert state.model.state_dict().keys() == plain.model.state_dict().keys()


def test_a_batch_whose_loss_is_not_finite_can_be_replayed(tmp_path):
    state, loop = prepared()
    torch.nn.init.constant_(state.model.decode_head.conv_seg.bias, float("inf"))
    with pytest.raises(TrainingError, match=r"batch and weights are in .*not-finite\.pt"):
        fit(state, loop, journal=Journal(tmp_path), stop=StopFlag())
    saved = torch.load(tmp_path / "not-finite.pt", weights_only=True)
    again, _ = prepared()
    again.model.load_state_dict(saved["model"])
    logits = again.model(saved["images"][0])
    assert saved["iteration"] == 0
    assert saved["learning_rate"] == pytest.approx(0.002)
    assert saved["ids"] == list(dict.fromkeys(loop.batches.split.ids[index] for index in loop.batches.indices(0)))
    assert saved["targets"][0].shape == logits.shape[:1] + logits.shape[2:]
    assert not logits.isfinite().all()


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
        MemoryError(),
    ],
)
def test_memory_that_runs_out(tmp_path, monkeypatch, error):
    state, loop = prepared()
    monkeypatch.setattr(state.model, "supervise_heads", lambda *_: (_ for _ in ()).throw(error))
    with pytest.raises(TrainingError, match=r"out of memory with batches of 4 crops of 32x32; lower train.batch_size"):
        fit(state, loop, journal=Journal(tmp_path), stop=StopFlag())


def test_memory_that_runs_out_in_validation_names_the_image(tmp_path, monkeypatch):
    state, loop = prepared(val_every=1)
    error = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes")
    monkeypatch.setattr(state.model, "run_heads", lambda *_, **__: (_ for _ in ()).throw(error))
    monkeypatch.setattr(loop.validation, "size", 48)
    with pytest.raises(TrainingError, match=r"validation on image disc-0: out of memory with one image of 48x52; free"):
        fit(state, loop, journal=Journal(tmp_path), stop=StopFlag())


def test_a_gradient_that_is_not_finite_stops_before_the_step(tmp_path):
    state, loop = prepared()
    weight = state.model.decode_head.conv_seg.weight
    weight.register_hook(lambda gradient: gradient * float("nan"))
    before = weights_of(state.model)
    with pytest.raises(TrainingError, match=r"iteration 1: the gradient is nan at learning rate 0.002, images disc-"):
        fit(state, loop, journal=Journal(tmp_path), stop=StopFlag())
    after = weights_of(state.model)
    assert all(torch.equal(before[name], after[name]) for name, _ in state.model.named_parameters())
    saved = torch.load(tmp_path / "not-finite.pt", weights_only=True)
    assert saved["images"][0].shape == (4, 3, 32, 32)


def spoil(state, at):
    """Have the gradient of one weight be nan in one iteration, from 0."""
    weight = state.model.decode_head.conv_seg.weight
    weight.register_hook(lambda gradient: gradient * float("nan") if state.iteration == at else gradient)


# Seen by the next loss, by a validation, by a journal entry; where its norm is logged; after clipping.
@pytest.mark.parametrize(
    ("at", "changes"),
    [
        (4, {}),
        (4, {"workers": 1, "accumulate": 2, "ema_decay": 0.9}),
        (2, {"log_every": 50, "val_every": 3}),
        (2, {"log_every": 50, "journal_every": 3}),
        (0, {"log_every": 50, "journal_every": 50}),
        (5, {}),
        (4, {"clip_norm": 1.0}),
        (4, {"journal_every": 0}),
    ],
)
def test_a_gradient_that_is_not_finite_is_found_later_and_named(tmp_path, caplog, at, changes):
    state, loop = prepared(**changes)
    spoil(state, at)
    with pytest.raises(TrainingError, match=rf"iteration {at + 1}: the gradient is nan .* images disc-"):
        fit(state, loop, journal=Journal(tmp_path), stop=StopFlag())
    unseen = loop.clip_norm is None and loop.journal_every and at % 2 == 0
    assert ("a weight is non-finite; going over" in caplog.text) == bool(unseen)

    saved = torch.load(tmp_path / "not-finite.pt", weights_only=True)
    whole, loop = prepared(**changes)
    if at:
        fit(whole, loop, journal=Journal(tmp_path / "good"), stop=StopFlag(), stop_after=at)
    assert saved["iteration"] == at
    before = dict(whole.model.named_parameters())
    assert all(torch.equal(saved["model"][name], before[name]) for name in before)
    kept = Journal(tmp_path).read()
    assert kept is None or all(each.isfinite().all() for each in kept["model"].values())  # the last good state


def test_a_weight_that_is_not_finite_although_its_gradients_were(tmp_path):
    state, loop = prepared()
    weight, done = state.model.decode_head.conv_seg.weight, []

    def break_once(_):
        if state.iteration == 2 and not done:
            done.append(True)
            weight.data[0, 0] = float("inf")

    weight.register_hook(break_once)
    with pytest.raises(TrainingError, match=r"iteration 3: a weight is non-finite, and no gradient was; lower optim"):
        fit(state, loop, journal=Journal(tmp_path), stop=StopFlag())


def test_a_weight_that_is_not_finite_and_a_journal_that_is_gone(tmp_path):
    state, loop = prepared(log_every=50)
    spoil(state, 2)
    state.model.decode_head.conv_seg.bias.register_hook(lambda _: Journal(tmp_path).remove())
    with pytest.raises(TrainingError, match=r"iteration 3: a weight is non-finite, and the journal has no entry"):
        fit(state, loop, journal=Journal(tmp_path), stop=StopFlag())


def test_the_norm_of_gradients_is_taken_where_it_is_logged_or_clipped(tmp_path):
    state = trained(tmp_path / "logged", log_every=5)
    taken = [number for number, (_, norm) in enumerate(state.trace, start=1) if norm is not None]
    assert taken == [5, 10, 12]
    assert [row["gradient_norm"] for row in state.steps] == [state.trace[number - 1][1] for number in taken]
    clipped = trained(tmp_path / "clipped", log_every=5, clip_norm=1e6)
    assert all(norm is not None for _, norm in clipped.trace)
    assert [clipped.trace[number - 1] for number in taken] == [state.trace[number - 1] for number in taken]


def test_other_errors_stay_what_they_are(tmp_path, monkeypatch):
    state, loop = prepared()
    monkeypatch.setattr(state.model, "supervise_heads", lambda *_: (_ for _ in ()).throw(RuntimeError("else")))
    with pytest.raises(RuntimeError, match=r"^else$"):
        fit(state, loop, journal=Journal(tmp_path), stop=StopFlag())


class Deadly(MemorySplit):
    """Kills the loader process that reads disc-4."""

    def sample(self, index):
        if index == 4:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().sample(index)


def test_the_death_of_a_loader_process_names_its_image():
    _, loop = run()
    loop.batches.split = Deadly(6)
    with pytest.raises(TrainingError, match=r"loader process: it died while it read disc-4 \("):
        list(iterate(loop.batches, start=0, stop=4, workers=1, device=torch.device("cpu")))
