"""Every way of keeping images trains on the same pixels, for any number of loader processes."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import BatchNorm2d

from maskline.augment import fixed
from maskline.augment.loader import TrainBatches, iterate
from maskline.augment.resident import Resident
from maskline.builders.training import build_training
from maskline.convert.archive import convert_archive
from maskline.convert.formats import folder
from maskline.convert.records import LayoutSettings
from maskline.core.errors import DataError
from maskline.core.files import write_json
from maskline.data.dataset import PreparedSplit
from maskline.params.whole import validate_params
from maskline.runtime.patches.batch_norm import BatchNorm2d as FasterNorm
from tests.engine.conftest import augmentation
from tests.sets import TWO_CLASSES, index_mask, pack_folder, picture, save, split_settings, work
from tools.trial import complete_params


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


@pytest.mark.parametrize("wide", [False, True])
def test_a_split_on_a_device_is_cut_by_index_to_the_same_bits(prepared, monkeypatch, wide):
    """The form for a GPU too: regions from here, or cut out there."""
    split = PreparedSplit.open(prepared, "train", cache="ram")
    if wide:
        narrow = split.sample
        monkeypatch.setattr(split, "sample", lambda i: replace(narrow(i), mask=narrow(i).mask.astype(np.uint16)))
    there, here = (TrainBatches(split, augmentation(), seed=3, batch_size=4) for _ in range(2))
    assert not there.fits(torch.device("cpu"))
    there.reside(torch.device("cpu"))
    assert there.is_resident
    for number in range(3):
        batch = there.batch(number)
        assert batch.images.numel() == batch.masks.numel() == 0, "no pixels travel"
        for form in (lambda batch: batch, lambda batch: fixed.pack(here.augmentation, batch)):
            one, other = (here.finish(form(each), torch.device("cpu")) for each in (batch, here.batch(number)))
            assert torch.equal(one.images, other.images)
            assert torch.equal(one.targets, other.targets)
        assert there.batch(number, annotations=True).images.numel() > 0


@pytest.mark.parametrize(("times", "fits", "resides"), [(3.1, True, True), (2.9, False, True), (1.9, False, False)])
def test_a_split_is_kept_on_a_gpu_that_has_room(prepared, monkeypatch, times, fits, resides):
    made = TrainBatches(PreparedSplit.open(prepared, "train", cache="ram"), augmentation(), seed=3, batch_size=4)
    needed = 4 * sum(height * width for height, width in made.split.sizes)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _device: (int(times * needed), 10**12))
    monkeypatch.setattr(Resident, "of", lambda images, masks, device: "there")
    assert made.fits(torch.device("cuda")) == fits
    if resides:
        made.reside(torch.device("cuda"))
    else:
        with pytest.raises(DataError, match=r"the GPU has .* GiB free; set it to ram or mmap"):
            made.reside(torch.device("cuda"))
    assert made.is_resident == resides


def test_a_run_goes_on_with_another_use_of_the_machine(prepared, shipped_params, tmp_path, monkeypatch):
    """As the message of one that died for memory advises: the journal is the same for all of these."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    values = complete_params(shipped_params)
    values["augment"]["crop_size"] = [32, 32]
    values["model"]["backbone"] |= {"base_channels": 4, "num_stages": 3}
    values["train"]["threads"] = 1
    uses = [
        {"workers": 2},
        {"cache": "stream"},
        {"cache": "mmap", "workers": 1},
        {"journal_every": 3},
        {"tuned_memory": False, "wait": "yield"},
        {"convert_workers": 2},
    ]
    jobs = [build_training(validate_params({**values, "machine": use}), prepared) for use in ({}, *uses)]
    assert len({job.journal.folder for job in jobs}) == 1
    assert "machine" not in jobs[0].card["params"]
    other = build_training(validate_params({**values, "train": {**values["train"], "fast_layers": False}}), prepared)
    assert other.journal.folder != jobs[0].journal.folder
    kinds = [
        {type(layer) for layer in job.model.modules() if isinstance(layer, BatchNorm2d)} for job in (jobs[0], other)
    ]
    assert kinds == [{FasterNorm}, {BatchNorm2d}], "the switch is for the classes"


def test_the_receipt_is_of_every_part_that_the_run_loads(prepared, shipped_params, tmp_path):
    """Heads and losses are looked up by name: those of a run must be loaded before the code is hashed."""
    values = complete_params(shipped_params)
    values["augment"]["crop_size"], values["train"]["threads"] = [32, 32], 1
    write_json(tmp_path / "params.yaml", values)
    program = f"""
import sys
from pathlib import Path
from maskline.builders import training
from maskline.params.base.reading import load_sections
from maskline.params.stages.train import TrainStage
loaded = lambda: {{name for name in sys.modules if name.startswith("maskline.")}}
def noted(**options):
    before.update(loaded())
    return {{}}
before, training.receipt = set(), noted
training.build_training(load_sections(Path({str(tmp_path / "params.yaml")!r}), TrainStage), Path({str(prepared)!r}))
assert loaded() == before, loaded() - before
assert {{"maskline.losses.pixel", "maskline.models.heads.fcn"}} <= before
"""
    subprocess.run([sys.executable, "-c", program], check=True)
