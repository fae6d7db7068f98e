"""Decoded samples in a mapped file: the same pixels, only those under a crop, made once, never of other data."""

import pickle

import numpy as np
import pytest
import tifffile
from PIL import Image

from maskline.convert.archive import convert_archive
from maskline.convert.formats import folder
from maskline.core.errors import DataError
from maskline.data.dataset import PreparedSplit
from maskline.data.mapped import Field, MappedSamples
from tests.sets import index_mask, pack_folder, save, split_settings, work


@pytest.fixture
def prepared(make_set, settings, tmp_path, monkeypatch):
    """Convert a set; return its folder and the function that does it."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))

    def make(source, **changes):
        pack_folder(source, tmp_path / "set.zip")
        convert_archive(
            tmp_path / "set.zip",
            tmp_path / "prepared",
            layout=folder.read,
            settings=settings(**changes),
            split=split_settings(),
            work=work(tmp_path),
            max_unpacked_bytes=10**9,
        )
        return tmp_path / "prepared"

    return make


def same(one, other):
    for part in ("image", "mask", "valid", "second"):
        first, second = getattr(one, part), getattr(other, part)
        assert (first is None) == (second is None), part
        if first is not None:
            assert first.dtype == second.dtype, part
            assert np.array_equal(first, second), part


def test_every_mode_gives_the_same_arrays(prepared, make_set, tmp_path):
    source = make_set({"train": 5, "test": 2})
    save(index_mask(7), source / "train/second/01.png")
    save(Image.fromarray(np.eye(10, 12, dtype=np.uint8) * 255), source / "train/valid/03.png")
    target = prepared(source)
    plain = PreparedSplit.open(target, "train", cache="stream")
    for cache in ("ram", "mmap", "device"):
        split = PreparedSplit.open(target, "train", cache=cache)
        for i in range(5):
            same(split.sample(i), plain.sample(i))
    split = pickle.loads(pickle.dumps(PreparedSplit.open(target, "train", cache="mmap")))
    same(split.sample(3), plain.sample(3))
    assert not split.sample(3).image.flags.writeable


def test_wide_masks_and_other_channels(prepared, tmp_path, make_set):
    source = tmp_path / "set"
    pixels = np.random.default_rng(0).integers(0, 256, (3, 20, 30, 5)).astype(np.uint8)
    for i in range(3):
        (source / "images").mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(source / f"images/{i}.tif", pixels[i], photometric="minisblack", planarconfig="contig")
        save(index_mask(i, (30, 20)), source / f"masks/{i}.png")
    target = prepared(source, channels=(4, 0), ignore_index=1000)
    for cache in ("stream", "mmap"):
        split = PreparedSplit.open(target, "train", cache=cache)
        assert split.channels == 2
        for i in range(3):
            assert np.array_equal(split.sample(i).image, pixels[i][:, :, [4, 0]])
            assert split.sample(i).mask.dtype == np.uint16
            assert np.array_equal(split.sample(i).mask, np.array(index_mask(i, (30, 20))))


def test_it_is_made_once_and_again_for_other_data(prepared, make_set, tmp_path):
    target = prepared(make_set({"train": 3, "val": 2}))
    for name in ("train", "val"):
        PreparedSplit.open(target, name, cache="mmap")
    files = sorted((tmp_path / ".maskline/cache").glob("*.bin"))
    assert len(files) == 2
    before = [path.stat().st_mtime_ns for path in files]
    PreparedSplit.open(target, "train", cache="mmap").sample(0)
    assert [path.stat().st_mtime_ns for path in files] == before
    files[0].write_bytes(files[0].read_bytes()[:-1])  # torn: made again
    same(
        PreparedSplit.open(target, "train", cache="mmap").sample(2),
        PreparedSplit.open(target, "train", cache="ram").sample(2),
    )
    other = prepared(make_set({"train": 4}, name="other"))
    split = PreparedSplit.open(other, "train", cache="mmap")
    assert not any(path.exists() for path in files)
    same(split.sample(3), PreparedSplit.open(other, "train", cache="ram").sample(3))


def test_a_crop_reads_its_part_alone(tmp_path):
    # A sparse file of 4 GB: reading all of it would take memory and minutes.
    height = width = 36_000
    field = Field("image", "uint8", (height, width, 3))
    mapped = MappedSamples(tmp_path, "0-train", [[field]])
    with (tmp_path / "0-train.bin").open("wb") as stream:
        stream.truncate(field.length)
        stream.seek((30_000 * width + 20_000) * 3)
        stream.write(b"\x07" * 6)
    crop = mapped.read(0)["image"][29_990:30_010, 19_990:20_010]
    assert int(crop.sum()) == 42


def test_an_array_that_the_manifest_does_not_announce(tmp_path):
    mapped = MappedSamples(tmp_path, "0-train", [[Field("mask", "uint8", (3, 4))]])
    with pytest.raises(DataError, match=r"the mask is uint8 \(4, 3\), the manifest says \(3, 4\)"):
        mapped.make(lambda _: {"mask": np.zeros((4, 3), np.uint8)})
    assert not list(tmp_path.glob("*.bin"))
