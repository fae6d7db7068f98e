"""What ``maskline new`` says of a folder that no format takes."""

import pytest

from maskline.convert.format_parts.tree import Tree
from maskline.projects.unread_kinds import told

IMAGES = {"images/a.jpg": "", "images/b.jpg": ""}
CASES = {
    "packed": ({"x/inner.zip": "", "masks.tar.gz": ""}, "unpack masks.tar.gz, x/inner.zip, and give"),
    "volumes": ({"imagesTr/a.nii.gz": "", "dataset.json": "{}"}, "NIfTI is not read: save each slice"),
    "dicom": ({"images/a.dcm": "", "masks/a.png": ""}, "DICOM is not read: save each image"),
    "arrays": ({"all.npz": ""}, "save each image as images/NAME.png"),
    "map": ({**IMAGES, "a.geojson": "{}"}, "draw them into masks/NAME.tif"),
    "Labelbox": ({**IMAGES, "a.ndjson": "{}"}, "Labelbox's export is not read"),
    "Labelbox, JSON": ({**IMAGES, "a.json": '[{"data_row": {}}]'}, "a.json: Labelbox's export is not read"),
    "VIA's CSV": ({**IMAGES, "a.csv": "filename,region_shape_attributes\n"}, "export annotations as JSON, or save"),
    "brush": ({**IMAGES, "task-7-annotation-7-by-1-tag-Leaf-0.png": ""}, "export as JSON (Label Studio, --format"),
    "Parquet": (
        {"data/train-00000-of-00001.parquet": "", "README.md": ""},
        "images in Parquet are not read: save",
    ),
    "Aperio": (
        {"Images/a.tif": "", "Annotations/a.xml": '<Annotations><Annotation><Vertex X="1" Y="2"/>'},
        "Annotations/a.xml is Aperio's XML (MoNuSeg): draw",
    ),
    "VOC's boxes": ({**IMAGES, "a.xml": "<annotation><object><bndbox>"}, "boxes have no outline"),
    "YOLO's boxes": ({**IMAGES, "labels/a.txt": "0 0.5 0.5 0.2 0.2\n"}, "text files of YOLO: boxes have no outline"),
    "YOLO, flat": (
        {"a.jpg": "", "a.txt": "\ufeff0 0.1 0.1 0.2 0.2 0.1 0.3\n"},
        "text files into one called labels",
    ),
    "pairs": (
        {"p/a.jpg": "", "q/z.png": "", "t.csv": "image;mask\np/a.jpg;q/z.png\n"},
        "give each mask its",
    ),
    "damaged": ({**IMAGES, "a.json": "{"}, "a.json is not JSON"),
    "images": ({**IMAGES, "readme.md": ""}, "images alone: label them"),
}


@pytest.mark.parametrize("name", CASES)
def test_one_remedy_for_what_lies_there(tmp_path, name):
    files, words = CASES[name]
    for place, text in files.items():
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text(text, encoding="utf-8")
    assert words in told(Tree(tmp_path))[1]


@pytest.mark.parametrize("text", ["image,id\na.jpg,a\n", "1 2 3 4 5\n", "a,c\n", '"' + "x" * 300_000])
def test_other_files_are_counted_alone(tmp_path, text):
    for name in ("a.jpg", "b.jpg", "x.csv", "y.txt"):
        (tmp_path / name).write_text(text)
    assert told(Tree(tmp_path)) == ("4 files (2 .jpg, 1 .csv, 1 .txt)", None)


@pytest.mark.parametrize("name", ["a_mask.jpg", "a.png", "other/a.jpg"])
def test_images_that_may_be_masks_are_not_called_images_alone(tmp_path, name):
    (tmp_path / "other").mkdir()
    for each in ("a.jpg", "b.jpg", name):
        (tmp_path / each).touch()
    assert told(Tree(tmp_path))[1] is None


def test_json_of_another_encoding(tmp_path):
    (tmp_path / "a.json").write_bytes('{"label": "裂缝"}'.encode("gbk"))
    words = "a.json is not UTF-8 (byte 0xc1 at 11), maybe of another encoding such as GBK: save it as UTF-8"
    assert told(Tree(tmp_path))[1] == words
