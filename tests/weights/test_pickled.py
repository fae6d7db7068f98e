"""Files of torch.save are read by one parser, within the memory that they have bytes for."""

import io
import os
import pickle
import struct
import tarfile
import zipfile

import pytest
import torch
from torch.serialization import set_crc32_options

from maskline.core.errors import CheckpointError
from maskline.weights.pickled import read_pickled


class Writer(torch.nn.Module):
    """A program that writes a file when torch.jit.load makes it."""

    def __init__(self, path: str):
        super().__init__()
        self.path = path

    @torch.jit.export
    def __getstate__(self):
        return self.path, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]):
        self.path, self.training = state
        torch.save(torch.ones(1), state[0])

    def forward(self, x):
        return x


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_program_behind_two_directories_is_not_run(tmp_path):
    """Python reads the directory before the archive's end, torch the one whose offset is stated there."""
    victim, path = tmp_path / "victim", tmp_path / "c.pth"
    stream = io.BytesIO()
    torch.jit.save(torch.jit.script(Writer(str(victim))), stream)
    content = stream.getvalue()
    end = content.rfind(b"PK\5\6")
    size, offset = struct.unpack("<II", content[end + 12 : end + 20])
    directory = content[offset : offset + size]
    harmless = directory.replace(b"constants.pkl", b"constants.txt")
    path.write_bytes(content[: offset + size] + harmless + content[end:])
    assert not any(name.endswith("constants.pkl") for name in zipfile.ZipFile(path).namelist())
    victim.unlink(missing_ok=True)
    with pytest.raises(CheckpointError, match=r"c\.pth"):
        read_pickled(path)
    assert not victim.exists()
    with pytest.warns(UserWarning, match="TorchScript"):
        torch.load(path, weights_only=False)
    assert victim.exists()  # the program works where torch may run it


def test_a_tar_with_a_pipe_is_refused(tmp_path):
    with tarfile.open(tmp_path / "c.pth", "w") as archive:
        pipe = tarfile.TarInfo("storages")
        pipe.type = tarfile.FIFOTYPE
        archive.addfile(pipe)
    with pytest.raises(CheckpointError, match=r"tar form.*torch\.save"):
        read_pickled(tmp_path / "c.pth")


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "c.pth")
    with pytest.raises(CheckpointError, match="not a plain file"):
        read_pickled(tmp_path / "c.pth")


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_of_all_kinds(tmp_path, zipped):
    whole = torch.arange(12.0).reshape(3, 4)
    kinds = (torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int8, torch.bool, torch.complex64)
    content = {
        "view": whole[1:, ::2],
        "turned": whole.T,
        "same storage": whole,
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "empty": torch.zeros(0, 3),
        "scalar": torch.tensor(7),
        **{str(kind): torch.arange(5).to(kind) for kind in kinds},
    }
    torch.save(content, tmp_path / "c.pth", _use_new_zipfile_serialization=zipped)
    read = read_pickled(tmp_path / "c.pth")
    assert read.keys() == content.keys()
    for key, value in content.items():
        assert read[key].dtype == value.dtype, key
        assert torch.equal(read[key], value.detach()), key


def test_a_file_without_checksums(tmp_path):
    set_crc32_options(False)
    try:
        torch.save({"a": torch.arange(3)}, tmp_path / "c.pth")
    finally:
        set_crc32_options(True)
    assert read_pickled(tmp_path / "c.pth")["a"].tolist() == [0, 1, 2]


def test_a_changed_bit_is_seen(tmp_path):
    torch.save({"a": torch.full((50,), 3.0)}, tmp_path / "c.pth")
    content = bytearray((tmp_path / "c.pth").read_bytes())
    content[content.rindex(struct.pack("<f", 3.0))] ^= 1
    (tmp_path / "c.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        read_pickled(tmp_path / "c.pth")


def test_a_deflated_file_is_refused(tmp_path):
    torch.save({"a": torch.zeros(1000)}, tmp_path / "plain.pth")
    with (
        zipfile.ZipFile(tmp_path / "plain.pth") as plain,
        zipfile.ZipFile(tmp_path / "c.pth", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    with pytest.raises(CheckpointError, match="compressed"):
        read_pickled(tmp_path / "c.pth")


class _Storage:
    """Pickled as a reference to a storage of ``count`` values."""

    def __init__(self, key, count):
        self.id = ("storage", torch.FloatStorage, key, "cpu", count)


class _Forger(pickle.Pickler):
    def persistent_id(self, thing):
        return thing.id if isinstance(thing, _Storage) else None


class _Tensor:
    def __init__(self, storage, size, stride):
        self.arguments = (storage, 0, size, stride, False, {})

    def __reduce__(self):
        return torch._utils._rebuild_tensor_v2, self.arguments


def _forged(path, content, values):
    stream = io.BytesIO()
    _Forger(stream, protocol=2).dump(content)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("c/data.pkl", stream.getvalue())
        for key, value in values.items():
            archive.writestr(f"c/data/{key}", value)


@pytest.mark.parametrize(
    ("count", "size", "stride"),
    [
        (10**12, (2,), (1,)),  # a storage larger than the file
        (2, (10**12,), (1,)),  # a tensor larger than its storage
        (2, (10**6, 10**6), (0, 0)),  # values repeated by a stride of 0
        (1, (1,), (1,)),  # less than the file holds
    ],
)
def test_what_is_declared_takes_no_memory(tmp_path, count, size, stride):
    _forged(tmp_path / "c.pth", {"a": _Tensor(_Storage("0", count), size, stride)}, {"0": bytes(8)})
    with pytest.raises(CheckpointError, match="damaged, or no checkpoint"):
        read_pickled(tmp_path / "c.pth")


def test_many_storages_of_one_range_of_bytes(tmp_path):
    """Each is no larger than the file; all together are."""
    values = {str(index): bytes(4000) for index in range(4)}
    content = [_Tensor(_Storage(key, 1000), (1000,), (1,)) for key in values]
    _forged(tmp_path / "c.pth", content, values)
    assert len(read_pickled(tmp_path / "c.pth")) == 4
    with zipfile.ZipFile(tmp_path / "c.pth") as archive:
        offset = archive.getinfo("c/data/0").header_offset
        count = len(archive.namelist())
    file = bytearray((tmp_path / "c.pth").read_bytes())
    position = file.index(b"PK\1\2")
    for _ in range(count):  # every storage's directory entry shows to the first one's bytes
        name_length, extra, comment = struct.unpack("<HHH", file[position + 28 : position + 34])
        if b"/data/" in file[position + 46 : position + 46 + name_length]:
            file[position + 42 : position + 46] = struct.pack("<I", offset)
        position += 46 + name_length + extra + comment
    (tmp_path / "c.pth").write_bytes(file)
    with pytest.raises(CheckpointError, match="damaged"):
        read_pickled(tmp_path / "c.pth")
