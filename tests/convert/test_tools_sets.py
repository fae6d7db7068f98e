"""Sets as people's tools write them, from the folder through ``maskline new --data`` to the prepared data."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from maskline.core.errors import DataError
from maskline.data import manifest
from maskline.data.dataset import PreparedSplit
from maskline.projects.new_data import describe

LEAF = ("background", "leaf")
TWO = ("background", "class_1")
MASKS = {
    "isic": TWO,
    "isic_flat": TWO,
    "mmseg": TWO,
    "labels": TWO,
    "valid": TWO,
    "caps": TWO,
    "rgbamask": TWO,
    "rgbbinary": TWO,
    "jpgmask": TWO,
    "jpeg_and_png": TWO,
    "bg_ann": TWO,
    "onetwo": ("class_1", "class_2"),
}
OUTLINES = ("roboflow", "roboflow_dup", "cvat_coco", "labelstudio_coco", "via", "supervisely", "labelstudio")
SPLITS = {"valid": (16, 4, 4), "roboflow": (16, 4, 4), "roboflow_dup": (16, 4, 4)}


@pytest.fixture(scope="module")
def drawn(shared_cases, tmp_path_factory):
    """All sets of the program that draws layouts."""
    folder = tmp_path_factory.mktemp("layouts")
    subprocess.run([sys.executable, "make_layouts.py", str(folder)], cwd=shared_cases, check=True)
    return folder


@pytest.fixture
def draw(shared_cases, tmp_path):
    """Run a program that draws a set; return its folder."""

    def run(program, *options):
        folder = tmp_path / "set"
        subprocess.run([sys.executable, program, str(folder), *options], cwd=shared_cases, check=True)
        return folder

    return run


@pytest.fixture
def convert(workspace):
    """Describe a set, convert it as described, and return its manifest, its labels and what was said."""

    def run(folder, *, classes=(), ignored=(), **more):
        described = describe(folder, project=workspace.path, classes=classes, ignored=ignored)
        result = workspace.both(**{"classes": [], **described.params, **more})
        assert result.code == 0, result.err
        frame, labels = manifest.read(workspace.prepared)
        return frame, labels, result.err + "\n".join(described.lines)

    return run


def splits(frame):
    counts = frame["split"].value_counts().to_dict()
    return tuple(counts.get(split, 0) for split in ("train", "val", "test"))


def share(frame, number=1):
    return frame[f"pixels_{number}"].sum() / (64 * 64 * len(frame))


def white(drawn):
    """Share of white pixels in the masks from which all of these sets are made."""
    masks = [np.array(Image.open(path)) for path in sorted((drawn / "isic/masks").iterdir())]
    return np.mean([mask == 255 for mask in masks])


@pytest.mark.parametrize("name", MASKS)
def test_images_with_masks(drawn, convert, name):
    frame, labels, _ = convert(drawn / name)
    assert (labels.class_names, len(frame)) == (MASKS[name], 24)
    assert share(frame) == pytest.approx(white(drawn), abs=1e-12 if name != "jpgmask" else 1e-3)
    if name in SPLITS:
        assert splits(frame) == SPLITS[name]


@pytest.mark.parametrize("name", OUTLINES)
def test_outlines_of_labelling_tools(drawn, convert, name):
    frame, labels, said = convert(drawn / name)
    assert (labels.class_names, len(frame)) == (LEAF, 24)
    assert 0.14 < share(frame) < 0.16
    if name in SPLITS:
        assert splits(frame) == SPLITS[name]
    assert ("unused category left out as follows: leaf" in said) == (name == "roboflow_dup")


def test_colors(drawn, convert):
    frame, labels, _ = convert(drawn / "colors", classes=["top=0,255,0", "rest=0,0,0", "disc=255,0,0"])
    assert labels.class_names == ("top", "rest", "disc")
    assert labels.palette == ((0, 255, 0), (0, 0, 0), (255, 0, 0))
    assert share(frame, 0) == pytest.approx(1 / 8)
    assert share(frame, 2) == pytest.approx(white(drawn))


def test_masks_of_half_the_size(drawn, workspace):
    with pytest.raises(DataError, match=r"halfsize/masks/0\.png: 32x32 pixels, its image has 64x64 \(24 of 24 masks\)"):
        describe(drawn / "halfsize", project=workspace.path)


@pytest.mark.parametrize("values", ["0,127,255", "0,38,75"])
def test_sparse_gray_values(draw, convert, values):
    frame, labels, said = convert(draw("02_sparse_grey_masks.py", values), classes=["ground", "leaf", "stem"])
    assert labels.class_names == ("ground", "leaf", "stem")
    assert 0.05 < share(frame, 1) < share(frame, 2) == 18 * 18 / 64**2
    assert f"{values.split(',')[1]}   6.70%      12  leaf" in said


def test_palette_of_two_entries_far_apart(draw, convert):
    frame, labels, _ = convert(draw("03_palette_masks_0_255.py"))
    assert labels.num_classes == 2
    assert share(frame) == 18 * 18 / 64**2


def test_zero_that_means_nothing_labelled(draw, convert):
    frame, labels, _ = convert(draw("06_index_masks_zero_is_unlabelled.py"), ignored=["0"])
    assert labels.class_names == ("class_1", "class_2", "class_3")
    ignored = frame["pixels_ignored"].sum() / (64 * 64 * 12)
    assert ignored == pytest.approx(1 - share(frame, 0) - share(frame, 1) - share(frame, 2))
    assert ignored > 0.7


@pytest.mark.parametrize("separator", ["\\", "/"])
def test_labelme_files_in_another_folder(draw, convert, separator):
    frame, labels, _ = convert(draw("14_labelme_json_in_another_folder.py", separator))
    assert (labels.class_names[1:], len(frame)) == (("leaf",), 12)
    assert set(frame["source"]) == {f"images/p{n:02d}.jpg" for n in range(12)}


def test_labelme_image_inside(draw, convert):
    frame, _, _ = convert(draw("15_labelme_picture_inside_json.py"))
    assert len(frame) == 12


@pytest.mark.parametrize("prefix", ["..\\..\\label-studio\\media\\upload\\4\\", "/data/local-files/", "D:\\x\\"])
def test_coco_paths_of_another_computer(draw, convert, prefix):
    frame, labels, _ = convert(draw("18_coco_label_studio_paths.py", prefix))
    assert (labels.class_names, len(frame)) == (LEAF, 12)


def test_coco_images_of_one_name(draw, workspace):
    folder = draw("18_coco_label_studio_paths.py")
    (folder / "more").mkdir()
    (folder / "more/00000003-p.png").write_bytes((folder / "images/00000004-p.png").read_bytes())
    result = workspace.both(name="coco", archive=str(folder), classes=[])
    assert result.code == 2
    assert "could be images/00000003-p.png and more/00000003-p.png" in result.err
    assert len(result.lines) == 1


def test_two_folders_with_the_same_names_are_two_images_each(draw, convert):
    folder = draw("20_coco_roboflow_splits.py")
    name = next(path.name for path in (folder / "train").glob("*.jpg"))
    content = json.loads((folder / "test/_annotations.coco.json").read_text())
    old = content["images"][0]["file_name"]
    content["images"][0]["file_name"] = name
    (folder / "test" / old).rename(folder / "test" / name)
    (folder / "test/_annotations.coco.json").write_text(json.dumps(content))
    frame, _, _ = convert(folder)
    assert splits(frame) == (8, 3, 2)


def test_annotations_without_an_outline(draw, convert, workspace):
    frame, _, said = convert(draw("19b_coco_some_boxes_without_outline.py"))
    assert len(frame) == 12
    assert "result.json: 12 annotations without an outline as follows: leaf 12 of 24" in said
    summary = json.loads((workspace.path / "reports/convert/summary.json").read_text())
    assert summary["warnings"]["annotations_without_an_outline"] == 12


def test_classes_without_a_pixel_and_outlines_outside(draw, convert, workspace):
    folder = draw("21_coco_category_background.py")
    content = json.loads((folder / "instances_default.json").read_text())
    content["categories"].append({"id": 2, "name": "stem"})
    outside = {"id": 99, "image_id": 3, "category_id": 2, "segmentation": [[70, 5, 90, 5, 90, 50]], "iscrowd": 0}
    content["annotations"].append(outside)
    (folder / "instances_default.json").write_text(json.dumps(content))
    _, labels, said = convert(folder)
    assert labels.class_names == ("background", "leaf", "stem")
    assert "data set: 1 classes without a pixel as follows: stem" in said
    assert "1 annotations outside of their images as follows: stem 1 of 1" in said
    summary = json.loads((workspace.path / "reports/convert/summary.json").read_text())
    assert summary["warnings"]["classes_without_a_pixel"] == 1


def test_roboflow_splits(draw, convert):
    frame, labels, said = convert(draw("20_coco_roboflow_splits.py"))
    assert (labels.class_names, splits(frame)) == (LEAF, (8, 3, 2))
    assert "unused category left out as follows: leaves, the supercategory of others" in said


def test_a_category_called_background(draw, convert):
    frame, labels, _ = convert(draw("21_coco_category_background.py"))
    assert (labels.class_names, len(frame)) == (LEAF, 12)


def test_links(draw, convert):
    frame, _, _ = convert(draw("28_links.py"))
    assert len(frame) == 12


def test_spellings_of_one_label(draw, convert, workspace):
    folder = draw("44_labelme_labels_differ_by_blank_and_case.py")
    _, labels, said = convert(folder)
    assert len(labels.class_names) == 3
    lines = [line for line in said.splitlines() if "spellings of one label" in line and "labels:" in line]
    assert "'Leaf' 4 times, 'leaf' 4 times, 'leaf ' 4 times" in lines[0]
    told = dict(entry.split(": ") for entry in lines[0].split("{")[1].split("}")[0].split(", "))
    joined = workspace.both(
        name="labelme", archive=str(folder), classes=[], mask_values={key.strip('"'): to for key, to in told.items()}
    )
    assert joined.code == 0, joined.err
    assert "spellings" not in joined.err
    assert manifest.read(workspace.prepared)[1].num_classes == 2


def test_a_fixed_camera(draw, workspace, tmp_path):
    folder = draw("43_fixed_camera.py")
    params = describe(folder, project=workspace.path).params
    result = workspace.both(**params)
    assert result.code == 2
    assert "set data.near_duplicates to off" in result.err
    assert "data.split_lists" in result.err
    off = workspace.both(**params, near_duplicates="off")
    assert off.code == 0, off.err
    assert len(PreparedSplit.open(workspace.prepared, "val", cache="stream"))
    (workspace.path / "val.txt").write_text("".join(f"part{n:03d}\n" for n in range(30, 40)))
    (workspace.path / "test.txt").write_text("".join(f"part{n:03d}\n" for n in range(20, 30)))
    lists = {"val": "val.txt", "test": "test.txt"}
    listed = workspace.both(**params, near_duplicates="warn", split_lists=lists)
    assert listed.code == 0, listed.err
    assert len(PreparedSplit.open(workspace.prepared, "val", cache="stream")) == 10
