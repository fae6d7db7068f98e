"""Optimizer, schedule, loop and inference of configurations become settings that params take."""

import pytest

from maskline.params.whole import validate_params
from maskline.weights.mmseg.settings import settings
from tools.trial import complete_params

SEGFORMER = {
    "model": {
        "data_preprocessor": {"type": "SegDataPreProcessor", "size": (1024, 1024)},
        "test_cfg": {"mode": "slide", "crop_size": (1024, 1024), "stride": (768, 768)},
    },
    "optim_wrapper": {
        "type": "OptimWrapper",
        "optimizer": {"type": "AdamW", "lr": 6e-05, "betas": (0.9, 0.999), "weight_decay": 0.01},
        "paramwise_cfg": {
            "custom_keys": {"pos_block": {"decay_mult": 0.0}, "norm": {"decay_mult": 0.0}, "head": {"lr_mult": 10.0}}
        },
    },
    "param_scheduler": [
        {"type": "LinearLR", "start_factor": 1e-06, "by_epoch": False, "begin": 0, "end": 1500},
        {"type": "PolyLR", "eta_min": 0.0, "power": 1.0, "begin": 1500, "end": 160000, "by_epoch": False},
    ],
    "train_cfg": {"type": "IterBasedTrainLoop", "max_iters": 160000, "val_interval": 16000},
}


def read(config):
    notes = []
    return settings(config, notes), notes


def test_segformers_settings_are_params(shipped_params):
    found, notes = read(SEGFORMER)
    assert notes == []
    assert found["augment"] == {"crop_size": [1024, 1024]}
    assert found["schedule"] == {
        "warmup": "linear",
        "warmup_length": 1500,
        "warmup_factor": 1e-06,
        "name": "poly",
        "power": 1.0,
        "end_lr": 0.0,
    }
    assert found["evaluate"] == {"inference": "slide", "window": [1024, 1024], "stride": [768, 768]}
    values = complete_params(shipped_params)
    rules = {**values["optimizer"]["paramwise"], **found["optimizer"].pop("paramwise")}
    for section, changes in found.items():
        values[section] = {**values[section], **changes}
    values["optimizer"]["paramwise"] = rules
    loaded = validate_params(values)
    assert loaded.optimizer.name == "adamw"
    assert loaded.optimizer.lr == 6e-05
    assert [rule.key for rule in loaded.optimizer.paramwise.custom_keys] == ["pos_block", "norm", "head"]
    assert loaded.train.iterations == 160000


@pytest.mark.parametrize(
    ("wrapper", "expected"),
    [
        ({"type": "AmpOptimWrapper"}, {"precision": "fp16"}),
        ({"type": "AmpOptimWrapper", "dtype": "bfloat16"}, {"precision": "bf16"}),
        ({"type": "OptimWrapper", "accumulative_counts": 4}, {"accumulate": 4}),
    ],
)
def test_how_steps_are_made(wrapper, expected):
    assert read({"optim_wrapper": wrapper}) == ({"train": expected}, [])


def test_epochs():
    config = {
        "train_cfg": {"type": "EpochBasedTrainLoop", "max_epochs": 50},
        "param_scheduler": {"type": "MultiStepLR", "milestones": [30, 40]},
    }
    found, _ = read(config)
    assert found["train"] == {"epochs": 50.0}
    assert found["schedule"] == {"unit": "epochs", "name": "step", "milestones": [30, 40], "gamma": 0.1}


def test_a_schedule_that_ends_before_the_run():
    part = {"type": "PolyLR", "power": 0.9, "eta_min": 1e-4, "begin": 0, "end": 24000, "by_epoch": False}
    found, _ = read({"param_scheduler": [part], "train_cfg": {"max_iters": 25000}})
    assert found["schedule"]["length"] == 24000


def test_clipping_and_averages():
    config = {
        "optim_wrapper": {"type": "OptimWrapper", "clip_grad": {"max_norm": 0.01, "norm_type": 2}},
        "custom_hooks": [{"type": "EMAHook", "momentum": 0.001}],
    }
    found, notes = read(config)
    assert found == {"optimizer": {"clip_norm": 0.01}, "train": {"ema_decay": 0.999}}
    assert notes == []


@pytest.mark.parametrize(
    ("config", "note"),
    [
        ({"optim_wrapper": {"optimizer": {"type": "Lion", "lr": 1e-4}}}, "optimizer Lion has no counterpart"),
        (
            {"optim_wrapper": {"type": "DeepSpeedOptimWrapper"}},
            "optim_wrapper DeepSpeedOptimWrapper has no counterpart",
        ),
        ({"param_scheduler": {"type": "PolyLRRatio"}}, "scheduler PolyLRRatio has no counterpart"),
        ({"lr_config": {"policy": "cyclic"}}, "schedule cyclic has no counterpart"),
        ({"custom_hooks": [{"type": "MyHook"}]}, "hook MyHook has no counterpart"),
        ({"optimizer_config": {"grad_clip": {"clip_value": 1.0}}}, "clip_grad {'clip_value': 1.0} has no counterpart"),
        (
            {"optim_wrapper": {"optimizer": {"type": "SGD"}, "paramwise_cfg": {"bypass_duplicate": True}}},
            "paramwise_cfg: bypass_duplicate is not taken over",
        ),
    ],
)
def test_what_has_no_counterpart_is_a_note(config, note):
    assert read(config)[1] == [note]
