"""Each real archive converts as a direct reading of its files with Pillow says: classes, pixel counts, splits."""

import io
import json
import zipfile
from collections import Counter, defaultdict
from pathlib import PurePosixPath

import numpy as np
import pytest
from PIL import Image

from maskline.convert.format_parts import ade20k_classes
from maskline.data import manifest
from maskline.data.dataset import PreparedSplit


class Archive:
    """A zip read by hand."""

    def __init__(self, path):
        self.zip = zipfile.ZipFile(path)
        self.names = [name for name in self.zip.namelist() if not name.endswith("/")]

    def picture(self, name):
        with Image.open(io.BytesIO(self.zip.read(name))) as image:
            return image.copy()

    def under(self, folder, suffix=""):
        found = [PurePosixPath(name) for name in self.names if f"/{folder}/" in f"/{name}" and name.endswith(suffix)]
        return {path.stem: path.as_posix() for path in found}


@pytest.fixture
def converted(workspace, shared_data):
    """Convert an archive; return the archive, the manifest by file of the image, and the labels."""

    def run(name, file, **data):
        result = workspace.both(name=name, archive=str(shared_data / file), classes=[], **data)
        assert result.code == 0, result.err
        frame, labels = manifest.read(workspace.prepared)
        return Archive(shared_data / file), frame.set_index("source", drop=False), labels

    return run


def counts(frame, source, labels):
    row = frame.loc[source]
    return [int(row[f"pixels_{i}"]) for i in range(labels.num_classes)], int(row["pixels_ignored"])


def histogram(values, ids, ignored):
    pixels = Counter(values.ravel().tolist())
    assert set(pixels) <= {*ids, *ignored}
    return [pixels[i] for i in ids], sum(pixels[i] for i in ignored)


def splits(frame):
    return frame["split"].value_counts().to_dict()


def test_drive(converted, workspace):
    archive, frame, labels = converted("drive", "drive_small.zip")
    assert labels.class_names == ("background", "vessel")
    assert splits(frame) == {"train": 7, "val": 1, "test": 4}
    masks, second, fields = archive.under("1st_manual"), archive.under("2nd_manual"), archive.under("mask")
    for source, row in frame.iterrows():
        number = row["id"]
        white = np.array(archive.picture(masks[f"{number}_manual1"])) == 255
        assert counts(frame, source, labels) == ([int((~white).sum()), int(white.sum())], 0)
        assert (row["split"] == "test") == ("test" in source)
    test = PreparedSplit.open(workspace.prepared, "test", cache="stream")
    for i, number in enumerate(test.ids):
        sample = test.sample(i)
        assert np.array_equal(sample.second, np.array(archive.picture(second[f"{number}_manual2"])))
        assert np.array_equal(sample.valid, np.array(archive.picture(fields[f"{number}_test_mask"])) == 255)
        assert np.array_equal(sample.image, np.array(archive.picture(f"DRIVE/test/images/{number}_test.tif")))


def test_camvid(converted):
    archive, frame, labels = converted("camvid", "camvid_32.zip")
    assert splits(frame) == {"train": 24, "val": 8}, "the lists' own, and none made"
    assert labels.class_names[:3] == ("sky", "building", "pole")
    assert labels.num_classes == 11
    for source, row in frame.iterrows():
        mask = archive.picture(source.replace(f"/{row['split']}/", f"/{row['split']}annot/"))
        assert counts(frame, source, labels) == histogram(np.array(mask), range(11), [11])


def test_cityscapes(converted, workspace):
    archive, frame, labels = converted("cityscapes", "cityscapes_mini1.zip")
    assert (splits(frame), frame["group"].tolist()) == ({"val": 1}, ["frankfurt"])
    assert manifest.scored_split(workspace.prepared, "auto") == "val"
    assert (labels.class_names[0], labels.class_names[18], labels.palette[10]) == ("road", "bicycle", (70, 130, 180))
    train_ids = next(name for name in archive.names if name.endswith("labelTrainIds.png"))
    expected, ignored = histogram(np.array(archive.picture(train_ids)), range(19), [255])
    found, found_ignored = counts(frame, frame.index[0], labels)
    # The archive's own translation was made smaller apart from the ids: some pixels at borders differ.
    assert found == pytest.approx(expected, abs=6)
    assert found_ignored == pytest.approx(ignored, abs=6)


def test_ade20k(converted, workspace):
    archive, frame, labels = converted("ade20k", "ade20k_sample.zip")
    assert splits(frame) == {"val": 3}
    assert manifest.scored_split(workspace.prepared, "auto") == "val"
    assert labels.reduce_zero_label
    for source in frame.index:
        mask = archive.picture(source.replace("images", "annotations").replace(".jpg", ".png"))
        assert counts(frame, source, labels) == histogram(np.array(mask), range(1, 151), [0])
    lines = archive.zip.read("ADEChallengeData2016/objectInfo150.txt").decode().splitlines()[1:]
    words = [[word.strip() for word in line.split("\t")[-1].split(",")] for line in lines]
    assert len(words) == labels.num_classes == len(set(ade20k_classes.NAMES))
    for i, (name, synonyms) in enumerate(zip(labels.class_names, words, strict=True)):
        assert name in synonyms, (i, name, synonyms)


def test_voc(converted):
    archive, frame, labels = converted("voc2012", "labelme_voc3.zip")
    assert splits(frame) == {"train": 1, "val": 1, "test": 1}, "no lists: made by convert"
    assert labels.palette[1:3] == ((128, 0, 0), (0, 128, 0))
    for source, row in frame.iterrows():
        mask = archive.picture(f"data_dataset_voc/SegmentationClass/{row['id']}.png")
        assert tuple(mask.getpalette()[3 * 15 : 3 * 15 + 3]) == labels.palette[15]
        assert counts(frame, source, labels) == histogram(np.array(mask), range(21), [255])


def test_labelme(converted, workspace):
    archive, frame, labels = converted("labelme", "labelme_voc3.zip", val_fraction=0, test_fraction=0)
    names = archive.zip.read("labels.txt").decode().split("\n")
    assert labels.class_names == tuple(name for name in names if name and name != "__ignore__")
    train = PreparedSplit.open(workspace.prepared, "train", cache="stream")
    assert len(train) == len(frame) == 3
    for i in range(3):
        stem = train.ids[i].split("/")[-1]
        expected = np.load(io.BytesIO(archive.zip.read(f"data_dataset_voc/SegmentationClassNpy/{stem}.npy")))
        drawn = train.sample(i).mask.astype(int)
        drawn[drawn == 255] = -1
        assert (drawn != expected).sum() <= 1  # a pixel on an outline
        assert {shape["label"] for shape in json.loads(archive.zip.read(f"data_annotated/{stem}.json"))["shapes"]}


def test_kvasir(converted):
    archive, frame, labels = converted("kvasir_seg", "kvasir5.zip")
    assert splits(frame) == {"train": 3, "val": 1, "test": 1}
    for source in frame.index:
        mask = np.array(archive.picture(source.replace("images", "masks")).convert("L"))
        assert 2 < len(np.unique(mask)) < 30, "compressed"
        assert counts(frame, source, labels) == ([int((mask < 128).sum()), int((mask >= 128).sum())], 0)


def test_dsb2018(converted, workspace):
    archive, frame, labels = converted("dsb2018", "dsb2018_small.zip")
    assert len(frame) == 60
    assert sum(splits(frame).values()) == 60
    merged = defaultdict(lambda: 0)
    for name in archive.names:
        parts = PurePosixPath(name).parts
        if parts[-2] == "masks":
            merged[parts[-3]] = np.maximum(merged[parts[-3]], np.array(archive.picture(name)))
    for source, row in frame.iterrows():
        mask = merged[row["id"]]
        assert counts(frame, source, labels) == ([int((mask == 0).sum()), int((mask == 255).sum())], 0)
        assert row["group"].startswith(f"{row['width']}x{row['height']}-")
    assert frame.groupby("group")["split"].nunique().max() == 1
    split = PreparedSplit.open(workspace.prepared, "train", cache="stream")
    source = frame[frame["id"] == split.ids[0]].index[0]
    assert np.array_equal(split.sample(0).image, np.array(archive.picture(source))[..., :3])


def test_magnetic_tile(converted):
    archive, frame, labels = converted("magnetic_tile", "magnetic_tile_small.zip")
    assert labels.class_names == ("background", "blowhole", "break", "crack", "fray", "uneven")
    assert len(frame) == 120
    for source in frame.index:
        mask = np.array(archive.picture(source.replace(".jpg", ".png")))
        expected = [int((mask < 128).sum()), 0, 0, 0, 0, 0]
        defect = source.split("/")[0].removeprefix("MT_").lower()
        if defect == "free":
            assert not mask.any()
        else:
            expected[labels.class_names.index(defect)] = int((mask >= 128).sum())
        assert counts(frame, source, labels) == (expected, 0)


def test_oxford_pets(converted):
    archive, frame, labels = converted("oxford_pets", "pets26.zip")
    assert labels.class_names == ("background", "cat", "dog")
    assert sum(splits(frame).values()) == 26
    for source, row in frame.iterrows():
        mask = np.array(archive.picture(f"label/{row['id']}.png"))
        assert counts(frame, source, labels) == histogram(mask, range(3), [255])
        assert (row["pixels_1"] > 0) == row["id"][0].isupper(), "cats begin with a capital"


@pytest.mark.parametrize(
    ("name", "file", "folders"),
    [
        ("drive", "drive_small.zip", ("DRIVE/", "")),
        ("kvasir_seg", "kvasir5.zip", ("Kvasir-SEG/", "some/where/")),
        ("oxford_pets", "pets26.zip", ("", "top/")),
        ("cityscapes", "cityscapes_mini1.zip", ("", "cityscapes/")),
        ("ade20k", "ade20k_sample.zip", ("ADEChallengeData2016/", "")),
    ],
)
def test_a_top_folder_more_or_less(workspace, shared_data, tmp_path, name, file, folders):
    with zipfile.ZipFile(shared_data / file) as source, zipfile.ZipFile(tmp_path / "moved.zip", "w") as sink:
        for member in source.namelist():
            sink.writestr(
                member.replace(folders[0], folders[1], 1) if folders[0] else folders[1] + member, source.read(member)
            )
        sink.writestr("__MACOSX/._x.png", b"")
    found = []
    for archive in (shared_data / file, tmp_path / "moved.zip"):
        result = workspace.both(name=name, archive=str(archive), classes=[])
        assert result.code == 0, result.err
        frame, _ = manifest.read(workspace.prepared)
        found.append(frame.drop(columns="source").to_csv())
    assert found[0] == found[1]
