import io
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

from maskline.convert.formats import chase_db1
from maskline.core.errors import DataError
from tests.sets import index_mask, picture, save

IDS = [f"Image_{child:02d}{side}" for child in range(1, 15) for side in "LR"]


@pytest.fixture
def tiny(tmp_path):
    """The set's files with tiny images; ``name(id, kind)`` gives their paths."""

    def make(name):
        for i, id_ in enumerate(IDS):
            save(picture(i), tmp_path / "set" / name(id_, "image"))
            for k, kind in enumerate(("first", "second", "valid")):
                path = name(id_, kind)
                if path:
                    save(index_mask(i + 100 * k).point(lambda v: v * 255).convert("1"), tmp_path / "set" / path)
        return tmp_path / "set"

    return make


FLAT = {"image": "{}.jpg", "first": "{}_1stHO.png", "second": "{}_2ndHO.png"}
FOLDERS = {
    "image": "images/{}.jpg",
    "first": "1st_label/{}_1stHO.png",
    "second": "2nd_label/{}_2ndHO.png",
    "valid": "mask/{}.png",
}
PLAIN_FOLDERS = {
    "image": "CHASE/Images/{}.TIF",
    "first": "CHASE/1st_Label/{}.PNG",
    "valid": "CHASE/Mask/{}_mask.png",
}


def layout(names):
    return lambda id_, kind: names[kind].format(id_) if kind in names else None


@pytest.mark.parametrize("names", [FLAT, FOLDERS, PLAIN_FOLDERS])
def test_layouts(tiny, settings, names):
    folder = tiny(layout(names))
    source = chase_db1.read(folder, settings(classes=()))
    assert source.problems == []
    assert [record.id for record in source.records] == IDS
    for record in source.records:
        for kind, path in (("image", record.image), ("first", record.mask), ("second", record.second)):
            assert path == (folder / names[kind].format(record.id) if kind in names else None)
        assert record.valid == (folder / names["valid"].format(record.id) if "valid" in names else None)
    assert source.labels.class_names == ("background", "vessel")
    assert source.labels.palette == ((120, 120, 120), (6, 230, 230))


def test_the_first_20_train_and_no_child_in_both(tiny, settings):
    records = chase_db1.read(tiny(layout(FLAT)), settings(classes=())).records
    assert [record.split for record in records] == ["train"] * 20 + ["test"] * 8
    children = {split: {r.group for r in records if r.split == split} for split in ("train", "test")}
    assert children["train"] == {f"{i:02d}" for i in range(1, 11)}
    assert children["test"] == {f"{i:02d}" for i in range(11, 15)}


def test_missing_and_double_files(tiny, settings):
    folder = tiny(layout(FLAT))
    (folder / "Image_03L.jpg").unlink()
    (folder / "Image_04R_1stHO.png").unlink()
    shutil.copy(folder / "Image_05L.jpg", folder / "image_05l.PNG")
    shutil.copy(folder / "Image_05L.jpg", folder / "Image_15L.jpg")
    source = chase_db1.read(folder, settings(classes=()))
    assert sorted(map(str, source.problems)) == [
        "Image_03L: image missing (Image_03L.jpg); add the file, or fetch the archive again",
        "Image_04R: mask missing (Image_04R_1stHO.png); add the file, or fetch the archive again",
        "Image_15L: not one of the 28 images of CHASE_DB1; remove it, or set data.name to folder",
        "image_05l.PNG: a second image file beside Image_05L.jpg; remove one",
    ]
    assert len(source.records) == 26


def test_another_archive(tmp_path, settings):
    save(picture(0), tmp_path / "other.png")
    with pytest.raises(DataError, match="no file called Image_NNL"):
        chase_db1.read(tmp_path, settings(classes=()))


@pytest.mark.parametrize("arranged", [False, True])
def test_the_real_archive(workspace, shared_data, tmp_path, arranged):
    from maskline.data.dataset import PreparedSplit

    archive = shared_data / "CHASEDB1.zip"
    if arranged:
        archive = rearranged(archive, tmp_path / "arranged.zip")
    run = workspace.both(name="chase_db1", archive=str(archive), classes=[])
    assert (run.code, run.lines[:-1]) == (0, [])
    splits = {name: PreparedSplit.open(workspace.prepared, name, cache="stream") for name in ("train", "val", "test")}
    assert [len(splits[name]) for name in splits] == [16, 4, 8]
    assert splits["test"].ids == IDS[20:]
    children = [child for split in splits.values() for child in set(split.groups)]
    assert sorted(children) == [f"{i:02d}" for i in range(1, 15)], "each in one split"
    with zipfile.ZipFile(shared_data / "CHASEDB1.zip") as original:
        for split in splits.values():
            assert set(split.sizes) == {(960, 999)}
            sample = split.sample(0)
            assert (sample.mask == 1).sum() == white(original, f"{sample.id}_1stHO.png")
            assert (sample.second == 1).sum() == white(original, f"{sample.id}_2ndHO.png")
            assert (sample.valid is not None) == arranged
            with Image.open(io.BytesIO(original.read(f"{sample.id}.jpg"))) as image:
                assert np.array_equal(sample.image, np.array(image))
    from maskline.data import manifest

    frame, _ = manifest.read(workspace.prepared)
    with zipfile.ZipFile(shared_data / "CHASEDB1.zip") as original:
        expected = {id_: white(original, f"{id_}_1stHO.png") for id_ in IDS}
    assert dict(zip(frame["id"], frame["pixels_1"], strict=True)) == expected


def white(archive, name):
    with Image.open(io.BytesIO(archive.read(name))) as image:
        return image.convert("L").point(lambda value: value >= 128).histogram()[1]


def rearranged(archive, target):
    """The same files in folders, with a field-of-view mask."""
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(target, "w") as sink:
        for name in source.namelist():
            folder = {"1st": "1st_label", "2nd": "2nd_label"}.get(name.split("_")[-1][:3], "images")
            sink.writestr(f"CHASEDB1/{folder}/{name}", source.read(name))
        field = io.BytesIO()
        Image.new("L", (999, 960), 255).save(field, format="PNG")
        for id_ in IDS:
            sink.writestr(f"CHASEDB1/mask/{id_}.png", field.getvalue())
    return target
