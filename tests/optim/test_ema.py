"""The moving average of the weights, beside torch's own."""

import copy

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from maskline.optim.ema import WeightAverage, WeightMean
from maskline.runtime import gpu_forms


def _model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


def _move(model: nn.Sequential) -> None:
    """Change weights, statistics and counter, as a training step does."""
    with torch.no_grad():
        for weights in model.parameters():
            weights.add_(torch.randn_like(weights))
    model(torch.randn(2, 3, 8, 8))


def test_follows_torchs_average_once_the_decay_is_reached() -> None:
    model = _model()
    ours = WeightAverage(model, decay=0.9, ramp=True)
    theirs = AveragedModel(copy.deepcopy(model), multi_avg_fn=get_ema_multi_avg_fn(0.9))
    theirs.n_averaged.fill_(1)  # otherwise its first update copies
    for iteration in range(1000, 1005):
        _move(model)
        ours.update(model, iteration)
        theirs.update_parameters(model)
    for mine, other in zip(ours.model.parameters(), theirs.module.parameters(), strict=True):
        torch.testing.assert_close(mine, other)


def test_average_by_its_formula() -> None:
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    nn.init.constant_(model[0].weight, 0.0)
    average = WeightAverage(model, decay=0.25, ramp=True)
    for iteration, value in ((1, 1.0), (2, 2.0), (3, 4.0)):
        nn.init.constant_(model[0].weight, value)
        model[1].running_mean.fill_(value)
        average.update(model, iteration)
    first = (1 - 2 / 11) * 1.0
    second = 0.25 * first + 0.75 * 2.0  # 3 / 12 is the decay itself
    assert average.model[0].weight.item() == pytest.approx(0.25 * second + 0.75 * 4.0)
    assert average.model[1].running_mean.item() == 4.0
    assert not average.model[0].weight.requires_grad


GOLDEN = {1: 1.0, 2: 1.02, 3: 1.0596, 50: 19.2084827, 100: 57.6309738}


def test_without_a_ramp_it_is_mmengines_average() -> None:
    # Its ExponentialMovingAverage with momentum 0.02, beside weights of 1, 2, 3 ...: computed by mmengine 0.10.7.
    model = nn.Linear(1, 1, bias=False)
    average = WeightAverage(model, decay=0.98, ramp=False)
    for iteration in range(1, 101):
        nn.init.constant_(model.weight, float(iteration))
        average.update(model, iteration)
        if iteration in GOLDEN:
            assert average.model.weight.item() == pytest.approx(GOLDEN[iteration], rel=1e-6)


def test_statistics_and_counters_are_copied() -> None:
    model = _model()
    average = WeightAverage(model, decay=0.5, ramp=True)
    for _ in range(3):
        _move(model)
    average.update(model, 100)
    assert torch.equal(average.model[1].running_mean, model[1].running_mean)
    assert average.model[1].num_batches_tracked.item() == 3
    assert not average.model.training


def test_the_form_of_a_gpu_overwrites_its_share_in_place() -> None:
    model = _model()
    plain, held = WeightAverage(model, decay=0.99, ramp=True), WeightAverage(model, decay=0.99, ramp=True)
    for iteration in (1, 2, 3, 50):
        _move(model)
        plain.update(model, iteration)
        with gpu_forms.everywhere():
            held.update(model, iteration)
        assert isinstance(held._share, torch.Tensor)
        assert float(held._share) == pytest.approx(1 - (1 + iteration) / (10 + iteration))
    for mine, other in zip(held.model.parameters(), plain.model.parameters(), strict=True):
        torch.testing.assert_close(mine, other)


@pytest.mark.parametrize("every", [1, 3])
def test_the_plain_mean_is_torchs(every) -> None:
    model = _model()
    ours, theirs = WeightMean(model, first=4, every=every), AveragedModel(copy.deepcopy(model))
    for iteration in range(1, 12):
        _move(model)
        ours.update(model, iteration)
        if iteration >= 4 and (iteration - 4) % every == 0:
            theirs.update_parameters(model)
        expected = model if iteration < 4 else theirs.module
        for mine, other in zip(ours.model.parameters(), expected.parameters(), strict=True):
            torch.testing.assert_close(mine, other)
        assert torch.equal(ours.model[1].running_mean, model[1].running_mean)
    assert ours.count(11) == int(theirs.n_averaged)
    assert ours.count(3) == 0
