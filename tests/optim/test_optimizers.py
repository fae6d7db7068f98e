"""Optimizers by name against torch's own, and the knobs that each one reads."""

import pytest
import torch
from torch import nn

from maskline.optim import optimizers

KNOBS = {
    "lr": 0.1,
    "weight_decay": 0.01,
    "momentum": 0.9,
    "nesterov": True,
    "betas": (0.8, 0.99),
    "eps": 1e-6,
    "alpha": 0.95,
}

EXPECTED = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=0.01, momentum=0.9, nesterov=True),
    "adam": lambda p: torch.optim.Adam(p, lr=0.1, weight_decay=0.01, betas=(0.8, 0.99), eps=1e-6),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.01, betas=(0.8, 0.99), eps=1e-6),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.1, weight_decay=0.01, momentum=0.9, eps=1e-6, alpha=0.95),
}


def layer():
    torch.manual_seed(0)
    return nn.Linear(3, 2)


def descend(made, module):
    for _ in range(3):
        made.zero_grad()
        module(torch.ones(4, 3)).square().sum().backward()
        made.step()
    return module.weight.detach().clone()


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_steps_are_torchs(name):
    ours, theirs = layer(), layer()
    mine = descend(optimizers.optimizer(name, ours.parameters(), **KNOBS), ours)
    assert torch.equal(mine, descend(EXPECTED[name](theirs.parameters()), theirs))


def test_unread_knobs():
    assert optimizers.unread_knobs("sgd") == ("alpha", "betas", "eps")
    assert optimizers.unread_knobs("adamw") == ("alpha", "momentum", "nesterov")
    assert optimizers.unread_knobs("rmsprop") == ("betas", "nesterov")


def test_frozen_parameters_are_left_out():
    module = layer()
    module.bias.requires_grad_(False)
    made = optimizers.optimizer("sgd", module.parameters(), **KNOBS)
    assert [len(group["params"]) for group in made.param_groups] == [1]


def test_factor_scales_the_full_rate():
    made = optimizers.optimizer("adamw", layer().parameters(), **KNOBS)
    for factor in (0.5, 0.25):
        optimizers.set_factor(made, factor)
        assert made.param_groups[0]["lr"] == 0.1 * factor


def test_clipping():
    module = layer()
    made = optimizers.optimizer("sgd", module.parameters(), **KNOBS)
    module(torch.full((4, 3), 100.0)).square().sum().backward()
    norm = optimizers.clip_gradients(made, None)
    assert norm > 100
    clipped = optimizers.clip_gradients(made, 1.0)
    assert clipped == norm
    assert torch.nn.utils.get_total_norm([p.grad for p in module.parameters()]) == pytest.approx(1.0, rel=1e-4)
