"""What the published archives have beside the images of the benchmark: files that are left out, and said to be."""

import json

import pytest

from maskline.convert.formats import coco, drive, oxford_pets
from tests.sets import index_mask, picture, save


@pytest.fixture
def plain(settings):
    return settings(classes=())


def test_drive_of_today_has_no_labels_for_test(tmp_path, plain):
    white = index_mask(1).point(lambda value: value * 255)
    for number in (21, 22):
        save(picture(number), tmp_path / f"DRIVE/training/images/{number}_training.TIF")
        save(white, tmp_path / f"DRIVE/training/1st_manual/{number}_manual1.gif")
        save(white, tmp_path / f"DRIVE/training/mask/{number}_training_mask.gif")
    save(picture(1), tmp_path / "DRIVE/test/images/01_test.tif")
    save(white, tmp_path / "DRIVE/test/mask/01_test_mask.gif")
    (tmp_path / "DRIVE/test/mask/.DS_Store").write_bytes(b"junk")
    save(white, tmp_path / "__MACOSX/DRIVE/test/1st_manual/._01_manual1.gif")
    source = drive.read(tmp_path, plain)
    assert source.problems == []
    assert [(record.id, record.split) for record in source.records] == [("21", "train"), ("22", "train")]
    assert source.remarks == [("01", "left out: no test image has a manual segmentation")]
    save(picture(2), tmp_path / "DRIVE/test/images/02_test.tif")
    save(white, tmp_path / "DRIVE/test/mask/02_test_mask.gif")
    save(white, tmp_path / "DRIVE/test/1st_manual/02_manual1.gif")
    source = drive.read(tmp_path, plain)
    assert [problem.place for problem in source.problems] == ["DRIVE/test/images/01_test.tif"], "now one is missing"
    assert source.remarks == []


def test_pets_in_no_list_and_junk_beside_the_trimaps(tmp_path, plain):
    for name in ("Abyssinian_1", "basset_hound_2", "Bengal_105"):
        save(picture(3), tmp_path / f"images/{name}.jpg")
        save(index_mask(3, values=(1, 2, 3)), tmp_path / f"annotations/trimaps/{name}.png")
        (tmp_path / f"annotations/trimaps/._{name}.png").write_bytes(b"junk")
    (tmp_path / "images/Abyssinian_100.mat").write_bytes(b"junk")
    (tmp_path / "annotations/list.txt").write_text("#Image CLASS-ID SPECIES BREED ID\nBengal_105 6 1 3\n")
    (tmp_path / "annotations/trainval.txt").write_text("Abyssinian_1 1 1 1\n")
    (tmp_path / "annotations/test.txt").write_text("basset_hound_2 5 2 2\n")
    source = oxford_pets.read(tmp_path, plain)
    assert source.problems == []
    assert {record.id: record.split for record in source.records} == {"Abyssinian_1": "train", "basset_hound_2": "test"}
    assert source.remarks == [("Bengal_105", "left out: in no list of the set")]


def test_coco_key_points_are_no_second_set(tmp_path, plain):
    save(picture(1, (10, 8)), tmp_path / "val2017/000000000139.jpg")
    box = {"id": 1, "image_id": 139, "category_id": 1, "segmentation": [[1, 1, 6, 1, 6, 5, 1, 5]], "iscrowd": 0}
    image = {"id": 139, "file_name": "000000000139.jpg", "height": 8, "width": 10}
    content = {"images": [image], "annotations": [box], "categories": [{"id": 1, "name": "person"}]}
    for name in ("instances", "person_keypoints"):
        path = tmp_path / f"annotations/{name}_val2017.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content))
    captions = {"images": [image], "annotations": [{"id": 2, "image_id": 139, "caption": "a room"}]}
    (tmp_path / "annotations/captions_val2017.json").write_text(json.dumps(captions))
    source = coco.read(tmp_path, plain)
    assert source.problems == []
    assert [(record.id, record.split) for record in source.records] == [("val/000000000139", "val")]
    assert source.labels.class_names == ("background", "person")
