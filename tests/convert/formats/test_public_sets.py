"""Layouts whose archives are not at hand, on trees drawn for the purpose; missing partners; odd values."""

import gzip
import io
import json

import numpy as np
import pytest
import scipy.io
from PIL import Image

from maskline.convert.formats import (
    camvid,
    cityscapes,
    coco,
    drive,
    dsb2018,
    hrf,
    labelme,
    loveda,
    magnetic_tile,
    oxford_pets,
    stare,
    voc2012,
)
from maskline.core.errors import DataError
from tests.sets import index_mask, picture, save


def black_white(seed):
    return index_mask(seed).point(lambda value: value * 255)


@pytest.fixture
def plain(settings):
    return settings(classes=())


def places(source):
    return sorted(problem.place for problem in source.problems)


def test_stare_with_gzip_and_two_observers(tmp_path, plain):
    for name in ("im0001", "im0139", "im0162"):
        for folder, ending, made in (
            ("images", "", picture(1)),
            ("ah", ".ah", black_white(2)),
            ("vk", ".vk", black_white(3)),
        ):
            sink = io.BytesIO()
            made.save(sink, format="PPM")
            path = tmp_path / folder / f"{name}{ending}.ppm.gz"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(gzip.compress(sink.getvalue()))
    source = stare.read(tmp_path, plain)
    assert source.problems == []
    assert [(record.id, record.split) for record in source.records] == [
        ("im0001", "train"),
        ("im0139", "train"),
        ("im0162", "test"),
    ]
    assert np.array_equal(source.read_mask(source.records[0].second), np.array(index_mask(3)))
    (tmp_path / "ah/im0001.ah.ppm").unlink()
    (tmp_path / "ah/im0001.ah.ppm.gz").write_bytes(b"\x1f\x8b damaged")
    assert places(stare.read(tmp_path, plain)) == ["ah/im0001.ah.ppm.gz", "images/im0001.ppm"]


def test_hrf(tmp_path, plain):
    for name in ("01_h", "05_dr", "06_g"):
        save(picture(1), tmp_path / f"all/images/{name}.{'JPG' if 'dr' in name else 'jpg'}")
        save(black_white(2), tmp_path / f"all/manual1/{name}.tif")
        save(black_white(3).convert("RGB"), tmp_path / f"all/mask/{name}_mask.tif")
    source = hrf.read(tmp_path, plain)
    assert [(record.id, record.split) for record in source.records] == [
        ("01_h", "train"),
        ("05_dr", "train"),
        ("06_g", "test"),
    ]
    assert source.read_area(source.records[0].valid).sum() == np.array(index_mask(3)).sum()


def test_drive_names_what_is_missing(tmp_path, plain):
    for number, split in ((1, "test"), (2, "test"), (21, "training")):
        save(picture(number), tmp_path / f"{split}/images/{number:02d}_{split}.tif")
        save(black_white(number), tmp_path / f"{split}/1st_manual/{number:02d}_manual1.gif")
        save(black_white(number), tmp_path / f"{split}/mask/{number:02d}_{split}_mask.gif")
    assert drive.read(tmp_path, plain).problems == []
    (tmp_path / "test/mask/02_test_mask.gif").unlink()
    (tmp_path / "training/images/21_training.tif").unlink()
    problems = drive.read(tmp_path, plain).problems
    assert [(problem.place, problem.problem) for problem in problems] == [
        ("test/images/02_test.tif", "image without a valid-area mask"),
        ("training/1st_manual/21_manual1.gif", "mask without an image"),
    ]
    with pytest.raises(DataError, match="no file of this set"):
        drive.read(tmp_path / "test/mask/nothing", plain)


def test_camvid_lists(tmp_path, plain):
    for name in "ab":
        save(picture(1), tmp_path / f"train/{name}.png")
        save(index_mask(1, values=(0, 5, 11)), tmp_path / f"trainannot/{name}.png")
    lines = "train/a.png /x/trainannot/a.png\n/x/train/c.png /x/trainannot/c.png\n"
    (tmp_path / "train.txt").write_text(lines, "utf-8-sig")
    source = camvid.read(tmp_path, plain)
    assert places(source) == ["train.txt line 2", "train.txt line 2", "train/b.png"]
    assert set(np.unique(source.read_mask(source.records[0].mask))) == {0, 5, 255}
    save(index_mask(1, values=(0, 12)), tmp_path / "trainannot/a.png")
    with pytest.raises(DataError, match="value 12 in"):
        source.read_mask(tmp_path / "trainannot/a.png")


def test_cityscapes_ids(tmp_path):
    ids = np.arange(34, dtype=np.uint8).reshape(2, 17)
    path = save(Image.fromarray(ids), tmp_path / "x_000000_000019_gtFine_labelIds.png")
    found = cityscapes.read_ids(path, ignore_index=255, exif="error").ravel()
    expected = {7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12, 26: 13}
    expected |= {27: 14, 28: 15, 31: 16, 32: 17, 33: 18}
    assert found.tolist() == [expected.get(i, 255) for i in range(34)]
    path = save(Image.fromarray(ids[:1] + 17), tmp_path / "x_000000_000019_gtFine_labelTrainIds.png")
    with pytest.raises(DataError, match="value 19"):
        cityscapes.read_ids(path, ignore_index=255, exif="error")


def test_loveda_reduces_zero(tmp_path, plain):
    for split, scene, number in (("Train", "Urban", 1), ("Val", "Rural", 2)):
        save(picture(number), tmp_path / f"{split}/{scene}/images_png/{number}.png")
        save(index_mask(number, values=tuple(range(8))), tmp_path / f"{split}/{scene}/masks_png/{number}.png")
    save(picture(3), tmp_path / "Test/Urban/images_png/3.png")
    source = loveda.read(tmp_path, plain)
    assert [(record.id, record.split) for record in source.records] == [
        ("train/urban/1", "train"),
        ("val/rural/2", "val"),
    ]
    stored = np.array(index_mask(1, values=tuple(range(8)))).astype(int)
    found = source.read_mask(source.records[0].mask)
    assert np.array_equal(found, np.where(stored == 0, 255, stored - 1))


def test_trimaps(tmp_path, plain):
    for name in ("Bengal_1", "beagle_2"):
        save(picture(1), tmp_path / f"images/{name}.jpg")
        save(index_mask(1, values=(1, 2, 3)), tmp_path / f"annotations/trimaps/{name}.png")
        save(index_mask(1), tmp_path / f"annotations/trimaps/._{name}.png")
    (tmp_path / "annotations/trainval.txt").write_text("# id\nBengal_1 1 1 1\n", "utf-8-sig")
    (tmp_path / "annotations/test.txt").write_text("beagle_2 2 2 1\ngone_1 1 1 1\n")
    source = oxford_pets.read(tmp_path, plain)
    assert places(source) == ["annotations/test.txt line 2"]
    assert {record.id: record.split for record in source.records} == {"Bengal_1": "train", "beagle_2": "test"}
    stored = np.array(index_mask(1, values=(1, 2, 3)))
    for record in source.records:
        pet = 1 if record.id == "Bengal_1" else 2
        assert np.array_equal(source.read_mask(record.mask), np.select([stored == 1, stored == 2], [pet, 0], 255))


def test_voc_with_sbd(tmp_path, plain):
    voc, sbd = tmp_path / "VOCdevkit/VOC2012", tmp_path / "benchmark_RELEASE/dataset"
    for name in ("2007_1", "2007_2", "2007_3"):
        save(picture(1), voc / f"JPEGImages/{name}.jpg")
    for name in ("2007_1", "2007_2"):
        save(index_mask(1, values=(0, 20, 255)), voc / f"SegmentationClass/{name}.png")
    save(picture(4), sbd / "img/2008_4.jpg")
    (sbd / "cls").mkdir()
    values = np.array(index_mask(4, values=(0, 7)))
    for name in ("2008_4", "2007_1"):
        scipy.io.savemat(sbd / f"cls/{name}.mat", {"GTcls": {"Segmentation": values}})
    lists = voc / "ImageSets/Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("2007_1\n", "utf-8-sig")
    (lists / "val.txt").write_text("2007_2\n2007_3\n")
    source = voc2012.read(tmp_path, plain)
    assert places(source) == ["VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt line 2"]
    assert {record.id: record.split for record in source.records} == {
        "2007_1": "train",
        "2007_2": "val",
        "2008_4": "train",
    }
    by_id = {record.id: record for record in source.records}
    assert by_id["2007_1"].mask.suffix == ".png", "VOC's own mask counts"
    assert np.array_equal(source.read_mask(by_id["2008_4"].mask), values)
    (sbd / "cls/2008_4.mat").write_bytes(b"no mat")
    with pytest.raises(DataError, match="not a MAT file"):
        source.read_mask(by_id["2008_4"].mask)


def test_dsb2018_problems(tmp_path, plain):
    for name in "abc":
        save(picture(1).convert("RGBA"), tmp_path / f"{name}/images/{name}.png")
        for i in range(2):
            save(black_white(i), tmp_path / f"{name}/masks/{i}.png")
    source = dsb2018.read(tmp_path, plain)
    assert (source.problems, [record.group for record in source.records]) == ([], ["a", "b", "c"]), "of one kind"
    (tmp_path / "a/images/a.png").unlink()
    for i in range(2):
        (tmp_path / f"b/masks/{i}.png").unlink()
    save(black_white(1).crop((0, 0, 5, 5)), tmp_path / "c/masks/1.png")
    source = dsb2018.read(tmp_path, plain)
    assert places(source) == ["a/masks", "b/images"]
    with pytest.raises(DataError, match="5x5 pixels, the masks before it 12x10"):
        source.read_mask(source.records[0].mask)


def test_magnetic_tile_folders_decide(tmp_path, plain):
    for defect in ("Free", "Crack"):
        save(picture(1, mode="L"), tmp_path / f"MT_{defect}/Imgs/exp1_num_7.jpg")
        save(black_white(1), tmp_path / f"MT_{defect}/Imgs/exp1_num_7.png")
    source = magnetic_tile.read(tmp_path, plain)
    assert {record.group for record in source.records} == {"7"}
    crack = source.read_mask(tmp_path / "MT_Crack/Imgs/exp1_num_7.png")
    assert np.array_equal(crack, 3 * np.array(index_mask(1)))
    with pytest.raises(DataError, match="MT_Free has no defects"):
        source.read_mask(tmp_path / "MT_Free/Imgs/exp1_num_7.png")


def labelme_file(path, shapes, size=(10, 12)):
    content = {"imagePath": "..\\img\\" + path.with_suffix(".png").name, "imageHeight": size[0], "imageWidth": size[1]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps({**content, "shapes": [{"label": a, "shape_type": b, "points": c} for a, b, c in shapes]})
    )


def test_labelme_shapes(tmp_path, plain):
    save(picture(1), tmp_path / "set/a.png")
    labelme_file(
        tmp_path / "set/a.json",
        [
            ("wide", "rectangle", [[2, 1], [5, 4]]),
            ("dot", "circle", [[9, 5], [10, 5]]),
            ("__ignore__", "polygon", [[0, 9], [3, 9], [0, 9]]),
        ],
    )
    source = labelme.read(tmp_path, plain)
    assert (source.problems, source.labels.class_names) == ([], ("_background_", "dot", "wide"))
    mask = source.read_mask(source.records[0].mask)
    assert (mask[1:5, 2:6] == 2).all()
    assert (mask == 2).sum() == 16
    assert mask[5, 9] == 1
    assert mask[9, 0] == 255
    labelme_file(tmp_path / "set/b.json", [("dot", "point", [[1, 1]])])
    save(picture(2), tmp_path / "set/c.png")
    assert places(labelme.read(tmp_path, plain)) == ["set/b.json", "set/c.png"]
    labelme_file(tmp_path / "set/a.json", [("dot", "cuboid", [[1, 1]])])
    with pytest.raises(DataError, match="cuboid of 1 points"):
        labelme.read(tmp_path, plain).read_mask(tmp_path / "set/a.json")
    labelme_file(tmp_path / "set/a.json", [("cat", "polygon", [[0, 0], [3, 0], [0, 3]])])
    (tmp_path / "labels.txt").write_text("dot\nwide\n", "utf-8-sig")  # as Notepad saves it
    with pytest.raises(DataError, match="label 'cat', classes are _background_, dot, wide"):
        labelme.read(tmp_path, plain).read_mask(tmp_path / "set/a.json")


def test_coco_run_lengths():
    # The text form of these runs, as COCO's own tools write it: each run in groups of five bits.
    plain_runs = {"counts": [6, 1, 40, 4, 5, 4, 5, 4, 21], "size": [9, 10]}
    text = {"counts": "61X13mN000`0", "size": [9, 10]}
    assert np.array_equal(coco.decode(plain_runs, (9, 10)), coco.decode(text, (9, 10)))
    mask = coco.decode(plain_runs, (9, 10))
    assert mask.sum() == 13
    assert mask[6, 0], "columns first"
    for bad in ({"counts": [5, 5], "size": [9, 10]}, {"counts": [90], "size": [10, 9]}, [[1, 2, 3, 4]]):
        with pytest.raises(ValueError, match=r"run lengths|three points"):
            coco.decode(bad, (9, 10))


def test_coco_run_lengths_of_a_megabyte_take_no_time():
    with pytest.raises(ValueError, match="more bits"):
        coco.decode({"counts": "o" * 10**6, "size": [9, 10]}, (9, 10))


def test_a_declared_size_takes_no_memory(tmp_path, plain):
    labelme_file(tmp_path / "set/a.json", [("dot", "circle", [[9, 5], [10, 5]])], size=(10**5, 10**5))
    save(picture(1), tmp_path / "set/a.png")
    with pytest.raises(DataError, match="too large"):
        labelme.read(tmp_path, plain).read_mask(tmp_path / "set/a.json")
    masks = coco.InstanceMasks({tmp_path: coco._Drawn(shape=(10**5, 10**5), instances=[])})
    with pytest.raises(DataError, match="too large"):
        masks(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        {"images": 3, "annotations": [], "categories": []},
        {"images": [{"id": 1}], "annotations": [], "categories": []},
        {"images": [{"id": [], "file_name": "a", "height": 1, "width": 1}], "annotations": [], "categories": []},
        {"images": [], "annotations": [{"image_id": {}}], "categories": [{"id": 1, "name": "a"}]},
        {"images": [], "annotations": [], "categories": [{"id": None, "name": 3}]},
    ],
)
def test_coco_of_another_form(tmp_path, plain, content):
    (tmp_path / "instances.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"instances\.json: not COCO's form"):
        coco.read(tmp_path, plain)


def test_coco_files(tmp_path, plain):
    for split in ("train", "val"):
        save(picture(1), tmp_path / f"{split}2017/000.png")
        annotations = [
            {"id": 1, "image_id": 4, "category_id": 9, "segmentation": [[0, 0, 8, 0, 8, 8, 0, 8]]},
            {"id": 2, "image_id": 4, "category_id": 3, "segmentation": [[1, 1, 3, 1, 3, 3, 1, 3]]},
            {"id": 3, "image_id": 5, "category_id": 3, "segmentation": []},
        ]
        content = {
            "images": [{"id": 4, "file_name": "000.png", "height": 10, "width": 12}],
            "annotations": annotations if split == "val" else annotations[:2],
            "categories": [{"id": 9, "name": "plate"}, {"id": 3, "name": "pea"}],
        }
        (tmp_path / "annotations").mkdir(exist_ok=True)
        (tmp_path / f"annotations/instances_{split}2017.json").write_text(json.dumps(content))
    source = coco.read(tmp_path, plain)
    assert source.labels.class_names == ("background", "pea", "plate")
    assert [(record.id, record.image.parent.name) for record in source.records] == [
        ("train/000", "train2017"),
        ("val/000", "val2017"),
    ]
    mask = source.read_mask(source.records[0].mask)
    assert (mask == 1).sum() == 9, "the smaller one lies above"
    assert (mask == 2).sum() == 81 - 9
    assert [problem.problem for problem in source.problems] == ["of no image (5)"]
    (tmp_path / "val2017/000.png").unlink()
    assert "annotations/instances_val2017.json" in places(coco.read(tmp_path, plain))


def test_coco_outlines_of_one_or_two_points_mark_nothing(tmp_path, plain):
    save(picture(1), tmp_path / "a.png")
    square, dot, odd = [1, 1, 3, 1, 3, 3, 1, 3], [5, 5, 9, 9], [1, 1, 3, 1, 3, 3, 1]
    content = {
        "images": [{"id": 0, "file_name": "a.png", "height": 10, "width": 12}],
        "annotations": [
            {"id": 7 + i, "image_id": 0, "category_id": 1, "segmentation": each}
            for i, each in enumerate([[square, dot], [dot], [[1, 2]]])
        ],
        "categories": [{"id": 1, "name": "leaf"}],
    }
    (tmp_path / "a.json").write_text(json.dumps(content))
    source = coco.read(tmp_path, plain)
    assert source.remarks == [
        ("a.json", "3 annotations with outlines of less than three points as follows: leaf 3 of 3")
    ]
    assert source.read_mask(source.records[0].mask).sum() == 9
    content["annotations"][1]["segmentation"] = [odd]
    (tmp_path / "a.json").write_text(json.dumps(content))
    source = coco.read(tmp_path, plain)
    with pytest.raises(DataError, match="annotation 8: segmentation that cannot be read"):
        source.read_mask(source.records[0].mask)


def test_coco_segmentations_of_other_forms(tmp_path, plain):
    save(picture(1), tmp_path / "a.png")
    pairs, runs = [[1, 1], [3, 1], [3, 3], [1, 3]], {"counts": [11, 3, 7, 3, 7, 3, 86], "size": [10, 12]}
    flat, small = [1, 1, 3, 1, 3, 3, 1, 3], [0, 9, 1, 9, 1, 8]
    content = {
        "images": [{"id": 0, "file_name": "a.png", "height": 10, "width": 12}],
        "categories": [{"id": 1, "name": "leaf"}],
    }

    def read(segmentation):
        annotation = {"id": 8, "image_id": 0, "category_id": 1, "segmentation": segmentation}
        (tmp_path / "a.json").write_text(json.dumps({**content, "annotations": [annotation]}))
        source = coco.read(tmp_path, plain)
        assert source.remarks == []
        return source.read_mask(source.records[0].mask)

    for each in ([pairs], pairs, flat, [runs]):
        assert np.argwhere(read(each)).tolist() == [[y, x] for y in (1, 2, 3) for x in (1, 2, 3)], each
    assert read([pairs, small]).sum() == 9 + 3
    for bad in (
        [[pairs]],
        [[[1, 1, 1], [3, 1, 1], [3, 3, 1]]],
        [runs, runs],
        [runs, small],
        "[[1, 1]]",
        [None],
        {"a": 1},
    ):
        with pytest.raises(
            DataError, match=r"a\.json.* annotation 8: .*neither polygons \[\[x1, .* but [\[{'].*; fix it"
        ):
            read(bad)


def coco_part(path, categories, *, shape=(10, 12), names=("a.png", "b.png")):
    """Write a file that lists two images, with an annotation of each category in the first one."""
    images = [{"id": i, "file_name": name, "height": shape[0], "width": shape[1]} for i, name in enumerate(names)]
    annotations = [
        {"id": i, "image_id": 0, "category_id": 1, "segmentation": [[i, 0, i, 8, i + 1, 8, i + 1, 0]]}
        for i in categories
    ]
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": f"n{categories[0]}"}]}
    path.write_text(json.dumps(content))


def test_coco_of_one_file_for_each_class(tmp_path, plain):
    for name in ("a.png", "b.png"):
        save(picture(1), tmp_path / name)
    coco_part(tmp_path / "leaf.json", [3])
    coco_part(tmp_path / "stem.json", [6])
    save(picture(2), tmp_path / "new/c.png")
    source = coco.read(tmp_path, plain)
    assert [record.id for record in source.records] == ["a", "b"]
    assert source.remarks == [
        ("images", "annotations of one image in 2 files, joined as follows: leaf.json, stem.json"),
        ("images", "1 images that no JSON file lists, left out as follows: new/c"),
    ]
    assert np.unique(source.read_mask(source.records[0].mask)).tolist() == [0, 1, 2]
    assert source.problems == []
    for options, words in [
        ({"categories": [3]}, "leaf.json and stem.json: the same images, and annotations of n3 in both; leave one"),
        ({"categories": [6], "shape": (9, 12)}, "the same images, of another size in each"),
        ({"categories": [6], "names": ("a.png", "a.png")}, "stem.json: lists a.png twice"),
    ]:
        coco_part(tmp_path / "stem.json", **options)
        (problem,) = coco.read(tmp_path, plain).problems
        assert words in str(problem)
