"""Class weights by rule: numbers from the train split's pixels, in the losses and in the receipt."""

import pytest

from maskline.builders.class_weights import with_class_weights
from maskline.builders.losses import criteria
from maskline.builders.training import build_training
from maskline.core.errors import ParamsError
from maskline.data import manifest
from maskline.data.labels import LabelSet
from maskline.params.whole import validate_params
from tests.builders.test_training import SMALL, settings
from tools.trial import complete_params

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


def weighted(shipped_params, rule):
    losses = [{"name": "cross_entropy", "weight": 1.0, "class_weights": rule, "label_smoothing": 0.0}]
    values = complete_params(shipped_params)
    values["model"]["decode_head"]["losses"] = losses
    return validate_params(values)


def test_a_rule_becomes_numbers_of_the_train_split(shipped_params, prepared):
    section, numbers = with_class_weights(weighted(shipped_params, "auto:inverse_frequency").model, prepared)
    assert numbers == {"auto:inverse_frequency": [0.4, 1.6]}  # shares 0.8 and 0.2
    assert section.decode_head.losses[0].class_weights == (0.4, 1.6)
    assert criteria(section)  # the other heads' losses are as they were


def test_without_a_rule_nothing_is_read(shipped_params, tmp_path):
    model = settings(shipped_params).model
    assert with_class_weights(model, tmp_path / "missing") == (model, {})


def test_a_run_has_them_in_its_losses_and_its_receipt(shipped_params, prepared):
    made = weighted(shipped_params, "auto:enet_log")
    values = made.model_dump(mode="json")
    for key, value in SMALL.items():
        _, section, name = key.split("__")
        values["model"][section][name] = value
    values["augment"] |= {"crop_size": [64, 64], "ratio_range": [1.0, 1.0]}
    job = build_training(validate_params(values), prepared)
    expected = with_class_weights(made.model, prepared)[1]
    assert job.card["receipt"]["class_weights"] == expected
    assert job.card["params"]["model"]["decode_head"]["losses"][0]["class_weights"] == "auto:enet_log"


def test_an_unknown_rule_is_named(shipped_params):
    with pytest.raises(ParamsError, match=r"class_weights: \"auto:median\" .*auto:enet_log"):
        weighted(shipped_params, "auto:median")
