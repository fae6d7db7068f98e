"""A captured step: its replays are the steps themselves, to the last bit; proven by a recorder in a graph's place."""

import dataclasses
import functools

import pytest
import torch

from maskline.engine.capture import WARM_UP, CapturedStep, Values, reason_against
from maskline.engine.inputs import Inputs
from maskline.engine.journal import Journal
from maskline.engine.process import StopFlag
from maskline.engine.run import Job, start_state
from maskline.engine.state import weights_of
from maskline.engine.train import captured_step, fit
from maskline.losses import pixel, region, shape
from maskline.losses.composite import CompositeLoss
from maskline.models.backbones.mit import MitPlan, MixTransformer
from maskline.models.heads.fcn import FCNHead
from maskline.models.heads.segformer import SegformerHead
from maskline.models.segmentor import Segmentor
from maskline.models.smp import smp_segmentor
from maskline.optim import optimizers
from maskline.runtime import gpu_forms
from maskline.runtime.torch_seeds import seed_torch
from tests.engine.conftest import model as unet
from tests.engine.conftest import run
from tests.engine.recorder import RecordedGraphs

REPLAYED = 5
KNOBS = optimizers.Knobs(
    momentum=0.9,
    dampening=0.0,
    nesterov=False,
    betas=(0.9, 0.999),
    eps=1e-8,
    alpha=0.9,
    amsgrad=False,
    centered=False,
)
weights = (1.0, 2.5)
LOSSES = {
    "usual": [
        (functools.partial(pixel.cross_entropy, class_weights=weights, label_smoothing=0.1), 1.0),
        (functools.partial(region.dice, class_weights=None, smooth=1.0), 0.5),
    ],
    "others": [
        (functools.partial(pixel.ohem, class_weights=weights, threshold=0.7, min_kept=50), 1.0),
        (functools.partial(pixel.focal, class_weights=weights, gamma=2.0, alpha=None, activation="softmax"), 1.0),
        (functools.partial(region.lovasz, class_weights=weights), 1.0),
        (functools.partial(shape.boundary, class_weights=None, radius=2), 1.0),
        (functools.partial(shape.cldice, class_weights=None, iterations=2, smooth=1.0), 1.0),
    ],
}


def segformer():
    seed_torch(0, "weights")
    plan = MitPlan(
        embed_dims=8,
        num_layers=(1, 1, 1, 1),
        num_heads=(1, 1, 2, 2),
        patch_sizes=(7, 3, 3, 3),
        strides=(4, 2, 2, 2),
        reductions=(8, 4, 2, 1),
        mlp_ratio=2,
        qkv_bias=True,
    )
    backbone = MixTransformer(in_channels=3, plan=plan, dropout=0.1, attention_dropout=0.1, drop_path=0.2)
    shared = {"num_classes": 2, "align_corners": False}
    head = SegformerHead(in_channels=list(backbone.channels), in_index=[0, 1, 2, 3], channels=16, dropout=0.1, **shared)
    auxiliary = FCNHead(in_channels=backbone.channels[2], in_index=2, channels=8, num_convs=1, dropout=0.0, **shared)
    return Segmentor(
        backbone=backbone,
        decode_heads=[head],
        auxiliary_heads=[auxiliary],
        neck=None,
        num_classes=2,
        align_corners=False,
    )


def smp():
    seed_torch(0, "weights")
    auxiliary = FCNHead(
        in_channels=64, in_index=2, channels=8, num_convs=1, dropout=0.0, num_classes=2, align_corners=False
    )
    return smp_segmentor(
        "FPN",
        encoder="resnet18",
        in_channels=3,
        num_classes=2,
        pretrained=False,
        align_corners=False,
        auxiliary_heads=[auxiliary],
    )


def started(network, optimizer, losses="usual", **changes):
    """Return a run with the forms of a GPU, its values read where they are due."""
    _, loop = run(
        **{
            "deferred": True,
            "graph": True,
            "iterations": WARM_UP + REPLAYED,
            "log_every": 4,
            "val_every": 100,
            "validation": None,
            "journal_every": 100,
            "clip_norm": 0.5,
            "ema_decay": 0.9,
            "criteria": {
                "auxiliary_head.0": CompositeLoss([(loss, 0.4 * weight) for loss, weight in LOSSES[losses]]),
                "decode_head": CompositeLoss(LOSSES[losses]),
            },
            **changes,
        }
    )
    model = network()
    groups = [
        {
            "params": [each for name, each in model.named_parameters() if ("bias" in name) == biases],
            "lr": lr,
            "name": name,
        }
        for biases, lr, name in ((False, 0.02, "weights"), (True, 0.04, "biases"))
    ]
    made = optimizers.optimizer(optimizer, groups, lr=0.02, weight_decay=0.01, knobs=KNOBS)
    return start_state(Job(model=model, optimizer=made, loop=loop, card={})), loop


def trained(folder, state, loop):
    with gpu_forms.everywhere():
        fit(state, loop, journal=Journal(folder), stop=StopFlag())
    return state


@pytest.mark.parametrize(
    ("network", "optimizer", "losses", "changes"),
    [
        (unet, "sgd", "usual", {}),
        (unet, "adamw", "others", {"accumulate": 2}),
        (segformer, "adamw", "usual", {}),
        (smp, "sgd", "others", {}),
    ],
)
def test_replayed_steps_are_the_steps_themselves(tmp_path, network, optimizer, losses, changes):
    plain = trained(tmp_path / "plain", *started(network, optimizer, losses, **changes, graph=False))
    state, loop = started(network, optimizer, losses, **changes, graph=False)
    graphs = RecordedGraphs(state)
    state.captured = CapturedStep(graphs, undo=lambda: None)
    trained(tmp_path / "replayed", state, loop)
    assert (graphs.captures, graphs.replays) == (1, REPLAYED)
    assert state.trace == plain.trace
    assert state.steps == plain.steps
    for mine, other in ((state.model, plain.model), (state.average.model, plain.average.model)):
        one, two = weights_of(mine), weights_of(other)
        assert all(torch.equal(one[name], two[name]) for name in two)


def test_what_a_gpu_would_sort_or_refuse_is_not_in_a_step(tmp_path):
    """Of networks that resize by torch's functions, their own or a library's; forward, losses and backward."""
    for network in (segformer, smp):
        state, loop = started(network, "sgd", "others", graph=False)
        graphs = RecordedGraphs(state)
        state.captured = CapturedStep(graphs, undo=lambda: None)
        trained(tmp_path / network.__name__, state, loop)
        names = " ".join(graphs.operations[0])
        assert not [part for part in ("upsample_bilinear", "scatter", "index_put", "index_add", "nll") if part in names]
        assert "aten.bmm" in names


def test_a_step_that_cannot_be_captured_goes_on_as_it_is(tmp_path, caplog):
    plain = trained(tmp_path / "plain", *started(unet, "sgd", graph=False))
    state, loop = started(unet, "sgd", graph=False)
    loop.criteria["decode_head"].terms += ((lambda logits, *_: 0.0 * float(logits.detach().sum()), 1.0),)
    graphs = RecordedGraphs(state)
    state.captured = CapturedStep(graphs, undo=lambda: None)
    trained(tmp_path / "replayed", state, loop)
    assert graphs.captures == graphs.replays == 0
    assert caplog.text.count("the step is not captured as a graph, and goes on without: a captured step calls") == 1
    one, two = weights_of(state.model), weights_of(plain.model)
    assert all(torch.equal(one[name], two[name]) for name in two)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"deferred": False}, "this is a CPU"),
        ({"journal_every": 0}, "each iteration looks at its loss (machine.journal_every: 0)"),
        ({}, "FCNHead reads its matches"),
    ],
)
def test_what_is_against_a_graph_is_said(caplog, changes, reason):
    caplog.set_level("INFO")
    state, loop = started(unet, "sgd", **changes, graph=False)
    if not changes:
        state.model.decode_head.reads_back = "its matches"
    loop = dataclasses.replace(loop, graph=True)
    assert captured_step(state, loop, lambda: RecordedGraphs(state)) is None
    assert f"the step is not captured as a graph: {reason}" in caplog.text


def test_batch_norm_without_momentum_reads():
    assert reason_against(torch.nn.BatchNorm2d(2, momentum=None), []).startswith("a batch norm without momentum")
    assert reason_against(torch.nn.BatchNorm2d(2), []) is None


def test_batches_of_other_shapes_have_graphs_of_their_own(tmp_path):
    """And a blended batch is another kind than a plain one; its share changes from one to the next."""

    def step(batches):
        (batch,) = batches
        share = 1.0 if batch.other_targets is None else batch.share[0] + 2 * batch.share[1]
        total = batch.images.sum() * share
        return Values(names=("loss",), losses=total.reshape(1, 1), norm=total)

    state, _ = started(unet, "sgd", graph=False)
    graphs = RecordedGraphs(state)
    captured = CapturedStep(graphs, undo=lambda: None)
    for number in range(3 * (WARM_UP + 2)):
        side, share = 2 + number % 3 // 2, 0.1 * number
        target = torch.zeros(1, side, side, dtype=torch.int64)
        others = target if number % 3 else None
        given = Inputs(
            images=torch.full((1, 3, side, side), float(number)),
            targets=target,
            other_targets=others,
            share=(share, 1 - share),
        )
        expected = float(step([given]).norm)
        assert float(captured.run(step, [given], kind="one").norm) == pytest.approx(expected, rel=1e-6)
    assert (graphs.captures, graphs.replays) == (3, 6)
    captured.run(step, [given], kind="another")
    assert (graphs.captures, graphs.replays) == (3, 6)
