"""Optimizer, schedule, loop and inference of configurations become settings that params take."""

import copy
import re

import pytest

from maskline.builders.optim import schedule
from maskline.params.schedule import ScheduleParams
from maskline.params.whole import validate_params
from maskline.weights.mmseg import settings as of_settings
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
    found = settings(config, notes)
    scale = of_settings.test_scale(config, notes)
    return found | ({"model": scale} if scale else {}), notes


def as_params(found, shipped_params):
    """The shipped params with what was read."""
    values = complete_params(shipped_params)
    for section, changes in found.items():
        for key, value in changes.items():
            inner = values[section].get(key)
            values[section][key] = {**inner, **value} if isinstance(value, dict) else value
    return validate_params(values)


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
    loaded = as_params(found, shipped_params)
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
    assert found["schedule"] == {
        "unit": "epochs",
        "name": "step",
        "milestones": [30, 40],
        "gamma": 0.1,
        "warmup_length": 0,
    }


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
    assert found == {"optimizer": {"clip_norm": 0.01}, "train": {"ema_decay": 0.999, "ema_ramp": False}}
    assert notes == []


@pytest.mark.parametrize(
    ("config", "note"),
    [
        ({"optim_wrapper": {"optimizer": {"type": "Lion", "lr": 1e-4}}}, "optimizer Lion has no counterpart"),
        (
            {"optim_wrapper": {"type": "DeepSpeedOptimWrapper"}},
            "optim_wrapper DeepSpeedOptimWrapper has no counterpart",
        ),
        ({"param_scheduler": {"type": "OneCycleLR"}}, "scheduler OneCycleLR has no counterpart"),
        ({"lr_config": {"policy": "cyclic"}}, "schedule cyclic has no counterpart"),
        ({"custom_hooks": [{"type": "MyHook"}]}, "hook MyHook has no counterpart"),
        ({"optimizer_config": {"grad_clip": {"clip_value": 1.0}}}, "clip_grad {'clip_value': 1.0} has no counterpart"),
        (
            {"optim_wrapper": {"optimizer": {"type": "SGD"}, "paramwise_cfg": {"bypass_duplicate": True}}},
            "paramwise_cfg: bypass_duplicate True has no counterpart",
        ),
    ],
)
def test_what_has_no_counterpart_is_a_note(config, note):
    assert read(config)[1] == [note]


ITERATIONS = {"by_epoch": False}


def scheduled(*parts, **more):
    found, notes = read({"param_scheduler": [ITERATIONS | part for part in parts], **more})
    return found["schedule"], notes


def test_milestones_count_from_their_own_begin():
    warmup = {"type": "LinearLR", "start_factor": 0.001, "begin": 0, "end": 1000}
    steps = {"type": "MultiStepLR", "begin": 1000, "end": 80000, "milestones": [60000, 72000]}
    found, notes = scheduled(warmup, steps, train_cfg={"max_iters": 80000})
    assert (found["milestones"], notes) == ([61000, 73000], [])


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"type": "StepLR", "step_size": 30, "gamma": 0.5}, {"name": "step", "step_every": 30, "gamma": 0.5}),
        ({"type": "ExponentialLR", "gamma": 0.99, "end": 9}, {"name": "exponential", "gamma": 0.99, "length": 9}),
        ({"type": "CosineAnnealingLR", "T_max": 50}, {"name": "cosine", "end_lr": 0.0, "length": 50}),
        ({"type": "CosineAnnealingLR", "end": 100, "eta_min_ratio": 0.1}, {"name": "cosine", "end_factor": 0.1}),
        ({"type": "PolyLRRatio", "eta_min_ratio": 0.03}, {"name": "poly", "power": 1.0, "end_factor": 0.03}),
    ],
)
def test_decays(part, expected):
    found, notes = scheduled(part, train_cfg={"max_iters": 100})
    assert (found, notes) == ({"warmup_length": 0, **expected}, [])


def test_the_full_rate_before_a_decay_and_a_constant_warmup():
    found, notes = scheduled({"type": "PolyLR", "begin": 10})
    assert (found["warmup"], found["warmup_length"], found["warmup_factor"], notes) == ("constant", 10, 1.0, [])
    slow = {"type": "ConstantLR", "factor": 0.1, "end": 10}
    found, notes = scheduled(slow, {"type": "PolyLR", "begin": 10}, {"type": "ConstantLR", "factor": 1, "begin": 90})
    assert (found["warmup"], found["warmup_length"], found["warmup_factor"], notes) == ("constant", 10, 0.1, [])


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ([{"type": "PolyLR"}, {"type": "PolyLR", "begin": 50}], "begin 50 has no counterpart: there is one decay"),
        ([{"type": "LinearLR", "end": 9, "end_factor": 0.5}], "LinearLR: end_factor 0.5"),
        ([{"type": "LinearLR", "end": 9}, {"type": "PolyLR"}], "PolyLR: begin 0 .* where the warm-up ends, at 9"),
        ([{"type": "PolyLR", "by_epoch": True}], "PolyLR: by_epoch True"),
        ([{"type": "LinearLR", "end": 9}, {"type": "StepLR", "step_size": 9, "begin": 9, "by_epoch": True}], "epochs"),
        ([{"type": "CosineAnnealingLR", "T_max": 50, "end": 40}], "end 40 .* until 50"),
        ([{"type": "MultiStepLR", "milestones": [9], "end": 50}], "end 50 .*: steps go on"),
    ],
)
def test_what_a_schedule_loses_is_named(parts, told):
    _, notes = scheduled(*parts, train_cfg={"max_iters": 100})
    assert len(notes) == 1
    assert re.search(told, notes[0])


def test_batches_of_which_several_make_a_step():
    found, notes = read(
        {
            "optim_wrapper": {"type": "OptimWrapper", "accumulative_counts": 2},
            "train_cfg": {"max_iters": 100, "val_interval": 10},
            "param_scheduler": {"type": "MultiStepLR", "milestones": [50], "begin": 10, "by_epoch": False},
        }
    )
    assert found["train"] == {"iterations": 50, "val_every": 5, "accumulate": 2}
    assert (found["schedule"]["warmup_length"], found["schedule"]["milestones"]) == (5, [30])
    assert notes == ["accumulative_counts 2: iterations here are steps, each of 2 batches"]


def test_layer_decay_early_stopping_and_other_optimizers():
    rules = {"num_layers": 12, "decay_rate": 0.9, "decay_type": "stage_wise"}
    found, notes = read(
        {
            "optim_wrapper": {
                "type": "OptimWrapper",
                "constructor": "LearningRateDecayOptimizerConstructor",
                "paramwise_cfg": rules,
                "optimizer": {"type": "NAdam", "lr": 1e-3},
            },
            "custom_hooks": [{"type": "EarlyStoppingHook", "monitor": "mIoU", "patience": 3}],
        }
    )
    assert found["optimizer"]["name"] == "nadam"
    assert found["optimizer"]["paramwise"] == {
        "layer_decay": {"kind": "stage_wise", "num_layers": 12, "rate": 0.9},
    }
    assert (found["train"], notes) == ({"early_stop": 3, "best_metric": "mIoU"}, [])


# The keys of what MMEngine's runner reads in the 681 configurations of MMSegmentation 1.2.2, each once.
WHOLE = {
    "data_preprocessor": {
        "type": "SegDataPreProcessor",
        "mean": [0.0],
        "std": [1.0],
        "bgr_to_rgb": True,
        "pad_val": 0,
        "seg_pad_val": 255,
        "size": (64, 96),
        "size_divisor": None,
        "test_cfg": None,
    },
    "model": {"test_cfg": {"mode": "slide", "crop_size": (64, 96), "stride": (32, 48)}},
    "train_dataloader": {
        "batch_size": 4,
        "num_workers": 2,
        "persistent_workers": True,
        "sampler": {"type": "InfiniteSampler", "shuffle": True},
        "dataset": {
            "type": "ADE20KDataset",
            "data_root": "data",
            "data_prefix": {"img_path": "images"},
            "pipeline": [
                {"type": "LoadImageFromFile"},
                {"type": "LoadAnnotations", "reduce_zero_label": True},
                {"type": "RandomResize", "scale": (200, 100), "ratio_range": (0.5, 2.0), "keep_ratio": True},
                {"type": "RandomCrop", "crop_size": (64, 96), "cat_max_ratio": 0.75},
                {"type": "RandomFlip", "prob": 0.5},
                {"type": "RandomRotate", "degree": 10, "prob": 0.5},
                {"type": "PhotoMetricDistortion"},
                {"type": "Pad", "size": (64, 96)},
                {"type": "GenerateEdge", "edge_width": 4},
                {"type": "PackSegInputs"},
            ],
        },
    },
    "val_dataloader": {"dataset": {"pipeline": [{"type": "Resize", "scale": (200, 100), "keep_ratio": True}]}},
    "val_evaluator": {"type": "IoUMetric", "iou_metrics": ["mIoU"]},
    "optim_wrapper": {
        "type": "AmpOptimWrapper",
        "dtype": "float16",
        "loss_scale": "dynamic",
        "accumulative_counts": 2,
        "clip_grad": {"max_norm": 0.01, "norm_type": 2},
        "constructor": None,
        "optimizer": {"type": "AdamW", "lr": 1e-4, "betas": (0.9, 0.99), "eps": 1e-8, "weight_decay": 0.1},
        "paramwise_cfg": {
            "norm_decay_mult": 0.0,
            "bias_decay_mult": 0.5,
            "custom_keys": {"head": {"lr_mult": 10.0, "decay_mult": 0.5}},
        },
    },
    "param_scheduler": [
        {"type": "LinearLR", "start_factor": 0.1, "by_epoch": False, "begin": 0, "end": 10},
        {"type": "PolyLR", "eta_min": 0.1, "power": 0.9, "begin": 10, "end": 90, "by_epoch": False},
    ],
    "train_cfg": {"type": "IterBasedTrainLoop", "max_iters": 100, "val_interval": 10, "val_begin": 1},
    "default_hooks": {
        "timer": {"type": "IterTimerHook"},
        "logger": {"type": "LoggerHook", "interval": 50, "log_metric_by_epoch": False},
        "checkpoint": {"type": "CheckpointHook", "by_epoch": False, "interval": 10, "save_best": "mIoU"},
    },
    "custom_hooks": [{"type": "EMAHook", "momentum": 0.01}],
    "randomness": {"seed": 304},
    "auto_scale_lr": {"enable": False, "base_batch_size": 16},
}
# What changes no result here: read with the model, part of the data set or of its loading, or bookkeeping.
IDLE = [
    "data_preprocessor.type",
    "data_preprocessor.mean.0",
    "data_preprocessor.std.0",
    "data_preprocessor.bgr_to_rgb",
    "train_dataloader.persistent_workers",
    "train_dataloader.dataset.data_root",
    "train_dataloader.dataset.data_prefix.img_path",
    "train_dataloader.dataset.pipeline.1.reduce_zero_label",
    "train_dataloader.dataset.pipeline.7.size",
    "val_evaluator.iou_metrics.0",
    "train_cfg.type",
    "default_hooks.logger.log_metric_by_epoch",
    "default_hooks.checkpoint.by_epoch",
    "default_hooks.checkpoint.interval",
    "auto_scale_lr.base_batch_size",
]
# Parts that are not looked into, or hold names of one's own.
UNSEEN = [
    "model",
    "train_dataloader.dataset",
    "train_dataloader.dataset.data_prefix",
    "train_dataloader.dataset.pipeline.0",
    "train_dataloader.dataset.pipeline.1",
    "train_dataloader.dataset.pipeline.9",
    "val_dataloader",
    "val_dataloader.dataset",
    "default_hooks",
    "default_hooks.timer",
]


def leaves(value, place=()):
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if entries is None:
        yield place
    else:
        for key, entry in entries:
            yield from leaves(entry, (*place, key))


def parts(value, place=()):
    if isinstance(value, dict) and place:
        yield place
    if isinstance(value, dict | list):
        for key, entry in value.items() if isinstance(value, dict) else enumerate(value):
            yield from parts(entry, (*place, key))


def changed(place, change):
    config = copy.deepcopy(WHOLE)
    part = config
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = change(part[place[-1]])
    return config


def other(value):
    """Another value of the kind."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1 if value in (0, 0.0) else value / 2 if isinstance(value, float) else value * 2
        case str():
            return "Another"
        case tuple():
            return tuple(side * 2 for side in value)
        case _:
            return "Another"


def outcome(config):
    try:
        return read(config)
    except (TypeError, ValueError, KeyError) as error:
        return repr(error)


def test_every_key_is_used_or_named_or_idle():
    base = outcome(WHOLE)
    assert isinstance(base, tuple), base
    same = [".".join(map(str, place)) for place in leaves(WHOLE) if outcome(changed(place, other)) == base]
    assert same == IDLE


def test_the_whole_is_valid_params(shipped_params):
    found, _ = read(WHOLE)
    loaded = as_params(found, shipped_params)
    assert (loaded.train.accumulate, loaded.train.seed, loaded.augment.photometric.mode) == (2, 304, "mmseg")


def augmented(*steps):
    found, notes = read({"train_dataloader": {"dataset": {"type": "Own", "pipeline": list(steps)}}})
    assert notes == ["data set Own is no part of an import: see data.name"]
    return found["augment"]


def test_what_a_pipeline_leaves_out_does_not_happen(shipped_params):
    loaded = as_params({"augment": augmented({"type": "LoadImageFromFile"})}, shipped_params).augment
    assert (loaded.ratio_range, loaded.scale, loaded.cat_max_ratio, loaded.photometric.prob) == ((1, 1), None, 1, 0)
    assert (loaded.flip_horizontal, loaded.flip_vertical, loaded.rotate_degrees) == (0, 0, 0)


def test_a_choice_of_shorter_sides(shipped_params):
    step = {"type": "RandomChoiceResize", "scales": [320, 384], "resize_type": "ResizeShortestEdge", "max_size": 1280}
    loaded = as_params({"augment": augmented(step)}, shipped_params).augment
    assert (loaded.shorter_sides, loaded.longer_side, loaded.ratio_range) == ((320, 384), 1280, (1, 1))
    other = {"type": "RandomChoiceResize", "scales": [(320, 384)]}
    _, notes = read({"train_dataloader": {"dataset": {"type": "Own", "pipeline": [other]}}})
    assert notes[1:] == ["train_pipeline RandomChoiceResize: scales [(320, 384)] has no counterpart"]


def test_the_test_pipelines_scale(shipped_params):
    step = {"type": "mmseg.Resize", "scale": (2048, 512), "keep_ratio": True}
    multiple = {"type": "ResizeToMultiple", "size_divisor": 32}
    config = {"val_dataloader": {"dataset": {"pipeline": [{"type": "LoadImageFromFile"}, step, multiple]}}}
    found, notes = read(config)
    assert as_params(found, shipped_params).model.test_scale == (512, 2048)
    assert notes == ["test_pipeline: ResizeToMultiple has no counterpart"]
    old = {"type": "MultiScaleFlipAug", "img_scale": (2049, 1025), "flip": False}
    old["transforms"] = [{"type": "Resize", "keep_ratio": True}, {"type": "RandomFlip"}]
    assert read({"data": {"val": {"pipeline": [old]}}})[0]["model"] == {"test_scale": [1025, 2049]}


@pytest.mark.parametrize(
    ("step", "note"),
    [
        ({"scale": (520, 520)}, "keep_ratio False of scale (520, 520) has no counterpart"),
        ({"scale": [(8, 8), (9, 9)], "keep_ratio": True}, "scale [(8, 8), (9, 9)] has no counterpart"),
        ({"scale_factor": 0.5, "keep_ratio": True}, "scale_factor 0.5 has no counterpart"),
    ],
)
def test_other_resizing_at_test_time_is_named(step, note):
    found, notes = read({"val_dataloader": {"dataset": {"pipeline": [{"type": "Resize", **step}]}}})
    assert notes == [f"test_pipeline: {note}"]
    assert "model" not in found


def test_another_scale_of_another_test_set_is_named():
    def pipeline(*scale):
        return {"dataset": {"pipeline": [{"type": "Resize", "scale": scale, "keep_ratio": True}]}}

    found, notes = read({"val_dataloader": pipeline(2048, 1024), "test_dataloader": pipeline(1920, 1080)})
    assert found["model"] == {"test_scale": [1024, 2048]}
    assert notes == ["test_dataloader: another scale, [1080, 1920], has no counterpart: model.test_scale is of val"]


def test_colors_have_their_own_numbers():
    plain = augmented({"type": "PhotoMetricDistortion"})["photometric"]
    assert (plain["brightness"], plain["contrast"], plain["saturation"]) == (32, [0.5, 1.5], [0.5, 1.5])
    assert (plain["hue_degrees"], plain["prob"], plain["mode"]) == (36, 0.5, "mmseg")
    own = {"brightness_delta": 16, "contrast_range": (0.8, 1.2), "saturation_range": (0.9, 1.1), "hue_delta": 9}
    other = augmented({"type": "PhotoMetricDistortion", **own})["photometric"]
    assert (other["brightness"], other["contrast"], other["saturation"]) == (16, [0.8, 1.2], [0.9, 1.1])
    assert other["hue_degrees"] == 18


def test_every_key_that_nobody_knows_is_named():
    unnamed = []
    for place in parts(WHOLE):
        found = outcome(changed(place, lambda part: {**part, "surprise": {"lr_mult": 7}}))
        if "surprise" not in str(found):
            unnamed.append(".".join(map(str, place)))
    assert unnamed == UNSEEN


def test_a_warm_up_of_one_step_is_kept():
    # Rates computed by mmengine 0.10.7: LinearLR's factor stays, as no second step takes it back.
    warmup = {"type": "LinearLR", "start_factor": 0.1, "begin": 0, "end": 1, "by_epoch": False}
    poly = {"type": "PolyLR", "eta_min": 1e-4, "power": 0.9, "begin": 1, "end": 100, "by_epoch": False}
    optimizer = {"type": "OptimWrapper", "optimizer": {"type": "SGD", "lr": 0.01}}
    found, notes = read(
        {"optim_wrapper": optimizer, "param_scheduler": [warmup, poly], "train_cfg": {"max_iters": 100}}
    )
    rates = schedule(ScheduleParams(**found["schedule"]), iterations=100, epoch_iterations=1.0)
    assert [rates.rate(i, found["optimizer"]["lr"]) for i in (0, 1, 2, 50, 99)] == pytest.approx(
        [0.001, 0.001, 0.000991730461022, 0.000582298058141, 0.0001]
    )
    assert notes[0].endswith("LinearLR: end 1 is one step, whose factor MMEngine never takes back: lr is times it")


def test_keys_with_whole_names_of_swins_tensors():
    rules = {"custom_keys": {"backbone.stages.0.blocks.1.norm": {"decay_mult": 0.0}, "backbone": {"lr_mult": 0.1}}}
    wrapper = {"type": "OptimWrapper", "optimizer": {"type": "AdamW", "lr": 1e-4}, "paramwise_cfg": rules}
    found, _ = read({"model": {"backbone": {"type": "SwinTransformer"}}, "optim_wrapper": wrapper})
    keys = [rule["key"] for rule in found["optimizer"]["paramwise"]["custom_keys"]]
    assert keys == ["backbone.layers.0.blocks.1.norm", "backbone"]


def test_an_average_that_follows_each_of_several_batches():
    wrapper = {"type": "OptimWrapper", "accumulative_counts": 4}
    hook = {"type": "EMAHook", "momentum": 0.001, "interval": 1, "update_buffers": True}
    found, notes = read({"optim_wrapper": wrapper, "custom_hooks": [hook]})
    assert found["train"]["ema_decay"] == pytest.approx(0.999**4)
    assert notes == ["hook EMAHook: update_buffers True has no counterpart"]
