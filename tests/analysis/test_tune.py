"""Measuring: all combinations, in turn; the shortest run wins, clearly or not at all; failures are told."""

import csv
import io

import pytest
import torch

from maskline.analysis import tune
from maskline.engine.run import Job
from tests.engine.conftest import run

FAST = tune.Choice(channels_last=True, precision="bf16", compile=False, threads=1)
PRESENT = tune.Choice(channels_last=False, precision="fp32", compile=False, threads=1)


def job(choice):
    assert choice.threads == 1
    state, loop = run(compiled=choice.compile)
    return Job(model=state.model, optimizer=state.optimizer, loop=loop, card={})


def measured(choice, seconds, first=0.1):
    return tune.Measured(
        choice=choice, first_seconds=first, step_seconds=seconds, run_seconds=first + 99 * seconds, problem=""
    )


def failed(choice):
    return tune.Measured(choice=choice, first_seconds=None, step_seconds=None, run_seconds=None, problem="no compiler")


def test_all_combinations_once():
    wanted = tune.choices(precisions=["fp32", "bf16"], threads=[2, 1, 2], compiled=True)
    assert len(wanted) == len(set(wanted)) == 16
    assert not any(choice.compile for choice in tune.choices(precisions=["fp32"], threads=[1], compiled=False))


def test_steps_are_timed(tmp_path):
    wanted = tune.choices(precisions=["fp32", "bf16"], threads=[1], compiled=False)
    found = tune.measure(job, wanted, steps=3, iterations=10)
    assert [each.choice for each in found] == wanted
    for each in found:
        assert each.run_seconds == pytest.approx(each.first_seconds + 9 * each.step_seconds)
        assert each.step_seconds > 0
    rows = list(csv.DictReader(io.StringIO(tune.table(found))))
    assert len(rows) == 4
    assert [float(row["run_seconds"]) for row in rows] == sorted(float(row["run_seconds"]) for row in rows)


def test_each_choice_computes_as_it_says(monkeypatch):
    seen = []
    real = tune.step

    def spy(state, loop, batch):
        weight = state.model.decode_head.conv_seg.weight
        seen.append((loop.compute.precision, torch.get_num_threads(), weight.dtype))
        return real(state, loop, batch)

    monkeypatch.setattr(tune, "step", spy)
    wanted = tune.choices(precisions=["fp32", "bf16"], threads=[1], compiled=False)[:2]
    tune.measure(job, wanted, steps=2, iterations=10)
    assert seen == [("fp32", 1, torch.float32)] * 2 + [("bf16", 1, torch.float32)] * 2 + [
        ("fp32", 1, torch.float32),
        ("bf16", 1, torch.float32),
        ("bf16", 1, torch.float32),
        ("fp32", 1, torch.float32),
    ], "first all are warmed up; then they take turns, and the first of a round changes"


def test_a_failure_is_told_and_stops_nothing(monkeypatch):
    def refuse(function):
        def called(*_):
            raise RuntimeError("No working\nC++ compiler")

        return called

    monkeypatch.setattr(torch, "compile", refuse)
    wanted = tune.choices(precisions=["fp32"], threads=[1], compiled=True)
    found = tune.measure(job, wanted, steps=1, iterations=10)
    assert [each.problem for each in found] == ["", "", *["RuntimeError: No working C++ compiler"] * 2]
    assert [each.run_seconds is None for each in found] == [False, False, True, True]
    assert [row["problem"] for row in csv.DictReader(io.StringIO(tune.table(found)))][2:] == [found[2].problem] * 2
    assert not tune.best(found, PRESENT).compile


def test_the_shortest_run_wins():
    assert tune.best([measured(PRESENT, 0.2), measured(FAST, 0.1)], PRESENT) == FAST
    assert tune.best([measured(PRESENT, 0.2), failed(FAST)], PRESENT) == PRESENT
    slow_start = measured(FAST, 0.1, first=60.0)
    assert tune.best([measured(PRESENT, 0.2), slow_start], PRESENT) == PRESENT, "compiling has to pay over the run"


def test_the_present_choice_stays_where_none_is_clearly_better():
    assert tune.best([measured(PRESENT, 0.100), measured(FAST, 0.099)], PRESENT) == PRESENT
    assert tune.best([measured(FAST, 0.1)], PRESENT) == FAST, "the present one was not measured"
    assert tune.best([failed(FAST), failed(PRESENT)], PRESENT) == PRESENT
