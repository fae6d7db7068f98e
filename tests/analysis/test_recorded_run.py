"""What differs between two runs: each part of the receipt by its name, the first iteration that parts."""

import dataclasses
import json

import pytest
import torch

from maskline.analysis import recorded_run
from maskline.core.errors import CheckpointError
from maskline.core.files import sha256_json
from maskline.runtime import checkpoint

PARAMS = {"augment": {"crop_size": [8, 8]}, "optimizer": {"lr": 0.1}, "train": {"threads": 1, "seed": 0}}
RECEIPT = {
    "manifest_sha256": "a",
    "images_sha256": "b",
    "masks_sha256": "c",
    "labels_sha256": "d",
    "params_sha256": sha256_json(PARAMS),
    "code_sha256": "e",
    "lock_sha256": "f",
    "libraries": {"torch": "2", "numpy": "2"},
    "python": "3.11.7",
    "device": "cpu",
    "device_name": "x86_64 AVX512",
    "precision": "fp32",
    "channels_last": True,
    "compiled": False,
    "threads": 1,
    "random_numbers": "philox",
}
TRACE = "iteration,loss,gradient_norm,weights_sha256\n1,0.5,1.5,\n2,0.25,1.25,aa\n3,0.125,nan,bb\n"


def run(folder, *, weight=1.0, trace=TRACE, params=PARAMS, **receipt):
    weights = {"w": torch.tensor([weight])}
    card = {"params": params, "labels": {}, "preprocessing": {}, "receipt": {**RECEIPT, **receipt}}
    checkpoint.save_model(folder, weights=weights, last=weights, card=card, trace=trace)
    return recorded_run.read(folder)


def test_a_run_and_itself(tmp_path):
    one = run(tmp_path / "one")
    assert recorded_run.compare(one, run(tmp_path / "two")) == []
    assert recorded_run.integrity(one) == []
    assert recorded_run.changed_settings(one, {**PARAMS, "export": {"opset": 18}}) == []


CAUSES = [
    ({"manifest_sha256": "z"}, "manifest"),
    ({"images_sha256": "z"}, "images"),
    ({"masks_sha256": "z"}, "masks"),
    ({"labels_sha256": "z"}, "labels"),
    ({"params_sha256": "z"}, "params"),
    ({"code_sha256": "z"}, "code"),
    ({"lock_sha256": None}, "lock (requirements.lock)"),
    ({"installed_instead": ["timm 1, not 2"]}, "packages that are not those of requirements.lock"),
    ({"libraries": {"torch": "3", "numpy": "2"}}, "environment: torch"),
    ({"libraries": {"torch": "2"}}, "environment: numpy"),
    ({"python": "3.12.0"}, "environment: python"),
    ({"device": "cuda"}, "device"),
    ({"device_name": "x86_64 AVX2"}, "device name"),
    ({"precision": "bf16"}, "precision"),
    ({"channels_last": False}, "channels_last"),
    ({"compiled": True}, "compiled"),
    ({"threads": 2}, "thread count"),
    ({"random_numbers": "mt19937"}, "random number scheme"),
    ({"class_weights": {"auto:inverse_frequency": [1.0, 2.0]}}, "class weights: auto:inverse_frequency"),
]


@pytest.mark.parametrize(("change", "name"), CAUSES)
def test_each_cause_has_its_name(tmp_path, change, name):
    (found,) = recorded_run.compare(run(tmp_path / "one"), run(tmp_path / "two", **change))
    assert found.what == name
    assert found.recorded != found.found
    assert found.what not in recorded_run.OUTCOMES


OUTCOMES = [
    ("2,0.25,1.25,aa", "2,0.2500001,1.25,aa", "loss", "iteration 2: 0.2500001"),
    ("2,0.25,1.25,aa", "2,0.25,1.26,aa", "gradient norm", "iteration 2: 1.26"),
    ("2,0.25,1.25,aa", "2,0.25,1.25,ab", "weights", "iteration 2: ab"),
    ("3,0.125,nan,bb\n", "3,0.125,nan,bb\n4,0.1,1.0,\n", "length of the run", 4),
]


@pytest.mark.parametrize(("old", "new", "name", "value"), OUTCOMES)
def test_the_first_iteration_that_parts(tmp_path, old, new, name, value):
    (found,) = recorded_run.compare(run(tmp_path / "one"), run(tmp_path / "two", trace=TRACE.replace(old, new)))
    assert (found.what, found.found) == (name, value)
    assert name in recorded_run.OUTCOMES


def test_the_final_weights(tmp_path):
    one, two = run(tmp_path / "one"), run(tmp_path / "two", weight=2.0)
    assert [found.what for found in recorded_run.compare(one, two)] == ["final weights"]
    early = run(tmp_path / "early", weight=2.0, trace=TRACE.split("3,", maxsplit=1)[0])
    assert recorded_run.compare(one, early) == [], "a run that stopped early has no final weights to compare"


def test_settings_of_now(tmp_path):
    one = run(tmp_path / "one")
    now = {**PARAMS, "optimizer": {"lr": 0.2}, "preview": {"samples": 2}, "data": {"n": 1}}
    (found,) = recorded_run.changed_settings(one, now)
    assert (found.what, found.recorded, found.found) == ("params: optimizer.lr", 0.1, 0.2)
    merged = recorded_run.params_of(one, now)
    assert merged["optimizer"] == {"lr": 0.1}
    assert merged["preview"] == {"samples": 2}
    assert merged["data"] == {"n": 1}


def test_a_run_of_former_names(tmp_path):
    """What changes no bit stood in the section train."""
    one = run(tmp_path / "one")
    card = {**one.card, "params": {**one.card["params"], "train": {**PARAMS["train"], "workers": 3, "cache": "mmap"}}}
    former = dataclasses.replace(one, card=card)
    assert recorded_run.changed_settings(former, {**PARAMS, "machine": {"workers": 0}}) == []


def test_a_folder_that_was_changed(tmp_path):
    one = run(tmp_path / "one")
    (one.folder / checkpoint.WEIGHTS_FILE).write_bytes(b"other")
    card = json.loads((one.folder / checkpoint.CARD_FILE).read_text())
    card["params"]["train"]["seed"] = 5
    (one.folder / checkpoint.CARD_FILE).write_text(json.dumps(card))
    changed = recorded_run.integrity(recorded_run.read(one.folder))
    assert [found.what for found in changed] == ["model.safetensors", "params in model.json"]


def test_folders_without_a_run(tmp_path):
    weights = {"w": torch.ones(1)}
    card = {"params": {}, "labels": {}, "preprocessing": {}, "receipt": {"imported_from": "x.pth"}}
    checkpoint.save_model(tmp_path / "imported", weights=weights, last=None, card=card)
    with pytest.raises(CheckpointError, match="not a model that was trained here"):
        recorded_run.read(tmp_path / "imported")
    one = run(tmp_path / "one")
    (one.folder / checkpoint.TRACE_FILE).write_text("iteration\nx\n")
    with pytest.raises(CheckpointError, match=r"trace.csv: damaged"):
        recorded_run.read(one.folder)
    (one.folder / checkpoint.TRACE_FILE).unlink()
    with pytest.raises(CheckpointError, match=r"trace.csv: no such file; train again"):
        recorded_run.read(one.folder)
