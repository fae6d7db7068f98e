import pickle

import numpy as np
import pytest
from PIL import Image

from maskline.convert.archive import convert_archive
from maskline.convert.formats import folder
from maskline.core.errors import DataError
from maskline.data.dataset import PreparedSplit
from tests.sets import index_mask, pack_folder, save, split_settings, work


@pytest.fixture
def prepared(make_set, settings, tmp_path):
    source = make_set({"train": 4, "test": 2})
    save(index_mask(7), source / "train/second/01.png")
    save(Image.fromarray(np.eye(10, 12, dtype=np.uint8) * 255), source / "train/valid/01.png")
    Image.open(source / "train/images/02.png").convert("L").save(source / "train/images/02.png")
    pack_folder(source, tmp_path / "set.zip")
    convert_archive(
        tmp_path / "set.zip",
        tmp_path / "prepared",
        layout=folder.read,
        settings=settings(),
        split=split_settings(val_fraction=0, test_fraction=0),
        work=work(tmp_path),
        max_unpacked_bytes=10**9,
    )
    return source, tmp_path / "prepared"


@pytest.mark.parametrize("cache", ["ram", "stream"])
def test_samples_are_the_sources_pixels(prepared, cache):
    source, target = prepared
    split = PreparedSplit.open(target, "train", cache=cache)
    assert len(split) == 4
    assert split.ids == [f"train/{i:02d}" for i in range(4)]
    assert split.groups == split.ids
    assert split.sizes == [(10, 12)] * 4
    assert split.labels.class_names == ("background", "vessel")
    for i in range(4):
        sample = split.sample(i)
        with Image.open(source / f"train/images/{i:02d}.png") as image:
            assert np.array_equal(sample.image, np.array(image.convert("RGB")))
        with Image.open(source / f"train/masks/{i:02d}.png") as mask:
            assert np.array_equal(sample.mask, np.array(mask))
        assert (sample.image.dtype, sample.mask.dtype) == (np.uint8, np.uint8)
        assert (sample.second is None) == (sample.valid is None) == (i != 1)
        assert (split.sample(i) is sample) == (cache == "ram")
    assert np.array_equal(split.sample(1).second, np.array(index_mask(7)))
    assert split.sample(1).valid.dtype == bool
    assert np.array_equal(split.sample(1).valid, np.eye(10, 12, dtype=bool))


def test_it_is_pickled_without_its_cache(prepared):
    split = PreparedSplit.open(prepared[1], "train", cache="ram")
    empty = len(pickle.dumps(split))
    split.sample(0)
    assert len(pickle.dumps(split)) == empty
    copy = pickle.loads(pickle.dumps(split))
    assert np.array_equal(copy.sample(0).image, split.sample(0).image)


def test_a_split_without_images(prepared):
    with pytest.raises(DataError, match="no images in the split val; choose another split"):
        PreparedSplit.open(prepared[1], "val", cache="ram")


def test_changed_bytes_are_noticed(prepared):
    path = prepared[1] / "shard-00000.bin"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"shard-00000.bin: the \w+ of .* is not what was written"):
        for name in ("train", "test"):
            split = PreparedSplit.open(prepared[1], name, cache="stream")
            for i in range(len(split)):
                split.sample(i)
    path.unlink()
    with pytest.raises(DataError, match="no such file"):
        PreparedSplit.open(prepared[1], "test", cache="stream").sample(0)


def test_sixteen_bit_labels(make_set, settings, tmp_path):
    source = make_set({"": 2})
    for path in (source / "masks").iterdir():
        Image.fromarray(np.full((10, 12), 299, np.uint16)).save(path)
    pack_folder(source, tmp_path / "set.zip")
    convert_archive(
        tmp_path / "set.zip",
        tmp_path / "prepared",
        layout=folder.read,
        settings=settings(classes=tuple((f"c{i}", (0, 0, i % 256)) for i in range(300)), ignore_index=65535),
        split=split_settings(val_fraction=0, test_fraction=0),
        work=work(tmp_path),
        max_unpacked_bytes=10**9,
    )
    mask = PreparedSplit.open(tmp_path / "prepared", "train", cache="ram").sample(0).mask
    assert mask.dtype == np.uint16
    assert set(np.unique(mask)) == {299}
