"""The page on labelling tools: each of its lines, on a tiny input of the tool it is about."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML

from maskline.builders.convert import build_layout, layout_settings
from maskline.params.whole import validate_params
from maskline.projects.new_data import describe
from tests.convert.formats import test_labelling_tools as tools
from tests.sets import index_mask, picture, save

PAGE = Path(__file__).resolve().parents[2] / "docs/how-to/label-tools.md"
TEXT = PAGE.read_text(encoding="utf-8")
BLOCKS = [YAML(typ="safe").load(block)["data"] for block in re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)]


def draw(name, folder, labels):
    """A set of one image, a.png, with a leaf; labelme's has one of each label."""
    images = {"voc": "JPEGImages", "supervisely": "ds/img"}
    image = folder / images.get(name, "images") / "a.png"
    save(picture(1), image)
    square = [[0, 0], [5, 0], [5, 5], [0, 5]]
    match name:
        case "cvat":
            tools.write(folder / "annotations.xml", tools.CVAT.replace("sub/a.png", "a.png"))
        case "label_studio":
            value = {"format": "rle", "rle": tools.BRUSH, "brushlabels": ["leaf"]}
            task = tools.label_studio_task([{"type": "brushlabels", "value": value}])
            tools.write(folder / "project.json", [{**task, "data": {"image": "/data/upload/1/5f2a3b4c-a.png"}}])
        case "labelme":
            tools.labelme_file(folder / "images/a.json", [tools.shape(label, "polygon", square) for label in labels])
        case "supervisely":
            tools.supervisely_file(folder / "ds/ann/a.png.json", [tools.bitmap([[1, 1]], [0, 0])])
        case "via":
            region = tools.via_region("circle", {"class": "leaf"}, cx=5, cy=3, r=1)
            tools.write(folder / "via.json", {"a": {"filename": "a.png", "size": 1, "regions": [region]}})
        case "voc":
            save(Image.fromarray(np.array([(0, 0, 0), (9, 9, 9)], np.uint8)[np.array(index_mask(1))]),
                 folder / "SegmentationClass/a.png")  # fmt: skip
            tools.write(folder / "labelmap.txt", "background:0,0,0::\nleaf:9,9,9::\n")
        case "coco" | "coco_panoptic":
            segment = {"image_id": 1, "id": 1, "category_id": 4}
            content = {
                "images": [{"id": 1, "file_name": "a.png", "width": 12, "height": 10}],
                "categories": [{"id": 4, "name": "leaf"}, {"id": 5, "name": "stem"}],
            }
            if name == "coco":
                flat = [[value for point in square for value in point]]
                content["annotations"] = [{**segment, "segmentation": flat}]
            else:
                content["annotations"] = [{"image_id": 1, "file_name": "a.png", "segments_info": [segment]}]
                save(Image.fromarray(np.full((10, 12, 3), (1, 0, 0), np.uint8)), folder / "panoptic_x/a.png")
            tools.write(folder / "panoptic_x.json", json.dumps(content))
        case "yolo":
            tools.write(folder / "labels/a.txt", "0 0 0 0.5 0 0.5 0.5 0 0.5\n")
            tools.write(folder / "data.yaml", "names: [leaf]\n")
        case "rle_csv":
            tools.write(folder / "train.csv", "ImageId,ClassId,EncodedPixels\na.png,leaf,1 5\n")
        case "folder":
            (folder / "masks").mkdir()
            np.save(folder / "masks/a.npy", np.array(index_mask(1)))


@pytest.mark.parametrize("data", BLOCKS, ids=[data["name"] for data in BLOCKS])
def test_each_block_reads_its_tool(tmp_path, data):
    params = validate_params({"data": data}).data
    draw(params.name, tmp_path, [*params.mask_values, "leaf"])
    source = build_layout(params)(tmp_path, layout_settings(params))
    assert [str(problem) for problem in source.problems] == []
    (record,) = source.records
    assert source.read_mask(record.mask).shape == (10, 12)
    assert "leaf" in source.labels.class_names
    assert source.labels.num_classes == (3 if params.name in ("cvat", "coco") else 2)


@pytest.mark.parametrize("name", sorted({data["name"] for data in BLOCKS}))
def test_maskline_new_takes_each_without_a_name(tmp_path, name):
    draw(name, tmp_path / "set", ["leaf"])
    description = describe(tmp_path / "set", project=tmp_path / "demo")
    assert (description.params["name"], description.params["archive"]) == (name, "../set")
    rows = [line.split() for line in description.lines]
    named = {row[0] for row in rows if len(row) == 3 and row[1].endswith("%")} | {row[-1] for row in rows if row}
    assert ("class_1" if name == "folder" else "leaf") in named


def test_the_table_names_what_there_is():
    named = set(re.findall(r"\| `(\w+)` \|", TEXT))
    assert named == {data["name"] for data in BLOCKS}
