"""Class weights by rule: numbers from the train split's pixels, in the losses and in the receipt."""

import pytest

from maskline import build, params
from maskline.build_data import with_class_weights
from maskline.data import manifest
from maskline.errors import ParamsError
from maskline.labels import LabelSet
from tests.test_build import SMALL, settings

LABELS = LabelSet(class_names=("ground", "thing"), palette=((0, 0, 0), (255, 0, 0)), ignore_index=255)


def row(split, name, ground):
    cells = {"id": f"{split}{name}", "split": split, "group": f"{split}{name}", "source": name}
    for part in manifest.PARTS:
        there = part in ("image", "mask")
        cells |= {f"{part}_offset": 0, f"{part}_bytes": int(there), f"{part}_sha256": "0" * 64 if there else ""}
    size = {"height": 200, "width": 200, "shard": "shard-00000.bin"}
    return cells | size | {"pixels_0": ground, "pixels_1": 40000 - ground, "pixels_ignored": 0}


@pytest.fixture
def prepared(tmp_path):
    # Train: 32000 and 8000 of 40000; val must not count.
    manifest.write(tmp_path, [row("train", "a", 32000), row("val", "b", 1)], LABELS)
    return tmp_path


def weighted(root, rule):
    losses = [{"name": "cross_entropy", "weight": 1.0, "class_weights": rule, "label_smoothing": 0.0}]
    values = params.read_yaml(root / "params.yaml")
    values["model"]["decode_head"]["losses"] = losses
    return params.validate(values)


def test_a_rule_becomes_numbers_of_the_train_split(root, prepared):
    section, numbers = with_class_weights(weighted(root, "auto:inverse_frequency").model, prepared)
    assert numbers == {"auto:inverse_frequency": [0.4, 1.6]}  # shares 0.8 and 0.2
    assert section.decode_head.losses[0].class_weights == (0.4, 1.6)
    assert build.criteria(section)  # the other heads' losses are as they were


def test_without_a_rule_nothing_is_read(root, tmp_path):
    model = settings(root).model
    assert with_class_weights(model, tmp_path / "missing") == (model, {})


def test_a_run_has_them_in_its_losses_and_its_receipt(root, prepared):
    made = weighted(root, "auto:enet_log")
    values = made.model_dump(mode="json")
    for key, value in SMALL.items():
        _, section, name = key.split("__")
        values["model"][section][name] = value
    values["augment"] |= {"crop_size": [64, 64], "ratio_range": [1.0, 1.0]}
    job = build.training(params.validate(values), prepared)
    expected = with_class_weights(made.model, prepared)[1]
    assert job.card["receipt"]["class_weights"] == expected
    assert job.card["params"]["model"]["decode_head"]["losses"][0]["class_weights"] == "auto:enet_log"


def test_an_unknown_rule_is_named(root):
    with pytest.raises(ParamsError, match=r"class_weights: \"auto:median\" .*auto:enet_log"):
        weighted(root, "auto:median")
