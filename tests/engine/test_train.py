"""The loop: learns, repeats itself bit by bit, goes on from its journal, stops on what is not finite."""

import signal

import pytest
import torch

from maskline.core.errors import ParamsError, TrainingError
from maskline.engine.journal import Journal
from maskline.engine.process import StopFlag
from maskline.engine.state import weights_of
from maskline.engine.train import StoppedError, fit
from tests.engine.conftest import run, stopping_at


def trained(tmp_path, name="journal", **changes):
    state, loop = run(**changes)
    fit(state, loop, journal=Journal(tmp_path / name), stop=StopFlag())
    return state


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


def test_it_learns(tmp_path):
    state = trained(tmp_path, iterations=80, val_every=40)
    assert state.validations[-1]["mIoU"] > 0.8
    assert state.validations[-1]["train_loss"] < 0.5 * state.steps[0]["loss"]


def test_rows(tmp_path):
    state = trained(tmp_path)
    assert [row["iteration"] for row in state.steps] == [2, 4, 6, 8, 10, 12]
    assert [row["iteration"] for row in state.validations] == [5, 10, 12]
    assert {"lr", "loss", "gradient_norm", "loss_decode_head", "loss_auxiliary_head.0"} <= state.steps[0].keys()
    assert {"val_loss", "aAcc", "mIoU", "mAcc", "mDice", "IoU_disc"} <= state.validations[0].keys()
    step = state.steps[0]
    assert step["loss"] == pytest.approx(step["loss_decode_head"] + step["loss_auxiliary_head.0"], rel=1e-5)


def test_two_runs_are_equal_for_any_number_of_workers(tmp_path):
    alone = trained(tmp_path)
    helped = trained(tmp_path, workers=2)
    assert same(weights_of(alone.model), weights_of(helped.model))
    assert alone.validations == helped.validations
    assert alone.steps == helped.steps


@pytest.mark.parametrize("stop_at", [1, 4, 7, 10])
def test_a_stopped_run_goes_on_bit_by_bit(tmp_path, stop_at):
    whole = trained(tmp_path)
    state, loop = run()
    flag = StopFlag()
    journal = Journal(tmp_path / "stopped")

    loop.batches.split = stopping_at(4 * stop_at, flag)
    with pytest.raises(StoppedError) as stopped:
        fit(state, loop, journal=journal, stop=flag)
    assert stopped.value.signal == signal.SIGTERM
    assert state.iteration == stop_at

    again, loop = run()
    saved = journal.read()
    assert saved is not None
    again.restore(saved)
    assert again.iteration == stop_at
    fit(again, loop, journal=journal, stop=StopFlag())
    assert same(weights_of(again.model), weights_of(whole.model))
    assert again.validations == whole.validations
    assert again.steps == whole.steps
    assert same(again.best_weights, whole.best_weights)


def test_best_weights_are_those_of_the_best_validation(tmp_path):
    state = trained(tmp_path, iterations=20, val_every=4)
    scores = [row["mIoU"] for row in state.validations]
    assert state.best_score == max(scores)
    assert state.best_iteration == state.validations[scores.index(max(scores))]["iteration"]


def test_of_equal_scores_the_earlier_stays():
    state = run()[0]
    kept = []
    for state.iteration, score in ((1, 0.5), (2, 0.7), (3, 0.7), (4, 0.6)):
        with torch.no_grad():
            next(state.model.parameters()).fill_(state.iteration)
        state.validations.append({"iteration": state.iteration})
        state.keep_best(score)
        kept.append((state.best_iteration, state.best_score, next(iter(state.best_weights.values())).mean().item()))
    assert kept == [(1, 0.5, 1), (2, 0.7, 2), (2, 0.7, 2), (2, 0.7, 2)]
    assert state.validations_since_best() == 2


def test_without_validation(tmp_path):
    state = trained(tmp_path, validation=None)
    assert state.best_weights is None
    assert [sorted(row) for row in state.validations] == [["iteration", "train_loss"]] * 3


def test_unknown_best_metric(tmp_path):
    with pytest.raises(
        ParamsError, match=r"train.best_metric: 'mIou' is not measured; choose one of .*mIoU.*; the nearest is mIoU"
    ):
        trained(tmp_path, best_metric="mIou")


def test_a_loss_that_is_not_finite_names_iteration_and_images(tmp_path):
    state, loop = run()
    torch.nn.init.constant_(state.model.decode_head.conv_seg.bias, float("inf"))
    before = weights_of(state.model)
    with pytest.raises(TrainingError, match=r"iteration 1: the loss is (nan|inf) .*images disc-") as caught:
        fit(state, loop, journal=Journal(tmp_path / "journal"), stop=StopFlag())
    assert caught.value.exit_code == 2
    after = weights_of(state.model)
    trainable = {name for name, _ in state.model.named_parameters()}
    assert all(torch.equal(before[key], after[key]) for key in trainable)


def test_gradients_are_clipped(tmp_path):
    free, bound = trained(tmp_path, iterations=3), trained(tmp_path, iterations=3, clip_norm=1e-3)
    assert not same(weights_of(free.model), weights_of(bound.model))
