"""The plain mean of a run's end: of the weights that the run has anyway, with statistics of its own."""

import copy

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import update_bn

from maskline.engine.journal import Journal
from maskline.engine.norm_statistics import last_batches, take_anew
from maskline.engine.process import StopFlag
from maskline.engine.run import Job, start_state
from maskline.engine.state import weights_of
from maskline.engine.train import StoppedError, advance, fit
from maskline.runtime import device
from tests.engine.conftest import run, stopping_at

SWA = {"swa_first": 6, "swa_every": 2, "swa_batches": 3}
CPU = device.resolve(device="cpu", precision="fp32", channels_last=True)


def started(**changes):
    state, loop = run(**{**SWA, **changes})
    return start_state(Job(model=state.model, optimizer=state.optimizer, loop=loop, card={})), loop


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


@pytest.fixture
def whole(tmp_path):
    state, loop = started()
    fit(state, loop, journal=Journal(tmp_path / "whole"), stop=StopFlag())
    return state


def test_what_is_kept_is_the_mean_of_the_weights_of_the_plain_run(whole):
    state, loop = started(swa_first=0)
    assert state.average is None
    seen = []
    for number in range(12):
        advance(state, loop, loop.batches.batch(number), closely=False, last=12)
        state.iteration += 1
        seen.append(weights_of(state.model))
    assert same(seen[-1], weights_of(whole.model)), "the mean changes nothing of the run"
    kept = weights_of(whole.result)
    names = [name for name, _ in state.model.named_parameters()]
    for name in names:
        mean = torch.stack([seen[at - 1][name] for at in (6, 8, 10, 12)]).mean(0)
        torch.testing.assert_close(kept[name], mean)
        assert not torch.equal(kept[name], seen[-1][name])
    assert not same({n: kept[n] for n in kept if "running" in n}, {n: seen[-1][n] for n in kept if "running" in n})


def test_its_statistics_are_those_of_torchs_update_bn(whole):
    _, loop = started()
    expected = copy.deepcopy(whole.result)
    images = list(last_batches(loop.batches, done=12, count=3, compute=CPU))
    assert torch.equal(images[0], loop.batches.finish(loop.batches.batch(9), torch.device("cpu")).images)

    class AllHeads(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = expected

        def forward(self, images):
            return self.inner.head_logits(images)

    update_bn(images, AllHeads())
    for name, value in weights_of(whole.result).items():
        if "num_batches" not in name:
            torch.testing.assert_close(value, expected.state_dict()[name], msg=name)
    momenta = {layer.momentum for layer in whole.result.modules() if isinstance(layer, nn.BatchNorm2d)}
    assert momenta == {0.1}
    assert not whole.result.training


def test_a_norm_that_training_leaves_alone_keeps_its_statistics():
    model = run()[0].model
    norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    norms[0].train = lambda mode=True: norms[0]
    norms[0].eval()
    norms[0].training = False
    before = [layer.running_mean.clone() for layer in norms]
    take_anew(model, [torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))], compute=CPU)
    changed = [not torch.equal(layer.running_mean, old) for layer, old in zip(norms, before, strict=True)]
    assert changed == [False] + [True] * (len(norms) - 1)


@pytest.mark.parametrize("stop_at", [4, 7, 10])
def test_a_stopped_run_goes_on_bit_by_bit(tmp_path, whole, stop_at):
    flag, journal = StopFlag(), Journal(tmp_path / "stopped")

    state, loop = started()
    loop.batches.split = stopping_at(4 * stop_at, flag)
    with pytest.raises(StoppedError):
        fit(state, loop, journal=journal, stop=flag)
    assert state.iteration == stop_at
    again, loop = started()
    again.restore(journal.read())
    fit(again, loop, journal=journal, stop=StopFlag())
    assert again.trace == whole.trace
    assert again.validations == whole.validations
    assert same(weights_of(again.result), weights_of(whole.result))
    assert same(again.best_weights, whole.best_weights)
