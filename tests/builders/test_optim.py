"""Sections optimizer and schedule become objects; lengths in epochs become iterations."""

import pytest
from torch import nn

from maskline.builders import optim
from maskline.builders.training import run_length
from maskline.core.errors import ParamsError
from maskline.params.whole import validate_params
from tools.trial import complete_params


def section(shipped_params, name, /, **changes):
    values = complete_params(shipped_params)
    values[name] |= changes
    return getattr(validate_params(values), name)


def paramwise(shipped_params, **changes):
    values = complete_params(shipped_params)["optimizer"]["paramwise"]
    return section(shipped_params, "optimizer", paramwise={**values, **changes})


def test_the_shipped_optimizer_has_one_group(shipped_params):
    (group,) = optim.optimizer(section(shipped_params, "optimizer"), nn.Linear(2, 2)).param_groups
    assert (group["lr"], group["initial_lr"], group["weight_decay"], group["name"]) == (0.002, 0.002, 0.01, "base")


def test_rules_make_groups(shipped_params):
    made = optim.optimizer(paramwise(shipped_params, bias_lr_mult=2.0), nn.Linear(2, 2))
    assert [(group["name"], group["initial_lr"]) for group in made.param_groups] == [
        ("base", 0.002),
        ("bias_lr_mult", 0.004),
    ]


def test_an_idle_rule(shipped_params, caplog):
    with pytest.raises(ParamsError, match=r"optimizer\.paramwise\.norm_decay_mult: matches no tensor"):
        optim.optimizer(paramwise(shipped_params, norm_decay_mult=0.0), nn.Linear(2, 2))
    made = optim.optimizer(paramwise(shipped_params, norm_decay_mult=0.0, strict=False), nn.Linear(2, 2))
    assert len(made.param_groups) == 1
    assert "norm_decay_mult: matches no tensor" in caplog.text


def test_layer_decay(shipped_params):
    decay = {"kind": "stage_wise", "num_layers": 4, "rate": 0.5}
    model = nn.ModuleDict({"backbone": nn.ModuleDict({"stages": nn.ModuleList([nn.ModuleList([nn.Linear(2, 2)])])})})
    made = optim.optimizer(paramwise(shipped_params, layer_decay=decay), model)
    assert {group["initial_lr"] for group in made.param_groups} == {0.002 * 0.5**4}
    with pytest.raises(ParamsError, match="layer_decay replaces all other rules, and norm_decay_mult is set"):
        paramwise(shipped_params, layer_decay=decay, norm_decay_mult=0.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"milestones": [5, 3]}, "milestones must rise"),
        ({"milestones": [5], "step_every": 2}, "exclude each other"),
        ({"warmup": "exponential", "warmup_factor": 0.0}, "needs warmup_factor above 0"),
        ({"warmup_length": 1.5}, "1.5 is no whole number of iterations"),
    ],
)
def test_schedules_that_cannot_be(shipped_params, changes, message):
    with pytest.raises(ParamsError, match=message):
        section(shipped_params, "schedule", **changes)


def test_lengths_in_epochs(shipped_params):
    given = section(
        shipped_params,
        "schedule",
        name="step",
        unit="epochs",
        milestones=[1, 2.5],
        warmup_length=0.5,
        length=4,
        end_factor=0.1,
    )
    made = optim.schedule(given, iterations=30, epoch_iterations=20 / 3)
    # An epoch of 20 images in batches of 3 is over within the seventh iteration.
    assert made.milestones == (7, 17)
    assert made.warmup_iterations == 4
    assert made.iterations == 27


def test_whole_epochs_are_exact(shipped_params):
    given = section(shipped_params, "schedule", name="step", unit="epochs", milestones=[3], warmup_length=0)
    assert optim.schedule(given, iterations=30, epoch_iterations=0.1 * 30).milestones == (9,)


def test_a_warmup_without_end(shipped_params):
    given = section(shipped_params, "schedule", unit="epochs", warmup_length=5)
    with pytest.raises(ParamsError, match=r"warmup_length: 50 iterations, but the schedule ends after 40"):
        optim.schedule(given, iterations=40, epoch_iterations=10)


def test_length_of_a_run_in_epochs(shipped_params):
    values = complete_params(shipped_params)
    values["train"] |= {"epochs": 2.5, "batch_size": 4, "accumulate": 2}
    settings = validate_params(values)
    assert run_length(settings, [None] * 20) == 7  # 50 samples in steps of 8
    values["train"]["epochs"] = None
    assert run_length(validate_params(values), [None] * 20) == 1200
