"""Files of torch.save are read by one parser, within the memory that they have bytes for."""

import io
import os
import pickle
import struct
import sys
import tarfile
import tracemalloc
import zipfile

import pytest
import torch
from torch.serialization import set_crc32_options

from maskline.core.errors import CheckpointError
from maskline.weights import pickled
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


def _word(text):
    return b"X" + struct.pack("<I", len(text)) + text.encode()


REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
ORDERED = b"ccollections\nOrderedDict\n"


def _ones(key="0", count=4, kind=b"FloatStorage"):
    """Steps that make a tensor of ``count`` values."""
    size = b"K" + bytes([count])
    storage = b"(" + _word("storage") + b"ctorch\n" + kind + b"\n" + _word(key) + _word("cpu") + size + b"tQ"
    return REBUILD + b"(" + storage + b"K\0" + size + b"\x85K\1\x85\x89" + ORDERED + b")RtR"


def _by_hand(path, steps, order=sys.byteorder):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("c/data.pkl", b"\x80\2" + steps + b".")
        archive.writestr("c/byteorder", order)
        archive.writestr("c/data/0", struct.pack("<4f", 1, 1, 1, 1))
        archive.writestr("c/data/8", bytes(1000))
        archive.writestr("c/data/9", b"")
    return path


def _shared(make, levels):
    """Steps for containers of ten, each of which has the one before ten times: the last lies in the memo."""
    steps = _word("lol") + b"q\0000"
    for level in range(1, levels + 1):
        steps += b"(" + (b"h" + bytes([level - 1])) * 10 + make + b"q" + bytes([level]) + b"0"
    return steps, b"h" + bytes([levels])


TUPLES, TUPLE = _shared(b"t", 6)
LISTS, LIST = _shared(b"l", 6)
N = struct.pack("<i", 1000)


@pytest.mark.parametrize(
    "steps",
    [
        b"}r" + struct.pack("<I", 10_000_000) + b"(" + _word("w") + _ones() + b"u",  # a place in a huge memo
        TUPLES + b"}(" + _word("w") + _ones() + TUPLE + _ones() + b"u",  # a key whose hash takes long
        b"}(" + _word("w") + _ones() + b")" + b"\x85" * 5000 + _ones() + b"u",  # a key whose hash has no end
        ORDERED + b")R(" + _word("w") + _ones() + b"u}(" + _word("items") + _word("x") + b"ub",  # its methods replaced
        b"}(" + _word("w") + _ones() + _word("z") + REBUILD + b"(N}" + _word("__defaults__") + b"K\1\x85stbu",  # ours
        # Tensor.__setstate__ of a stride of 0: more values than are stored
        b"}(" + _word("w") + _ones() + _word("z") + _ones("9", 0) + b"(" + _ones("9", 0) + b"K\0(J" + N + b"t(K\0ttbu",
    ],
)
def test_steps_that_a_state_dict_does_not_need(tmp_path, steps):
    """They do nothing, take no memory, and the tensors come all the same."""
    before = pickled._tensor.__defaults__
    path = _by_hand(tmp_path / "c.pth", steps)
    tracemalloc.start()
    try:
        content = read_pickled(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert content.pop("w").tolist() == [1, 1, 1, 1]
    assert [*content.items()] in ([], [("z", content.get("z"))])
    assert not isinstance(content.get("z"), torch.Tensor) or content["z"].numel() == 0
    assert peak < 10_000_000
    assert pickled._tensor.__defaults__ == before


@pytest.mark.parametrize(
    ("steps", "problem"),
    [
        (LISTS + b"(" + LIST + b"tQ", "without a name"),
        (b"](" + b"K\1" * 10_000 + b"eq\0000" + b"](" + b"c__builtin__\nlist\n(h\0tR" * 500 + b"e", "values"),
        (b"](" + _ones("8", 250) * 500 + b"e", "too many tensors"),
        (b"cos\nsystem\n" + b"\x82\1", "EXT1"),
    ],
)
def test_steps_that_end_in_one_short_line(tmp_path, steps, problem):
    with pytest.raises(CheckpointError, match=problem) as caught:
        read_pickled(_by_hand(tmp_path / "c.pth", steps))
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("kind", [b"qint8", b"quint8", b"qint32", b"quint4x2", b"quint2x4", b"QInt8Storage", b"bits8"])
def test_types_of_numbers_on_which_torch_ends_the_process(tmp_path, kind):
    with pytest.raises(CheckpointError, match=r"c\.pth: quantized tensors.*; save .* in float32$"):
        read_pickled(_by_hand(tmp_path / "c.pth", b"}(" + _word("w") + _ones(count=1, kind=kind) + b"u"))


@pytest.mark.parametrize("order", ["middle", "little\n", "BIG", ""])
def test_a_byte_order_that_there_is_not(tmp_path, order):
    with pytest.raises(CheckpointError, match=r"damaged.*byte order"):
        read_pickled(_by_hand(tmp_path / "c.pth", b"}(" + _word("w") + _ones() + b"u", order))


def test_values_of_a_machine_of_the_other_byte_order(tmp_path):
    other = "big" if sys.byteorder == "little" else "little"
    content = read_pickled(_by_hand(tmp_path / "c.pth", b"}(" + _word("w") + _ones() + b"u", other))
    assert content["w"].view(torch.uint8)[:4].tolist() == [*struct.pack(">f" if other == "big" else "<f", 1)]
