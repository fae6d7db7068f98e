"""Checkpoints are read and never run."""

import json
import pickle
import struct
import zipfile
from collections import OrderedDict, deque
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from maskline.core.errors import CheckpointError
from maskline.runtime.checkpoint import MOST_TENSORS
from maskline.weights.reading import read_checkpoint

TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.count": torch.tensor(3)}


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


class HistoryBuffer:
    """Stands for a class of a package that is not installed."""

    def __init__(self):
        self.history = deque([1.0])
        self.when = torch.ones(1)


@pytest.mark.parametrize("zipped", [True, False])
def test_what_a_training_run_writes(tmp_path, zipped):
    content = {
        "state_dict": OrderedDict(TENSORS),
        "meta": {"CLASSES": ("a", "b"), "epoch": 3},
        "message_hub": {"loss": HistoryBuffer()},
        "optimizer": {"state": {0: {"step": torch.tensor(1)}}},
    }
    torch.save(content, tmp_path / "c.pth", _use_new_zipfile_serialization=zipped)
    found = read_checkpoint(tmp_path / "c.pth")
    assert found.tensors.keys() == TENSORS.keys()
    assert all(torch.equal(found.tensors[key], value) for key, value in TENSORS.items())
    assert found.meta == {"CLASSES": ("a", "b"), "epoch": 3}


@pytest.mark.parametrize("zipped", [True, False])
def test_a_poisoned_pickle_runs_nothing(tmp_path, zipped):
    victim = tmp_path / "victim"
    torch.save(
        {"state_dict": {**TENSORS, "x": Touch(victim)}, "meta": Touch(victim)},
        tmp_path / "c.pth",
        _use_new_zipfile_serialization=zipped,
    )
    assert read_checkpoint(tmp_path / "c.pth").tensors.keys() == TENSORS.keys()
    assert not victim.exists()
    pickle.loads(pickle.dumps(Touch(victim)))  # the poison works where pickles are trusted
    assert victim.exists()


def test_a_pickle_that_is_only_poison(tmp_path):
    victim = tmp_path / "victim"
    (tmp_path / "c.pth").write_bytes(pickle.dumps(Touch(victim)))
    with pytest.raises(CheckpointError, match=r"c\.pth"):
        read_checkpoint(tmp_path / "c.pth")
    assert not victim.exists()


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict", None])
def test_where_the_tensors_are(tmp_path, key):
    wrapped = {f"module.{name}": value for name, value in TENSORS.items()}
    torch.save({key: wrapped} if key else wrapped, tmp_path / "c.pth")
    assert read_checkpoint(tmp_path / "c.pth").tensors.keys() == TENSORS.keys()


def test_safetensors(tmp_path):
    save_file(TENSORS, tmp_path / "c.safetensors")
    assert read_checkpoint(tmp_path / "c.safetensors").tensors.keys() == TENSORS.keys()
    content = (tmp_path / "c.safetensors").read_bytes()
    (tmp_path / "c.safetensors").write_bytes(content[:-3])
    with pytest.raises(CheckpointError, match="damaged"):
        read_checkpoint(tmp_path / "c.safetensors")


def test_a_side_that_torch_cannot_count(tmp_path):
    header = json.dumps({"a": {"dtype": "F32", "shape": [0, 2**63], "data_offsets": [0, 0]}}).encode()
    (tmp_path / "c.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(CheckpointError, match=r"c\.safetensors: damaged") as caught:
        read_checkpoint(tmp_path / "c.safetensors")
    assert "\n" not in str(caught.value)


def test_more_tensors_than_any_network_has_are_not_read(tmp_path):
    save_file({f"a{i}": torch.zeros(0) for i in range(MOST_TENSORS + 1)}, tmp_path / "c.safetensors")
    with pytest.raises(CheckpointError, match="50001 tensors, more than any network has"):
        read_checkpoint(tmp_path / "c.safetensors")


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_truncated_files(tmp_path, zipped, share):
    torch.save({"state_dict": TENSORS}, tmp_path / "c.pth", _use_new_zipfile_serialization=zipped)
    content = (tmp_path / "c.pth").read_bytes()
    (tmp_path / "c.pth").write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match=r"c\.pth: damaged, or no checkpoint") as caught:
        read_checkpoint(tmp_path / "c.pth")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [([1, 2], "holds no state dict"), ({"meta": {}}, "holds no tensors"), (torch.nn.Linear(1, 1), "no state dict")],
)
def test_files_without_a_state_dict(tmp_path, content, message):
    torch.save(content, tmp_path / "c.pth")
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(tmp_path / "c.pth")


def test_a_program_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "c.pt", "w") as archive:
        archive.writestr("c/constants.pkl", b"")
    with pytest.raises(CheckpointError, match="a TorchScript program"):
        read_checkpoint(tmp_path / "c.pt")


def test_no_file(tmp_path):
    with pytest.raises(CheckpointError, match="no such file"):
        read_checkpoint(tmp_path / "c.pth")
