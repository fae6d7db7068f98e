"""The model folder: same bytes for the same content, one clear line for what is wrong."""

import json
from pathlib import Path

import pytest
import torch

from maskline.core.errors import CheckpointError
from maskline.runtime import checkpoint

WEIGHTS = {"a.weight": torch.arange(6.0).reshape(2, 3), "b.count": torch.tensor(4)}
CARD = {
    "params": {"model": {}},
    "labels": {},
    "preprocessing": {"mean": [120.0], "std": [60.0]},
    "receipt": {"threads": 2},
}


def save(folder):
    checkpoint.save_model(folder, weights=WEIGHTS, last=WEIGHTS, card=CARD)
    return folder


def test_round_trip_with_the_hash(tmp_path):
    folder = save(tmp_path / "models")
    card = checkpoint.read_card(folder)
    assert card["receipt"]["threads"] == 2
    weights = checkpoint.read_weights(folder, expected_sha256=card["receipt"]["weights_sha256"])
    assert torch.equal(weights["a.weight"], WEIGHTS["a.weight"])


def test_same_content_same_bytes(tmp_path):
    one, two = save(tmp_path / "one"), save(tmp_path / "two")
    for name in (checkpoint.WEIGHTS_FILE, checkpoint.LAST_FILE, checkpoint.CARD_FILE):
        assert (one / name).read_bytes() == (two / name).read_bytes()


def test_other_weights_are_refused(tmp_path):
    folder = save(tmp_path / "models")
    with pytest.raises(CheckpointError, match=r"not the weights that model.json describes"):
        checkpoint.read_weights(folder, expected_sha256="0" * 64)


def test_truncated_weights(tmp_path):
    folder = save(tmp_path / "models")
    file = folder / checkpoint.WEIGHTS_FILE
    file.write_bytes(file.read_bytes()[:20])
    with pytest.raises(CheckpointError, match="damaged"):
        checkpoint.read_weights(folder)


def test_nothing_there(tmp_path):
    with pytest.raises(CheckpointError, match=r"no such file; train first"):
        checkpoint.read_card(tmp_path)
    with pytest.raises(CheckpointError, match=r"no such file; train first"):
        checkpoint.read_weights(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", json.dumps({"format": 99})])
def test_a_card_that_is_none(tmp_path, text):
    (tmp_path / checkpoint.CARD_FILE).write_text(text)
    with pytest.raises(CheckpointError):
        checkpoint.read_card(tmp_path)


def test_a_misfit_is_told_by_counts_and_three_names_of_each_kind():
    own = {f"own.{i}": torch.zeros(2) for i in range(90)} | {"scale": torch.tensor(1.0), "same": torch.zeros(3)}
    weights = {f"other.{i}": torch.zeros(2) for i in range(2)} | {"scale": torch.zeros(4, 5), "same": torch.ones(3)}
    assert checkpoint.misfit(own, weights) == (
        "of 92 tensors 90 missing: own.0, own.1, own.2, ...; 2 unexpected: other.0, other.1; "
        "1 of another shape: scale 4x5 instead of one number"
    )


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (torch.tensor([1.0, float("nan")]), "is not finite"),
        (torch.tensor([1.0, float("inf")]), "is not finite"),
        (torch.tensor([1.0, 1e300], dtype=torch.float64), "is not finite"),
        (torch.ones(2, dtype=torch.complex64), "is of type complex64"),
        (torch.ones(2, dtype=torch.bool), "is of type bool"),
        (torch.ones(2, dtype=torch.int64), "is of type int64"),
        (torch.ones(2).to(torch.float8_e4m3fn), "is of type float8_e4m3fn"),
    ],
)
def test_numbers_that_no_training_leaves_are_refused(value, problem):
    with pytest.raises(CheckpointError, match=rf"m: a\.weight {problem}"):
        checkpoint.check_values(Path("m"), {"a.weight": value}, {"a.weight": torch.zeros(2)})


def test_numbers_of_other_widths_are_taken():
    own = {"w": torch.zeros(2), "n": torch.tensor(0), "running_var": torch.ones(1), "mask": torch.tensor([True])}
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        given = {"w": torch.ones(2, dtype=dtype), "n": torch.tensor(3, dtype=torch.int32), "mask": own["mask"]}
        checkpoint.check_values(Path("m"), {**given, "other": torch.tensor(float("nan"))}, own)
    with pytest.raises(CheckpointError, match="running_var has negative variances"):
        checkpoint.check_values(Path("m"), {"running_var": torch.tensor([-1.0])}, own)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"preprocessing": {"mean": [1.0], "std": [0]}}, r"preprocessing\.std\.0: .* greater than 0"),
        ({"preprocessing": {"mean": ["x"], "std": [1]}}, r"preprocessing\.mean\.0"),
        ({"preprocessing": {"mean": [1.0, 2.0], "std": [1.0]}}, "2 numbers for mean, 1 for std"),
        ({"preprocessing": None}, "preprocessing"),
        ({"params": {"model": 3}}, r"params\.model"),
        ({"params": [1]}, "params"),
        ({"labels": "a"}, "labels"),
        ({"receipt": {"weights_sha256": 3}}, "receipt"),
        ({"members": 5}, "members"),
        ({"members": [{}] * 1001}, "members"),  # each would be checked and built
    ],
)
def test_a_card_of_another_form(tmp_path, changes, problem):
    folder = save(tmp_path / "m")
    card = json.loads((folder / checkpoint.CARD_FILE).read_text())
    (folder / checkpoint.CARD_FILE).write_text(json.dumps({**card, **changes}))
    with pytest.raises(CheckpointError, match=problem):
        checkpoint.read_card(folder)


def test_a_card_that_is_too_deep(tmp_path):
    folder = save(tmp_path / "m")
    (folder / checkpoint.CARD_FILE).write_text("[" * 100_000)
    with pytest.raises(CheckpointError, match="not JSON"):
        checkpoint.read_card(folder)
