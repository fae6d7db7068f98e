"""One optimizer step of the network of params.yaml. ``make bench`` times it."""

import math

import torch

from maskline.builders.training import build_training
from maskline.engine.state import TrainState
from maskline.engine.train import step


def test_step(benchmark, prepared, settings):
    job = build_training(settings, prepared)
    state = TrainState(model=job.model, optimizer=job.optimizer)
    batch = job.loop.batches.batch(0)
    before = {name: value.clone() for name, value in state.model.named_parameters()}
    first = step(state, job.loop, batch)
    row = benchmark(step, state, job.loop, batch)
    assert row["iteration"] == 1
    assert math.isfinite(row["loss"])
    assert math.isclose(row["loss"], sum(value for key, value in row.items() if key.startswith("loss_")), rel_tol=1e-5)
    assert row["loss"] < first["loss"], "the same batch again must fit better"
    assert all(not torch.equal(before[name], value) for name, value in state.model.named_parameters())
