"""MMSegmentation's configurations as recipes, key by key beside what the configurations say.

``published_facts.json.gz`` has keys of the resolved configurations as they stand there (``tools.published_recipes``);
what they mean as params is told here once more, without the importer.
"""

import gzip
import json
import re
from pathlib import Path

import pytest

from maskline.augment.resize import Resize
from maskline.params.base.reading import read_yaml
from maskline.params.network.model import validate_model
from maskline.params.whole import validate_params
from maskline.projects import recipes
from maskline.projects.published import published
from maskline.projects.recipe_text import overlay
from maskline.weights.mmseg.model import ModelReader
from tools.published_recipes import DEVIATIONS, read_alone

FACTS = json.loads(gzip.decompress(Path(__file__).with_name("published_facts.json.gz").read_bytes()))
OPTIMIZERS = {"SGD": "sgd", "AdamW": "adamw", "Adam": "adam"}
RESIZES = {"RandomResize", "Resize"}
# What PhotoMetricDistortion does when nothing else is said; OpenCV's hue counts two degrees as one.
COLORS = {"mode": "mmseg", "prob": 0.5, "brightness": 32, "contrast": (0.5, 1.5), "saturation": (0.5, 1.5)}
SIZES = {"DRIVEDataset": (584, 565), "STAREDataset": (605, 700), "ChaseDB1Dataset": (960, 999)}
SIZES |= {"HRFDataset": (2336, 3504), "CityscapesDataset": (2048, 1024), "LoveDADataset": (1024, 1024)}
SIZES |= {"PotsdamDataset": (512, 512), "ISPRSDataset": (512, 512), "iSAIDDataset": (896, 896)}
HEADS = {"fcn": "FCNHead", "psp": "PSPHead", "aspp": "ASPPHead", "uper": "UPerHead", "segformer": "SegformerHead"}
HEADS |= {"separable_aspp": "DepthwiseSeparableASPPHead", "ocr": "OCRHead", "point": "PointHead", "fpn": "FPNHead"}


@pytest.fixture(scope="module")
def everything():
    return {name: validate_params(one.sections(), place=name) for name, one in published().items()}


def differing(everything, expected):
    """Names and keys whose values are not those that ``expected`` makes of the facts: key -> value of one recipe."""
    wrong = []
    for name, loaded in everything.items():
        values = loaded.model_dump()
        for key, value in expected(name, FACTS[name]).items():
            found = values
            for step in key.split("."):
                found = found[int(step) if step.isdigit() else step]
            if found != value:
                wrong.append((name, key, found, value))
    return wrong


def tuples(value):
    return tuple(map(tuples, value)) if isinstance(value, list) else value


def pipeline(_name, facts):
    steps = {step["type"]: step for step in facts["pipeline"]}
    keys = {"augment.flip_vertical": 0, "augment.rotate_degrees": 0, "augment.flip_horizontal": 0}
    keys["augment.crop_size"] = tuple(steps["RandomCrop"]["crop_size"]) if "RandomCrop" in steps else None
    keys["augment.cat_max_ratio"] = steps.get("RandomCrop", {}).get("cat_max_ratio", 1.0)
    if keys["augment.crop_size"] is None:
        keys["augment.crop_size"] = tuple(facts["preprocessor"]["size"])
    if "RandomFlip" in steps:
        keys["augment.flip_horizontal"] = steps["RandomFlip"]["prob"]
    resize = next((step for kind, step in steps.items() if kind in RESIZES), None)
    keys["augment.scale"] = None if resize is None else tuple(resize["scale"][::-1])
    keys["augment.keep_ratio"] = True if resize is None else resize["keep_ratio"]
    keys["augment.ratio_range"] = (1, 1) if resize is None else tuple(resize["ratio_range"])
    chosen = steps.get("RandomChoiceResize", {})
    keys["augment.shorter_sides"] = tuple(chosen.get("scales", ()))
    keys["augment.longer_side"] = chosen.get("max_size")
    if "PhotoMetricDistortion" in steps:
        assert list(steps["PhotoMetricDistortion"]) == ["type"]
        keys |= {f"augment.photometric.{key}": value for key, value in {**COLORS, "hue_degrees": 36}.items()}
    else:
        keys["augment.photometric.prob"] = 0
    others = ("affine", "perspective", "elastic", "blur", "noise", "clahe", "gamma", "grayscale", "erase", "cutmix")
    return keys | {f"augment.{key}.prob": 0 for key in (*others, "channel_dropout", "copy_paste", "mixup")}


SWIN = ("backbone.stages.", "backbone.layers.")  # how tensors' names begin there and here


def optimization(name, facts):
    wrapper = facts["optim_wrapper"]
    optimizer, rules = wrapper["optimizer"], wrapper.get("paramwise_cfg") or {}
    clip = wrapper.get("clip_grad") or {}
    keys = {f"optimizer.{key}": optimizer[key] for key in ("lr", "weight_decay", "eps") if key in optimizer}
    keys["optimizer.name"] = OPTIMIZERS[optimizer["type"]]
    keys["optimizer.clip_norm"] = clip.get("max_norm")
    keys["train.precision"] = "fp16" if wrapper["type"] == "AmpOptimWrapper" else "fp32"
    keys["train.accumulate"] = wrapper.get("accumulative_counts", 1)
    if optimizer["type"] == "SGD":
        keys |= {"optimizer.momentum": optimizer["momentum"], "optimizer.nesterov": False}
    else:
        keys["optimizer.betas"] = tuple(optimizer.get("betas", (0.9, 0.999)))
    custom = [
        {
            "key": key.replace(*SWIN) if "swin" in name else key,
            "lr_mult": rule.get("lr_mult", 1),
            "decay_mult": rule.get("decay_mult", 1),
        }
        for key, rule in rules.get("custom_keys", {}).items()
    ]
    keys["optimizer.paramwise.custom_keys"] = tuple(custom)
    keys["optimizer.paramwise.norm_decay_mult"] = rules.get("norm_decay_mult")
    keys["optimizer.paramwise.bias_decay_mult"] = rules.get("bias_decay_mult")
    if "num_layers" in rules:
        kind = rules.get("decay_type", "layer_wise_vit")
        rate = rules.get("decay_rate", rules.get("layer_decay_rate"))
        keys["optimizer.paramwise.layer_decay"] = {"kind": kind, "num_layers": rules["num_layers"], "rate": rate}
    return keys


def length(_name, facts):
    batches = facts["optim_wrapper"].get("accumulative_counts", 1)
    whole, keys = facts["train_cfg"]["max_iters"], {"schedule.warmup_length": 0, "schedule.unit": "iterations"}
    keys |= {"train.iterations": whole // batches, "train.val_every": facts["train_cfg"]["val_interval"] // batches}
    keys |= {"train.epochs": None, "train.early_stop": 0, "train.ema_decay": 0}
    for part in facts["param_scheduler"]:
        assert part["by_epoch"] is False
        match part["type"]:
            case "LinearLR":
                assert part["begin"] == 0
                keys |= {"schedule.warmup": "linear", "schedule.warmup_length": part["end"] // batches}
                keys["schedule.warmup_factor"] = part["start_factor"]
            case "PolyLR" | "PolyLRRatio":
                assert part["begin"] // batches == keys["schedule.warmup_length"]
                end = {"schedule.end_lr": part.get("eta_min")}
                if "eta_min_ratio" in part:
                    end = {"schedule.end_factor": part["eta_min_ratio"], "schedule.end_lr": None}
                ends = None if part["end"] == whole else part["end"] // batches
                keys |= {"schedule.name": "poly", "schedule.power": part["power"], "schedule.length": ends, **end}
            case "MultiStepLR":
                places = tuple(part["begin"] + place for place in part["milestones"])
                keys |= {"schedule.name": "step", "schedule.milestones": places, "schedule.gamma": 0.1}
            case "ConstantLR":
                assert part["factor"] == 1
            case other:
                raise AssertionError(other)
    return keys


def batch(name, facts):
    devices = re.search(r"_(\d+)xb?\d+", name)
    return {
        "train.batch_size": facts["batch_size"] * (int(devices[1]) if devices else 1),
        "train.devices": 1,
    }


def inference(_name, facts):
    test = facts["test_cfg"]
    resizes = [step for step in facts["test_pipeline"] if step["type"] == "Resize"]
    assert all(step["keep_ratio"] for step in resizes)
    scale = tuple(reversed(resizes[0]["scale"])) if resizes else None
    keys = {"evaluate.inference": test["mode"], "evaluate.tta.scales": (1.0,), "evaluate.tta.flips": ("none",)}
    # Left out where it is the size of all images: nothing is scaled then.
    own_size = sorted(SIZES.get(facts["data"], ())) == sorted(scale or ())
    keys["model.test_scale"] = None if own_size else scale
    keys |= {"evaluate.window_weights": "uniform", "evaluate.average": "logits"}
    if test["mode"] == "slide":
        keys |= {"evaluate.window": tuple(test["crop_size"]), "evaluate.stride": tuple(test["stride"])}
    return keys


def network(_name, facts):
    preprocessor, keys = facts["preprocessor"], {"model.type": "encoder_decoder"}
    keys |= {f"model.{key}": tuple(map(float, preprocessor[key])) for key in ("mean", "std")}
    heads = facts["heads"]
    decode, auxiliary = heads["decode_head"], heads["auxiliary_head"]
    places = [f"model.cascade_heads.{i}" for i in range(len(decode) - 1)] + ["model.decode_head"]
    places += [f"model.auxiliary_heads.{i}" for i in range(len(auxiliary))]
    for place, head in zip(places, [*decode, *auxiliary], strict=True):
        if head["type"] not in HEADS.values():
            continue
        (name,) = [ours for ours, theirs in HEADS.items() if theirs == head["type"]]
        keys |= {f"{place}.name": name, f"{place}.channels": head["channels"]}
        keys[f"{place}.dropout"] = max(head.get("dropout_ratio", 0.1), 0)  # -1 there: none
        keys[f"{place}.in_index"] = tuples(head.get("in_index", -1))
        losses = head.get("loss_decode", {"type": "CrossEntropyLoss"})
        for i, loss in enumerate([losses] if isinstance(losses, dict) else losses):
            keys[f"{place}.losses.{i}.weight"] = loss.get("loss_weight", 1.0)
            if loss["type"] == "CrossEntropyLoss" and not loss.get("use_sigmoid"):
                # The mean is over all pixels there, but for those two keys.
                counted = loss.get("avg_non_ignore") or loss.get("class_weight") is not None
                ours = "cross_entropy" if counted else "cross_entropy_mmseg"
                keys[f"{place}.losses.{i}.name"] = "ohem_mmseg" if head.get("sampler") else ours
                keys[f"{place}.losses.{i}.class_weights"] = tuples(loss.get("class_weight"))
            if head.get("sampler"):
                keys[f"{place}.losses.{i}.threshold"] = head["sampler"].get("thresh")
                keys[f"{place}.losses.{i}.min_kept"] = head["sampler"]["min_kept"]
    return keys


@pytest.mark.parametrize("expected", [pipeline, optimization, length, batch, inference, network])
def test_every_key_is_that_of_the_configuration(everything, expected):
    assert differing(everything, expected)[:5] == []


def test_an_image_gets_the_published_size(everything):
    augment = everything["fcn_r50-d8_4xb4-160k_ade20k-512x512"].augment
    scaled = Resize(ratio_range=(1.0, 1.0), scale=augment.scale, keep_ratio=augment.keep_ratio)
    assert scaled.largest((364, 500)) == (512, 703)


def test_networks_are_what_the_import_reads_now(shared_conformance):
    """Another import makes other recipes: python -m tools.published_recipes, then make reference."""
    cases = {path.stem: path for path in (shared_conformance / "zoo").glob("*.json")}
    compared = cases.keys() & published().keys()
    assert len(compared) > 35
    # The cases were made on a CPU, with other norms; what is not of the network is left out.
    other = {"mean": [0.0], "std": [1.0], "in_channels": 1, "norm": {"name": "bn"}, "test_scale": None}
    stale = []
    for name in compared:
        model = ModelReader().read(json.loads(cases[name].read_text(encoding="utf-8"))["model"], preprocessor=None)
        model = read_alone({"model": {key: value for key, value in model.items() if key != "smp"}})["model"]
        ours = published()[name].sections()["model"]
        if validate_model(ours | other, place=name) != validate_model(model | other, place=name):
            stale.append(name)
    assert stale == []


def test_what_a_recipe_says_otherwise_is_on_the_page(root):
    page = (root / "docs" / "how-to" / "recipes.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    assert [key for key in DEVIATIONS if not any(f"`{key}`" in row for row in rows)] == []


def test_all_whose_networks_are_here_are_there(everything):
    assert everything.keys() == FACTS.keys()
    assert len(everything) == 673


def test_their_names_find_them():
    for name, one in published().items():
        path = recipes.find(f"configs/{one.family}/{name}.py")
        assert path.stem == one.shown_name
        assert (one.file is None) == (path.parent.name != "recipes")
    assert sum(one.file is not None for one in published().values()) == 78


def test_a_recipe_of_the_table_reads_as_one_of_a_file(everything):
    texts = {name: one.text() for name, one in published().items() if one.family in ("knet", "beit", "ddrnet", "unet")}
    assert len(texts) == 38
    for name, text in texts.items():
        values = read_yaml(text_at := recipes.find(name))
        assert text_at.read_text(encoding="utf-8") == text
        assert validate_params(values, place=name) == everything[name]


def test_an_overlay_says_nothing_that_its_names_do_not_read():
    said = overlay(published()["fcn_r50-d8_4xb2-80k_cityscapes-512x1024"].sections(), place="fcn")
    assert said["model"]["backbone"] == {"name": "resnet50_v1c", "output_stride": 8}


def test_what_is_lost_or_other_than_its_name_says_is_told():
    notes = {name: " ".join(one.notes) for name, one in published().items()}
    assert "the name says 160k, the configuration 320k" in notes["beit-large_upernet_8xb1-amp-160k_ade20k-640x640"]
    assert "no layout reads MapillaryDataset_v1" in notes["deeplabv3plus_r50-d8_4xb2-300k_mapillay_v1_65-1280x1280"]
    assert "ResizeToMultiple has no counterpart" in notes["fpn_poolformer_s12_8xb4-40k_ade20k-512x512"]
    assert notes["fcn_r50-d8_4xb4-160k_ade20k-512x512"] == ""
    assert notes["fcn_r50-d8_4xb2-80k_cityscapes-512x1024"] == ""
    told = {note for one in published().values() for note in one.notes}
    assert not [note for note in told if "batch_size" in note or note.startswith("data set ")]


def test_results_are_those_of_the_checkpoints():
    """The metafiles name some of them by another configuration."""
    scores = {name: one.score for name, one in published().items()}
    assert scores["ocrnet_hr18_4xb4-160k_ade20k-512x512"] == "mIoU 39.32, with scales and flips 40.80"
    assert scores["ocrnet_hr18_4xb4-80k_ade20k-512x512"] == "mIoU 37.79, with scales and flips 39.16"
    assert scores["deeplabv3plus_r101-d8_4xb4-160k_ade20k-512x512"] == "mIoU 45.47, with scales and flips 46.35"
    assert sum(map(bool, scores.values())) == 622
