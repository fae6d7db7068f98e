"""Losses that stay on the device until they are due: the same run, and the same errors at the same iteration."""

import pytest
import torch

from maskline.core.errors import TrainingError
from maskline.engine.journal import Journal
from maskline.engine.process import StopFlag
from maskline.engine.run import Job, start_state
from maskline.engine.state import TrainState, weights_of
from maskline.engine.train import advance, fit
from tests.engine.conftest import MemorySplit, run

OPTIONS = [{}, {"clip_norm": 0.3, "accumulate": 2, "ema_decay": 0.9}, {"journal_every": 0}]


def prepared(**changes):
    fresh, loop = run(**{"log_every": 3, "validation": MemorySplit(1), **changes})
    return start_state(Job(model=fresh.model, optimizer=fresh.optimizer, loop=loop, card={})), loop


@pytest.mark.parametrize("changes", OPTIONS)
def test_the_run_is_the_same(tmp_path, changes):
    ended = []
    for deferred in (False, True):
        state, loop = prepared(deferred=deferred, **changes)
        fit(state, loop, journal=Journal(tmp_path / str(deferred)), stop=StopFlag())
        ended.append(state)
    one, two = ended
    assert two.steps == one.steps
    assert two.trace == one.trace
    assert two.validations == one.validations
    before, after = weights_of(one.result), weights_of(two.result)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_values_are_read_where_they_are_due_alone(tmp_path, monkeypatch):
    """At points of the curve (every third), validations (every fifth), journal entries (every fourth), and the end."""
    read_at = []
    settle = TrainState.settle
    monkeypatch.setattr(
        TrainState, "settle", lambda state: (state.pending and read_at.append(state.iteration), settle(state))
    )
    state, loop = prepared(deferred=True, iterations=11)
    fit(state, loop, journal=Journal(tmp_path), stop=StopFlag())
    assert read_at == [3, 4, 5, 6, 8, 9, 10, 11]
    assert len(state.trace) == 11


def test_a_step_that_is_not_due_reads_nothing(monkeypatch):
    state, loop = prepared(deferred=True)
    batch = loop.batches.finish(loop.batches.batch(0), torch.device("cpu"))

    def refused(*_):
        raise AssertionError("read back")

    for name in ("tolist", "item", "__float__", "__bool__", "__int__"):
        monkeypatch.setattr(torch.Tensor, name, refused)
    measured = advance(state, loop, batch, closely=False, last=12)
    assert (measured.iteration, measured.norm, measured.logged) == (1, None, False)


def break_gradient(state, at):
    weight = state.model.decode_head.conv_seg.weight
    weight.register_hook(lambda gradient: gradient * float("nan") if state.iteration == at else gradient)


def break_loss(state, at):
    """Have one loss be infinite, and no weight."""

    def broken(module, _, result):
        return result * float("inf") if state.iteration == at else result

    state.model.decode_head.conv_seg.register_forward_hook(broken)


@pytest.mark.parametrize("at", [0, 3, 4])
@pytest.mark.parametrize("break_", [break_gradient, break_loss])
@pytest.mark.parametrize("changes", OPTIONS)
def test_what_is_not_finite_is_named_as_ever(tmp_path, at, break_, changes):
    said = []
    for deferred in (False, True):
        state, loop = prepared(deferred=deferred, **changes)
        break_(state, at)
        folder = tmp_path / str(deferred)
        with pytest.raises(TrainingError) as caught:
            fit(state, loop, journal=Journal(folder), stop=StopFlag())
        said.append(str(caught.value).replace(str(folder), "folder"))
        saved = torch.load(folder / "not-finite.pt", weights_only=True)
        assert all(each.isfinite().all() for each in saved["model"].values())
        assert saved["iteration"] == at
    assert said[0] == said[1]
    assert f"iteration {at + 1}: the {'loss' if break_ is break_loss else 'gradient'} is" in said[0]


def test_going_on_from_the_journal(tmp_path):
    """A run that ended in between, its last values read for the entry."""
    whole, loop = prepared(deferred=True)
    fit(whole, loop, journal=Journal(tmp_path / "whole"), stop=StopFlag())
    state, loop = prepared(deferred=True)
    fit(state, loop, journal=Journal(tmp_path / "part"), stop=StopFlag(), stop_after=8)
    again, loop = prepared(deferred=True)
    again.restore(Journal(tmp_path / "part").read())
    fit(again, loop, journal=Journal(tmp_path / "part"), stop=StopFlag())
    assert again.trace == whole.trace
    assert again.validations[-1] == whole.validations[-1]
