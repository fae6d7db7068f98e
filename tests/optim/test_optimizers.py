"""Optimizers by name against torch's and timm's own, and the knobs that each one reads."""

import contextlib
import dataclasses
import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from maskline.optim import optimizers
from maskline.runtime import gpu_forms
from maskline.runtime.libraries import declare_missing_operators

declare_missing_operators()
from timm.optim.muon import Muon  # noqa: E402

KNOBS = optimizers.Knobs(
    momentum=0.9,
    dampening=0.0,
    nesterov=True,
    betas=(0.8, 0.99),
    eps=1e-6,
    alpha=0.95,
    amsgrad=True,
    centered=True,
)

BASE = {"lr": 0.1, "weight_decay": 0.01}
ADAM = {**BASE, "betas": (0.8, 0.99), "eps": 1e-6}
EXPECTED = {  # on some processors a fused kernel rounds the last bit otherwise
    "sgd": lambda p: torch.optim.SGD(p, **BASE, momentum=0.9, nesterov=True, fused=True),
    "adam": lambda p: torch.optim.Adam(p, **ADAM, amsgrad=True, fused=True),
    "adamw": lambda p: torch.optim.AdamW(p, **ADAM, amsgrad=True, fused=True),
    "muon": lambda p: Muon(p, **ADAM, momentum=0.9, nesterov=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, **BASE, momentum=0.9, eps=1e-6, alpha=0.95, centered=True),
    "adagrad": lambda p: torch.optim.Adagrad(p, **BASE, eps=1e-6),
    "adadelta": lambda p: torch.optim.Adadelta(p, **BASE, rho=0.95, eps=1e-6),
    "nadam": lambda p: torch.optim.NAdam(p, **ADAM),
    "radam": lambda p: torch.optim.RAdam(p, **ADAM),
    "adamax": lambda p: torch.optim.Adamax(p, **ADAM),
    "asgd": lambda p: torch.optim.ASGD(p, **BASE),
}


def make(name, parameters):
    return optimizers.optimizer(name, parameters, lr=0.1, weight_decay=0.01, knobs=KNOBS)


def layer():
    torch.manual_seed(0)
    return nn.Linear(3, 2)


def convolution():
    torch.manual_seed(0)
    return nn.Conv2d(5, 8, 3).to(memory_format=torch.channels_last)


def descend(made, module):
    for _ in range(3):
        made.zero_grad()
        module(torch.ones(4, 3)).square().sum().backward()
        made.step()
    return module.weight.detach().clone()


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_steps_are_torchs(name):
    ours, theirs = layer(), layer()
    mine = descend(make(name, ours.parameters()), ours)
    assert torch.equal(mine, descend(EXPECTED[name](theirs.parameters()), theirs))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("steps_before", [0, 7])
@pytest.mark.parametrize("lr", [0.1, 0.0])
@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_gradient_that_is_not_finite_reaches_its_weight(name, lr, steps_before, value):
    """The training loop looks at the weights where it has not looked at the gradients."""
    module = layer()
    made = make(name, module.parameters())
    for _ in range(steps_before):
        descend(made, module)
    for group in made.param_groups:
        group["lr"] = lr
    module(torch.ones(4, 3)).sum().backward()
    module.weight.grad[0, 0] = value
    made.step()
    assert not module.weight[0, 0].isfinite()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("lr", [0.1, 0.0])
def test_a_gradient_that_is_not_finite_reaches_a_matrix_of_muon(lr, value):
    module = convolution()
    made = make("muon", module.parameters())
    made.param_groups[0]["lr"] = lr
    module(torch.ones(2, 5, 9, 9)).sum().backward()
    module.weight.grad[0, 0, 0, 0] = value
    made.step()
    assert not module.weight[0, 0, 0, 0].isfinite()


def test_muon_turns_a_gradient_into_an_orthogonal_step():
    """All singular values of the update are about one size, which is that of AdamW's (0.2 for each number)."""
    module = convolution()
    before = module.weight.detach().clone()
    made = optimizers.optimizer("muon", module.parameters(), lr=0.1, weight_decay=0.0, knobs=KNOBS)
    module(torch.randn(2, 5, 9, 9)).square().sum().backward()
    assert torch.linalg.svdvals(module.weight.grad.flatten(1)).aminmax().min < 0.2 * module.weight.grad.norm()
    bias = module.bias.detach().clone()
    made.step()
    update = (module.weight - before).flatten(1) / 0.1
    values = torch.linalg.svdvals(update) / (0.2 * 45**0.5)
    assert values.min() > 0.5
    assert values.max() < 1.5
    assert module.weight.is_contiguous(memory_format=torch.channels_last)
    assert not torch.equal(module.bias, bias)


def test_muon_goes_on_where_it_was_saved(tmp_path):
    """The same bits as in one go, by way of a file that holds tensors and plain types alone."""

    def stepped(made, module, times):
        for _ in range(times):
            made.zero_grad()
            module(torch.ones(2, 5, 9, 9)).square().sum().backward()
            made.step()

    whole, first, second = convolution(), convolution(), convolution()
    stepped(make("muon", whole.parameters()), whole, 4)
    made = make("muon", first.parameters())
    stepped(made, first, 2)
    torch.save({"model": first.state_dict(), "optimizer": optimizers.to_dict(made)}, tmp_path / "state.pt")
    saved = torch.load(tmp_path / "state.pt", weights_only=True)
    second.load_state_dict(saved["model"])
    again = make("muon", second.parameters())
    again.load_state_dict(saved["optimizer"])
    stepped(again, second, 2)
    assert torch.equal(second.weight, whole.weight)
    assert torch.equal(second.bias, whole.bias)


def test_unread_knobs():
    assert optimizers.unread_knobs("sgd") == ("alpha", "amsgrad", "betas", "centered", "eps")
    assert optimizers.unread_knobs("adamw") == ("alpha", "centered", "dampening", "momentum", "nesterov")
    assert optimizers.unread_knobs("rmsprop") == ("amsgrad", "betas", "dampening", "nesterov")


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_an_unread_knob_changes_nothing(name):
    other = dataclasses.asdict(KNOBS)
    for knob in optimizers.unread_knobs(name):
        other[knob] = (0.1, 0.2) if knob == "betas" else 0.123
    ours, theirs = layer(), layer()
    changed = optimizers.optimizer(
        name, theirs.parameters(), lr=0.1, weight_decay=0.01, knobs=optimizers.Knobs(**other)
    )
    assert torch.equal(descend(make(name, ours.parameters()), ours), descend(changed, theirs))


def test_frozen_parameters_are_left_out():
    module = layer()
    module.bias.requires_grad_(False)
    made = make("sgd", module.parameters())
    assert [len(group["params"]) for group in made.param_groups] == [1]


def test_the_schedule_sets_each_groups_rate():
    module = layer()
    groups = [{"params": [module.weight], "lr": 0.1}, {"params": [module.bias], "lr": 1.0}]
    made = make("adamw", groups)
    halved = SimpleNamespace(rate=lambda iteration, full: full / 2**iteration)
    for iteration in (1, 2):
        optimizers.set_rates(made, halved, iteration)
        assert [group["lr"] for group in made.param_groups] == [0.1 / 2**iteration, 1.0 / 2**iteration]


def test_clipping():
    module = layer()
    made = make("sgd", module.parameters())
    module(torch.full((4, 3), 100.0)).square().sum().backward()
    norm = optimizers.clip_gradients(made, None)
    assert norm > 100
    clipped = optimizers.clip_gradients(made, 1.0)
    assert clipped == norm
    assert torch.nn.utils.get_total_norm([p.grad for p in module.parameters()]) == pytest.approx(1.0, rel=1e-4)


def test_norm_of_gradients_in_any_layout():
    """Beside the norm in float64; nothing, no gradient, and one that is not finite."""
    torch.manual_seed(0)
    shapes = [(), (7,), (5, 3), (8, 4, 3, 3), (2, 3, 4, 5, 6)]
    tensors = [torch.nn.Parameter(torch.zeros(shape)) for shape in shapes]
    for each in tensors:
        each.grad = 1e3 * torch.randn(each.shape)
    tensors[3].grad = tensors[3].grad.contiguous(memory_format=torch.channels_last)
    tensors[2].grad = tensors[2].grad.T.contiguous().T
    made = make("sgd", [*tensors, torch.nn.Parameter(torch.zeros(2))])
    wanted = sum(each.grad.double().square().sum() for each in tensors).sqrt()
    assert float(optimizers.clip_gradients(made, None)) == pytest.approx(float(wanted), rel=1e-6)
    tensors[1].grad[3] = torch.nan
    assert not torch.isfinite(optimizers.clip_gradients(made, None))
    tensors[1].grad[3] = -torch.inf
    assert not torch.isfinite(optimizers.clip_gradients(made, None))
    assert optimizers.clip_gradients(make("sgd", [torch.nn.Parameter(torch.zeros(2))]), None) == 0


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_fused_steps_of_channels_last_copy_nothing(name):
    """The bits are those of the same numbers laid out as usual; no gradient is copied."""

    def descended(layout):
        torch.manual_seed(0)
        shapes = [(64, 32, 3, 3), (7, 5, 3, 3), (16, 1, 3, 3), (8, 16, 1, 1), (13,), (4, 6)]
        tensors = [torch.nn.Parameter(laid_out(torch.randn(shape), layout)) for shape in shapes]
        made = make(name, tensors)
        for _ in range(3):
            for each in tensors:
                each.grad = laid_out(torch.randn(each.shape), layout)
            with torch.profiler.profile() as profile:
                made.step()
        return tensors, made, {event.name for event in profile.events()}

    usual, _, _ = descended(torch.contiguous_format)
    last, made, operations = descended(torch.channels_last)
    assert all(torch.equal(*pair) for pair in zip(usual, last, strict=True))
    assert f"aten::_fused_{name}_" in operations
    assert "aten::clone" not in operations
    state = made.state[last[0]]["momentum_buffer" if name == "sgd" else "exp_avg"]
    assert state.stride() == last[0].stride()


def laid_out(x, layout):
    return x.contiguous(memory_format=layout) if x.ndim == 4 else x


ON_GPU = {  # Adam's kin refuses to be captured unless it is told both
    "sgd": {"fused"},
    "adagrad": {"fused"},
    "adam": {"fused", "capturable"},
    "adamw": {"fused", "capturable"},
}


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_on_a_gpu_no_step_waits_for_a_value(name):
    """torch takes the flags, and with a tensor as the rate; what a scale of fp16 needs the host for is known."""
    flags = optimizers.flags(name, on_gpu=True)
    assert flags == dict.fromkeys(ON_GPU.get(name, {"capturable"}), True)
    made = optimizers._KINDS[name][0](layer().parameters(), lr=torch.tensor(0.1), **flags)
    assert optimizers.steps_without_host(made, scaled=False)
    assert optimizers.steps_without_host(made, scaled=True) == (name in ON_GPU)
    assert not optimizers.steps_without_host(torch.optim.RMSprop(layer().parameters()), scaled=False)


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "muon"])
def test_a_rate_in_a_tensor_gives_the_same_bits(name):
    """As long as the rate is one that float32 has; it is overwritten in place, and saved as a number."""
    rates = [0.5, 0.25, 0.125]
    schedule = SimpleNamespace(rate=lambda iteration, _: rates[iteration])
    plain, held = layer(), layer()
    ends, places = [], set()
    for module, forms in ((plain, contextlib.nullcontext()), (held, gpu_forms.everywhere())):
        made = make(name, module.parameters())
        with forms:
            for iteration in range(3):
                assert optimizers.set_rates(made, schedule, iteration) == [rates[iteration]]
                made.zero_grad()
                module(torch.ones(4, 3)).square().sum().backward()
                made.step()
                rate = made.param_groups[0]["lr"]
                if isinstance(rate, torch.Tensor):
                    places.add(rate.data_ptr())
                if iteration == 1:
                    made.load_state_dict(optimizers.to_dict(made))
                    assert isinstance(made.param_groups[0]["lr"], float)
        ends.append(module.weight)
    assert torch.equal(*ends)
    assert len(places) == 1
