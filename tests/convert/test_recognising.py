"""Which format a folder is taken for."""

import json

import pytest
from PIL import Image

from maskline.convert import layouts
from maskline.convert.format_parts.tree import Tree
from maskline.download import archives

REAL = {
    "CHASEDB1.zip": ["chase_db1"],
    "ade20k_sample.zip": ["ade20k"],
    "camvid_32.zip": ["camvid"],
    "cityscapes_mini1.zip": ["cityscapes"],
    "drive_small.zip": ["drive"],
    "dsb2018_small.zip": ["dsb2018"],
    "kvasir5.zip": ["kvasir_seg"],
    "labelme_voc3.zip": ["labelme", "voc"],  # the program's own example, in both forms
    "magnetic_tile_small.zip": ["magnetic_tile"],
    "pets26.zip": [],
}
TREES = {
    "dsb2018": ["set/a/images/a.png", "set/a/masks/0.png", "set/a/masks/1.png"],
    "hrf": ["images/01_h.jpg", "manual1/01_h.tif", "mask/01_h_mask.tif"],
    "loveda": ["Train/Urban/images_png/1.png", "Train/Urban/masks_png/1.png"],
    "oxford_pets": ["images/Abyssinian_1.jpg", "annotations/trimaps/Abyssinian_1.png"],
    "stare": ["stare-images/im0001.ppm.gz", "labels-ah/im0001.ah.ppm.gz"],
    "voc2012": ["VOCdevkit/VOC2012/JPEGImages/a.jpg", "VOCdevkit/VOC2012/SegmentationClass/a.png"],
}


def own(folder):
    return [name for name, _ in layouts.recognised(Tree(folder)) if name != layouts.ANY_MASKS]


@pytest.mark.parametrize("file", REAL)
def test_real_archives(shared_data, tmp_path, file):
    archives.unpack(shared_data / file, tmp_path, max_bytes=10**10)
    assert own(tmp_path) == REAL[file]


@pytest.mark.parametrize("name", TREES)
def test_trees(tmp_path, name):
    for place in TREES[name]:
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).touch()
    assert own(tmp_path) == [name]
    (tmp_path / TREES[name][1]).unlink()
    assert own(tmp_path) == []


@pytest.mark.parametrize("masks", ["a/masks/0.png", "a/masks/leaf.png a/masks/stem.png", "a/masks/a.png b/masks/b.png"])
def test_folders_of_one_mask_or_of_classes_are_not_dsb2018(tmp_path, masks):
    for place in ("a/images/a.png", *masks.split()):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).touch()
    assert own(tmp_path) == []


def test_json_files_by_what_they_hold(tmp_path):
    (tmp_path / "a.json").write_text("{")
    (tmp_path / "b.json").write_text("[]")
    assert own(tmp_path) == []
    (tmp_path / "b.json").write_text(json.dumps({"images": [], "annotations": [], "categories": []}))
    assert layouts.recognised(Tree(tmp_path)) == [("coco", "b.json has images, annotations and categories")]


JSON = {
    "labelme": {"imagePath": "a.jpg", "shapes": []},
    "supervisely": {"size": {"height": 1, "width": 1}, "objects": []},
    "via": {"a.jpg1": {"filename": "a.jpg", "regions": []}},
    "label_studio": [{"data": {"image": "a.jpg"}, "annotations": []}],
    "coco": {"images": [], "annotations": [{"segmentation": []}], "categories": []},
    "coco_panoptic": {"images": [], "annotations": [{"segments_info": []}], "categories": []},
}


@pytest.mark.parametrize("name", JSON)
def test_files_of_labelling_tools(tmp_path, name):
    (tmp_path / "ann").mkdir()
    (tmp_path / "ann/a.json").write_text(json.dumps(JSON[name]))
    assert own(tmp_path) == [name]


def test_xml_of_cvat_and_masks_of_voc(tmp_path):
    (tmp_path / "annotations.xml").write_text('<?xml version="1.0"?><annotations><image id="0"></image></annotations>')
    assert own(tmp_path) == ["cvat"]
    (tmp_path / "annotations.xml").write_text("<annotations><version>1.1</version><meta><task/></meta><track/>")
    assert own(tmp_path) == ["cvat"], "of a video, which is then refused"
    (tmp_path / "annotations.xml").write_text("<annotation><object/></annotation>")
    for place in ("JPEGImages/a.jpg", "SegmentationClass/a.png"):
        (tmp_path / place).parent.mkdir()
        (tmp_path / place).touch()
    assert own(tmp_path) == ["voc2012"]
    (tmp_path / "labelmap.txt").touch()
    assert own(tmp_path) == ["voc"]


def test_any_images_with_masks_are_the_last_answer(tmp_path):
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
        Image.new("L", (2, 2)).save(tmp_path / folder / "a.png")
    assert layouts.recognised(Tree(tmp_path)) == [("folder", "1 pairs of images/NAME with labels/NAME")]


def test_all_can_be_recognised_but_for_what_is_drawn():
    modules = {name: __import__(f"maskline.convert.formats.{name}", fromlist=["read"]) for name in layouts.names()}
    not_by_files = {"synthetic_fundus", "pascal_context_59"}  # drawn, and another view of pascal_context
    assert {name for name, module in modules.items() if not hasattr(module, "recognise")} == not_by_files
