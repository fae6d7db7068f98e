"""Every way of keeping images trains on the same pixels, for any number of loader processes."""

import numpy as np
import pytest
import torch

from maskline.augment.loader import TrainBatches, iterate
from maskline.convert.archive import convert_archive
from maskline.convert.formats import folder
from maskline.convert.records import LayoutSettings
from maskline.data.dataset import PreparedSplit
from maskline.download.archives import pack_folder
from tests.engine.conftest import augmentation
from tests.sets import TWO_CLASSES, index_mask, picture, save, split_settings, work


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    base = tmp_path_factory.mktemp("cache")
    for i in range(6):
        save(picture(i, (50 + i, 44)), base / f"set/images/{i}.png")
        save(index_mask(i, (50 + i, 44)), base / f"set/masks/{i}.png")
    pack_folder(base / "set", base / "set.zip")
    settings = LayoutSettings(
        classes=TWO_CLASSES,
        ignore_index=255,
        mask_encoding="index",
        exif="error",
        alpha="error",
        channels=None,
        scale="error",
    )
    convert_archive(
        base / "set.zip",
        base / "prepared",
        layout=folder.read,
        settings=settings,
        split=split_settings(),
        work=work(base),
        max_unpacked_bytes=10**9,
    )
    return base / "prepared"


def pixels(prepared, cache, workers):
    split = PreparedSplit.open(prepared, "train", cache=cache)
    batches = TrainBatches(split, augmentation(), seed=3, batch_size=4)
    if cache == "device":
        batches.reside(torch.device("cpu"))
    made = [
        batches.finish(batch, torch.device("cpu"))
        for batch in iterate(batches, start=2, stop=6, workers=workers, device=torch.device("cpu"))
    ]
    return [array for one in made for array in (one.images.numpy(), one.targets.numpy())]


@pytest.mark.parametrize(("cache", "workers"), [("ram", 0), ("mmap", 0), ("mmap", 2), ("device", 0), ("stream", 1)])
def test_the_same_pixels(prepared, tmp_path, monkeypatch, cache, workers):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    expected, found = pixels(prepared, "stream", 0), pixels(prepared, cache, workers)
    assert len(expected) == len(found) == 8
    assert all(np.array_equal(one, other) for one, other in zip(expected, found, strict=True))
