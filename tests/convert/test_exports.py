"""Folders as tools, contests and published sets write them, read as ``maskline new --data`` describes them."""

import base64
import csv
import io
import json
import re
import unicodedata
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from maskline.builders.convert import layout_settings
from maskline.convert.layouts import layout
from maskline.core.errors import DataError
from maskline.data.dataset import PreparedSplit
from maskline.params.data import DataParams
from maskline.projects.new_data import describe
from maskline.reading.images import open_image
from tests.sets import pack_folder, picture, save

SIZE = (24, 20)  # width, height
IDS = range(8)


def blob(n, *, value=1):
    """A mask (20, 24) of a box with a dent."""
    mask = np.zeros(SIZE[::-1], np.uint8)
    mask[3 + n % 5 : 12, 4 : 12 + n] = value
    mask[3 + n % 5, 4] = 0
    return mask


def box(n):
    """Left, top, right, bottom of pixels, the last inside."""
    return 4, 3 + n % 5, 11 + n, 11


def boxed(n, *, value=1):
    """The mask of ``box``."""
    left, top, right, bottom = box(n)
    mask = np.zeros(SIZE[::-1], np.uint8)
    mask[top : bottom + 1, left : right + 1] = value
    return mask


def outline(n):
    left, top, right, bottom = box(n)
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def image(n):
    return picture(n, SIZE)


def dump(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


@pytest.fixture
def opened(tmp_path):
    """Describe a set and read it as described; return its source, its masks by name, and what was said."""

    def run(folder, **more):
        data = more.pop("data", {})
        described = describe(folder, project=tmp_path, **more)
        params = DataParams.model_validate_json(json.dumps({**described.params, **data}))
        if folder.is_file():
            pytest.fail("unpack it first")
        source = layout(params.name)(folder, layout_settings(params))
        assert [str(problem) for problem in source.problems] == []
        read = {record.image.stem: source.read_mask(record.mask) for record in source.records}
        return source, read, "\n".join([*described.lines, *(f"{a}: {b}" for a, b in source.remarks)])

    return run


def splits(source):
    each = [record.split for record in source.records]
    return tuple(each.count(split) for split in ("train", "val", "test", None))


def same(read, expected):
    assert set(read) == set(expected)
    for name, mask in expected.items():
        np.testing.assert_array_equal(read[name], mask)


def roboflow_coco(folder):
    for split, ids in (("train", range(5)), ("valid", (5, 6)), ("test", (7,))):
        content = {
            "info": {"year": "2026", "version": "1", "description": "Exported from roboflow.com"},
            "licenses": [{"id": 1, "url": "https://creativecommons.org/licenses/by/4.0/", "name": "CC BY 4.0"}],
            "categories": [
                {"id": 0, "name": "leaves", "supercategory": "none"},
                {"id": 1, "name": "leaf", "supercategory": "leaves"},
            ],
            "images": [
                {"id": k, "license": 1, "file_name": f"p{n}_jpg.rf.{n:032x}.jpg", "height": 20, "width": 24,
                 "date_captured": "2026-01-01T00:00:00+00:00", "extra": {"name": f"p{n}.jpg"}}
                for k, n in enumerate(ids)
            ],
            "annotations": [
                {"id": k, "image_id": k, "category_id": 1, "bbox": [4, 3, 8, 8], "area": 64, "iscrowd": 0,
                 "segmentation": [[float(v) for p in outline(n) for v in p]]}
                for k, n in enumerate(ids)
            ],
        }  # fmt: skip
        dump(folder / split / "_annotations.coco.json", content)
        for n in ids:
            save(image(n), folder / split / f"p{n}_jpg.rf.{n:032x}.jpg")
    dump(folder / "README.roboflow.txt", "leaves - v1\n")
    dump(folder / "README.dataset.txt", "# leaves\n")


def test_roboflow_coco(tmp_path, opened):
    roboflow_coco(tmp_path / "set")
    source, read, _ = opened(tmp_path / "set")
    assert (source.labels.class_names, splits(source)) == (("background", "leaf"), (5, 2, 1, 0))
    same(read, {f"p{n}_jpg.rf.{n:032x}": boxed(n) for n in IDS})


def test_roboflow_coco_as_it_is_downloaded(tmp_path):
    roboflow_coco(tmp_path / "set")
    described = describe(pack_folder(tmp_path / "set", tmp_path / "leaves.v1.coco.zip"), project=tmp_path)
    assert described.params == {"name": "coco", "archive": "leaves.v1.coco.zip"}
    assert "8 images: 1 test, 5 train, 2 val" in described.lines


def test_roboflow_masks_and_their_names(tmp_path, opened):
    for split, ids in (("train", range(5)), ("valid", (5, 6)), ("test", (7,))):
        for n in ids:
            save(image(n), tmp_path / f"set/{split}/p{n}_jpg.rf.{n:032x}.jpg")
            save(Image.fromarray(blob(n)), tmp_path / f"set/{split}/p{n}_jpg.rf.{n:032x}_mask.png")
        dump(tmp_path / f"set/{split}/_classes.csv", "Pixel Value, Class\n0, background\n1, leaf\n2, stem\n")
    source, read, said = opened(tmp_path / "set")
    assert (source.labels.class_names, splits(source)) == (("background", "leaf", "stem"), (5, 2, 1, 0))
    assert "names of classes from test/_classes.csv" in said
    assert "no pixel of 2 (stem)" in said
    same(read, {f"p{n}_jpg.rf.{n:032x}": blob(n) for n in IDS})


@pytest.mark.parametrize("names", ["names: ['leaf', 'stem']", "names:\n  0: leaf\n  1: stem"])
@pytest.mark.parametrize("form", ["{split}/{kind}/p{n}", "{kind}/{split}/p{n}"])
def test_outlines_of_yolo(tmp_path, opened, names, form):
    folder = tmp_path / "set"
    for n in IDS:
        split = "train" if n < 6 else "valid"
        save(image(n), folder / (form.format(split=split, kind="images", n=n) + ".jpg"))
        points = " ".join(f"{x / 24:.6f} {y / 20:.6f}" for x, y in outline(n))
        if n:
            lines = f"{n % 2} {points}\n" + ("0 0.5 0.5 0.1 0.1\n" if n == 3 else "")
            dump(folder / (form.format(split=split, kind="labels", n=n) + ".txt"), lines)
    dump(folder / "data.yaml", f"train: ../train/images\nval: ../valid/images\nnc: 2\n{names}\n")
    source, read, said = opened(folder)
    assert (source.labels.class_names, splits(source)) == (("background", "leaf", "stem"), (6, 2, 0, 0))
    assert "labels: 1 annotations without an outline (boxes) as follows: leaf 1 of 4" in said
    same(read, {f"p{n}": boxed(n, value=1 + n % 2) if n else boxed(n, value=0) for n in IDS})


def test_yolo_as_scripts_write_it(tmp_path, opened):
    for n, name, lines in ((0, "0", "\ufeff0.0 .1 .1 .5 .1 .5 .5\r\n"), (1, "ä", "1.0 .1 .1 .5 .1 .5 .5\n")):
        save(image(n), tmp_path / f"set/images/{name}.jpg")
        dump(tmp_path / f"set/labels/{unicodedata.normalize('NFD', name)}.txt", lines)  # of a Mac
    dump(tmp_path / "set/labels/about.txt", "drawn by hand\n")
    _, read, said = opened(tmp_path / "set")
    assert "labels/about.txt: no label file: left out" in said
    assert [np.unique(read[id_]).tolist() for id_ in sorted(read)] == [[0, 1], [0, 2]]
    dump(tmp_path / "set/labels/2.txt", "0 .1 .1 .5 .1 .5 .5\n")
    with pytest.raises(AssertionError, match=r"labels/2.txt: labels without an image"):
        opened(tmp_path / "set")


YOLO_NAMES = {
    "classes.txt": "background\nleaf\n",
    "labels/classes.txt": "background\nleaf\n",
    "notes.json": {"categories": [{"id": 1, "name": "leaf"}, {"id": 0, "name": "background"}], "info": {}},
    "leaves.yaml": "path: ../leaves\nnames: [background, leaf]\n",
}


@pytest.mark.parametrize("name", YOLO_NAMES)
def test_yolo_names_beside_the_labels(tmp_path, opened, name):
    folder = tmp_path / "set"
    for n in IDS[:2]:
        save(image(n), folder / f"images/p{n}.jpg")
        dump(folder / f"labels/p{n}.txt", "1 " + " ".join(f"{x / 24:.6f} {y / 20:.6f}" for x, y in outline(n)) + "\n")
    dump(folder / "args.yaml", "epochs: 3\n")
    dump(folder / name, YOLO_NAMES[name])
    source, read, _ = opened(folder)
    assert source.labels.class_names == ("background", "leaf")
    same(read, {f"p{n}": boxed(n) for n in IDS[:2]})
    dump(folder / "labels/p0.txt", "2 .1 .1 .2 .1 .2 .2\n")
    described = describe(folder, project=tmp_path)
    assert any(f"class 2, which {name} does not name" in line for line in described.lines)
    dump(folder / "other.yaml", "names: [ground, stem]\n")
    if name == "leaves.yaml":
        with pytest.raises(DataError, match=r"other names of classes than leaves\.yaml"):
            describe(folder, project=tmp_path)


def test_coco_splits_by_the_folders_of_images(tmp_path, opened):
    content = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "leaf"}]}
    for n in IDS[:4]:
        place = f"{'train' if n < 3 else 'val'}/{n}.jpg"
        save(image(n), tmp_path / "set/images" / place)
        content["images"].append({"id": n, "file_name": place, "width": 24, "height": 20})
        flat = [value for point in outline(n) for value in point]
        content["annotations"].append({"id": n, "image_id": n, "category_id": 1, "segmentation": [flat]})
    dump(tmp_path / "set/all.json", content)
    assert splits(opened(tmp_path / "set")[0]) == (3, 1, 0, 0)


def test_yolo_of_damaged_lines(tmp_path):
    save(image(0), tmp_path / "set/images/a.jpg")
    dump(tmp_path / "set/labels/a.txt", "0 .1 .1 .5 .1 .5 .5\n0 .1 .1\n")
    assert "1 annotations of too few points" in "".join(describe(tmp_path / "set", project=tmp_path).lines)
    for text, words in (("0 .1 .1 .2 .2 .3\n", "5 coordinates"), ("leaf 1 2 3 4 5 6\n", "not a file of YOLO")):
        dump(tmp_path / "set/labels/a.txt", text)
        with pytest.raises(DataError, match=f"labels/a.txt line 1: .*{words}"):
            describe(tmp_path / "set", project=tmp_path, name="yolo")


def test_isic_as_published(tmp_path, opened):
    folder = tmp_path / "set"
    for n in IDS:
        save(image(n), folder / f"ISIC2018_Task1-2_Training_Input/ISIC_{n:07d}.jpg")
        mask = Image.fromarray(blob(n, value=255))
        save(mask, folder / f"ISIC2018_Task1_Training_GroundTruth/ISIC_{n:07d}_segmentation.png")
        save(image(n), folder / f"ISIC2018_Task1-2_Test_Input/ISIC_{n + 50:07d}.jpg")
    dump(folder / "ISIC2018_Task1-2_Training_Input/ATTRIBUTION.txt", "ISIC\n")
    _, read, said = opened(folder)
    same(read, {f"ISIC_{n:07d}": blob(n) for n in IDS})
    assert "data.mask_suffix _segmentation" in said
    assert "left out: 8 images in other folders (ISIC2018_Task1-2_Test_Input)" in said
    assert "left out as follows: 8 images in other folders (ISIC2018_Task1-2_Test_Input)" in said, "by convert too"
    for n in (20, 21):
        save(image(n), folder / f"ISIC2018_Task1-2_Validation_Input/ISIC_{n:07d}.jpg")
        mask = Image.fromarray(blob(n, value=255))
        save(mask, folder / f"ISIC2018_Task1_Validation_GroundTruth/ISIC_{n:07d}_segmentation.png")
    source, read, said = opened(folder)
    assert splits(source) == (8, 2, 0, 0)
    same(read, {f"ISIC_{n:07d}": blob(n) for n in (*IDS, 20, 21)})
    assert "data.mask_dir ISIC2018_Task1_SPLIT_GroundTruth" in said
    assert "test: left out as follows: 8 images, none of this split has a mask" in said


def test_isic_with_superpixels(tmp_path, opened):
    for n in IDS:
        save(image(n), tmp_path / f"set/data/ISIC_{n:07d}.jpg")
        save(image(n), tmp_path / f"set/data/ISIC_{n:07d}_superpixels.png")
        save(Image.fromarray(blob(n, value=255)), tmp_path / f"set/truth/ISIC_{n:07d}_segmentation.png")
    _, read, said = opened(tmp_path / "set")
    same(read, {f"ISIC_{n:07d}": blob(n) for n in IDS})
    assert "left out: 8 files whose names begin or end otherwise (data/ISIC_0000000_superpixels.png" in said


def test_deepglobe(tmp_path, opened):
    colors = {"urban_land": (0, 255, 255), "water": (0, 0, 255), "unknown": (0, 0, 0)}
    palette = np.array(list(colors.values()), np.uint8)
    for n in IDS:
        save(image(n), tmp_path / f"set/train/{100 + n}_sat.jpg")
        mask = blob(n)
        mask[:, -1] = 2
        save(Image.fromarray(palette[mask]), tmp_path / f"set/train/{100 + n}_mask.png")
    for split in ("valid", "test"):
        save(image(50), tmp_path / f"set/{split}/{split}9_sat.jpg")
    rows = ["name,r,g,b", *(f"{name},{r},{g},{b}" for name, (r, g, b) in colors.items())]
    dump(tmp_path / "set/class_dict.csv", "\n".join(rows) + "\n")
    source, read, said = opened(tmp_path / "set")
    assert source.labels.class_names == tuple(colors)
    assert source.labels.palette == tuple(colors.values())
    assert splits(source) == (8, 0, 0, 0)
    assert "test: left out as follows: 1 images, none of this split has a mask" in said
    mask = blob(3)
    mask[:, -1] = 2
    np.testing.assert_array_equal(read["103_sat"], mask)


def test_carvana(tmp_path, opened):
    for n in IDS:
        save(image(n), tmp_path / f"set/train/ca{n}_01.jpg")
        save(Image.fromarray(blob(n)).convert("P"), tmp_path / f"set/train_masks/ca{n}_01_mask.gif")
        save(image(n), tmp_path / f"set/test/ca{n + 50}_01.jpg")
    source, read, said = opened(tmp_path / "set")
    assert source.labels.num_classes == 2
    same(read, {f"ca{n}_01": blob(n) for n in IDS})
    assert "left out: 8 images in other folders (test)" in said


def test_mvtec(tmp_path, opened):
    folder = tmp_path / "set/bottle"
    for n in IDS:
        save(image(n), folder / f"train/good/{n:03d}.png")
        save(image(n + 20), folder / f"test/good/{n:03d}.png")
        save(image(n + 40), folder / f"test/broken_large/b{n:03d}.png")
        save(Image.fromarray(blob(n, value=255)), folder / f"ground_truth/broken_large/b{n:03d}_mask.png")
    source, read, said = opened(tmp_path / "set")
    assert "format mvtec" in said
    assert (source.labels.class_names, len(source.records)) == (("background", "defect"), 24)
    np.testing.assert_array_equal(read["b003"], blob(3))
    assert not read["003"].any()
    (folder / "ground_truth/broken_large/b003_mask.png").rename(folder / "ground_truth/broken_large/x.png")
    problems = [str(each) for each in layout("mvtec")(tmp_path / "set", layout_settings(DataParams())).problems]
    assert problems[0].startswith("bottle/test/broken_large/b003.png: image without a mask")
    assert problems[1].startswith("bottle/ground_truth/broken_large/x.png: mask without an image")


@pytest.mark.parametrize(
    ("images", "masks", "bare"),
    [
        ("training/image_2/{}_10.png", "training/semantic/{}_10.png", "testing/image_2/{}_10.png"),  # KITTI
        ("training/images/{}.jpg", "training/v1.2/labels/{}.png", "testing/images/{}.jpg"),  # Mapillary
        ("train/Images/{}.jpg", "train/Labels/{}.png", "test/Images/{}.jpg"),
        ("img/train/{}.jpg", "gtFine/train/{}.png", "img/test/{}.jpg"),
        ("dataset/original/{}.tif", "dataset/annotated_masks/{}.tif", None),
        ("JPEG Images/{}.jpg", "Segmentation masks/{}.png", None),
        ("CXR_png/{}.png", "mask/{}_mask.png", None),
        ("x/frames/{}.jpg", "x/manual_masks/{}-mask.png", None),
        ("{}.jpg", "{}_GT.png", None),
        ("{}.tif", "{}.mask.tif", None),
    ],
)
def test_folders_of_other_names(tmp_path, opened, images, masks, bare):
    folder = tmp_path / "set"
    for n in range(8, 16):  # of one digit and of two
        save(image(n), folder / images.format(n))
        save(Image.fromarray(blob(n % 8)), folder / masks.format(n))
        if bare:
            save(image(n + 30), folder / bare.format(f"t{n}"))
    _, read, said = opened(folder)
    same(read, {images.format(n).rpartition("/")[2].rpartition(".")[0]: blob(n % 8) for n in range(8, 16)})
    assert ("test: left out as follows: 8 images, none of this split has a mask" in said) == (bare is not None)


def via_3(n_images=8):
    return {
        "project": {"pid": "__VIA_PROJECT_ID__", "rev": "1", "data_format_version": "3.1.1", "vid_list": ["1"]},
        "config": {"file": {"loc_prefix": {"1": "", "2": "", "3": "", "4": ""}}, "ui": {}},
        "attribute": {
            "1": {"aname": "class", "anchor_id": "FILE1_Z0_XY1", "type": 3, "options": {"0": "leaf", "1": "stem"}},
        },
        "file": {str(n + 1): {"fname": f"p{n}.jpg", "type": 2, "loc": 1, "src": ""} for n in range(n_images)},
        "metadata": {
            f"{n + 1}_abcd{n}": {
                "vid": str(n + 1), "flg": 0, "z": [], "av": {"1": str(n % 2)},
                "xy": [2, box(n)[0], box(n)[1], box(n)[2] - box(n)[0], box(n)[3] - box(n)[1]] if n % 2
                else [7, *(v for p in outline(n) for v in p)],
            }
            for n in range(1, n_images)
        },
        "view": {str(n + 1): {"fid_list": [str(n + 1)]} for n in range(n_images)},
    }  # fmt: skip


def test_via_3(tmp_path, opened):
    for n in IDS:
        save(image(n), tmp_path / f"set/p{n}.jpg")
    dump(tmp_path / "set/via_project_28Nov2026_10h00m00s.json", via_3())
    source, read, said = opened(tmp_path / "set")
    assert "format via" in said
    assert source.labels.class_names == ("background", "leaf", "stem")
    same(read, {f"p{n}": boxed(n, value=1 + n % 2) if n else boxed(n, value=0) for n in IDS})


def test_via_2_project(tmp_path, opened):
    entries = {
        f"p{n}.jpg999": {
            "filename": f"p{n}.jpg", "size": 999, "file_attributes": {},
            "regions": [
                {"shape_attributes": {"name": "polygon", "all_points_x": [p[0] for p in outline(n)],
                                      "all_points_y": [p[1] for p in outline(n)]},
                 "region_attributes": {"type": {"leaf": True}, "note": "x"}}
            ],
        }
        for n in IDS
    }  # fmt: skip
    for n in IDS:
        save(image(n), tmp_path / f"set/p{n}.jpg")
    project = {"_via_settings": {"core": {}}, "_via_img_metadata": entries, "_via_attributes": {"region": {}}}
    dump(tmp_path / "set/via_project.json", project)
    source, read, _ = opened(tmp_path / "set")
    assert source.labels.class_names == ("background", "leaf")
    same(read, {f"p{n}": boxed(n) for n in IDS})


def png(mask):
    sink = io.BytesIO()
    Image.fromarray(mask).save(sink, format="PNG")
    return sink.getvalue()


def test_labelme_masks_on_images_that_exif_turns(tmp_path, opened):
    """Labelme shows and measures the turned image."""
    for n in IDS:
        left, top, right, bottom = box(n)
        exif = Image.Exif()
        exif[0x0112] = 6
        turned = picture(n, SIZE).transpose(Image.Transpose.ROTATE_90)  # as stored: 20 wide, 24 high
        path = tmp_path / f"set/p{n}.jpg"
        path.parent.mkdir(exist_ok=True)
        turned.save(path, exif=exif)
        part = blob(n)[top : bottom + 1, left : right + 1] > 0
        mask = base64.b64encode(png(part.astype(np.uint8))).decode()
        corners = [[left, top], [right, bottom]]
        shape = {"label": "leaf", "points": corners, "shape_type": "mask", "description": "", "mask": mask}
        size = {"imageHeight": 20, "imageWidth": 24}
        content = {"version": "5.5.0", "shapes": [shape], "imagePath": f"p{n}.jpg", "imageData": None, **size}
        dump(tmp_path / f"set/p{n}.json", content)
    source, read, _ = opened(tmp_path / "set", data={"exif": "apply"})
    same(read, {f"p{n}": blob(n) for n in IDS})
    assert {open_image(record.image, exif="apply").size for record in source.records} == {SIZE}
    with pytest.raises(DataError, match=r"set data\.exif to apply"):
        open_image(source.records[0].image, exif="error")


def test_supervisely_with_several_figures(tmp_path, opened):
    folder = tmp_path / "set"
    classes = [{"title": "stem", "shape": "bitmap", "color": "#00FF00"},
               {"title": "leaf", "shape": "polygon", "color": "#FF0000"}]  # fmt: skip
    dump(folder / "meta.json", {"classes": classes, "tags": [{"name": "x", "value_type": "none"}]})
    for n in IDS:
        data = base64.b64encode(zlib.compress(png(np.full((2, 3), 255, np.uint8)))).decode()
        objects = [
            {"id": 1, "classTitle": "leaf", "geometryType": "polygon", "tags": [],
             "points": {"exterior": outline(n), "interior": [[(6, 9), (8, 9), (8, 10), (6, 10)]]}},
            {"id": 2, "classTitle": "stem", "geometryType": "bitmap", "bitmap": {"data": data, "origin": [18, 15]}},
            {"id": 3, "classTitle": "stem", "geometryType": "rectangle",
             "points": {"exterior": [[0, 0], [1, 1]], "interior": []}},
        ]  # fmt: skip
        dump(folder / f"ds {n % 2}/ann/p{n}.jpg.json", {"size": {"height": 20, "width": 24}, "objects": objects})
        save(image(n), folder / f"ds {n % 2}/img/p{n}.jpg")
    source, read, _ = opened(folder)
    assert source.labels.class_names == ("background", "stem", "leaf")
    for n in IDS:
        mask = boxed(n, value=2)
        mask[9:11, 6:9] = 0
        mask[15:17, 18:21] = mask[:2, :2] = 1
        np.testing.assert_array_equal(read[f"p{n}"], mask)


def test_cvat_with_z_order_and_names_of_other_letters(tmp_path, opened):
    entries = []
    for n in IDS:
        save(image(n), tmp_path / f"set/images/süd ost/bild {n}.jpg")
        left, top, _, bottom = box(n)
        points = ";".join(f"{x:.2f},{y:.2f}" for x, y in outline(n))
        entries.append(
            f'<image id="{n}" name="süd ost/bild {n}.jpg" width="24" height="20">'
            f'<box label="stem" z_order="{n % 2}" xtl="{left}" ytl="{top}" xbr="{left + 1}" ybr="{bottom}"></box>'
            f'<polygon label="leaf" z_order="0" points="{points}"></polygon></image>'
        )
    labels = "".join(f"<label><name>{name}</name></label>" for name in ("leaf", "stem"))
    meta = f"<meta><job><labels>{labels}</labels></job></meta>"
    dump(tmp_path / "set/annotations.xml", f"<annotations><version>1.1</version>{meta}{''.join(entries)}</annotations>")
    _, read, _ = opened(tmp_path / "set")
    for n in IDS:
        mask = boxed(n)
        if n % 2:
            mask[:, 4:6] *= 2
        np.testing.assert_array_equal(read[f"bild {n}"], mask)


def test_coco_panoptic_as_detectron_and_cocoapi_write_it(tmp_path, opened):
    annotations, images = [], []
    for n in IDS:
        save(image(n), tmp_path / f"set/val2017/{n:012d}.jpg")
        ids = np.where(blob(n) > 0, 70_000 + n, 300)
        rgb = np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1).astype(np.uint8)
        save(Image.fromarray(rgb), tmp_path / f"set/annotations/panoptic_val2017/{n:012d}.png")
        images.append({"id": n, "file_name": f"{n:012d}.jpg", "height": 20, "width": 24})
        segments = [{"id": 70_000 + n, "category_id": 1, "iscrowd": 0, "area": 1, "bbox": []},
                    {"id": 300, "category_id": 184, "iscrowd": 0, "area": 1, "bbox": []}]  # fmt: skip
        annotations.append({"image_id": n, "file_name": f"{n:012d}.png", "segments_info": segments})
    categories = [
        {"id": 184, "name": "tree-merged", "isthing": 0, "color": [1, 2, 3], "supercategory": "plant"},
        {"id": 1, "name": "person", "isthing": 1, "color": [220, 20, 60], "supercategory": "person"},
    ]
    content = {"info": {}, "licenses": [], "images": images, "annotations": annotations, "categories": categories}
    dump(tmp_path / "set/annotations/panoptic_val2017.json", content)
    source, read, _ = opened(tmp_path / "set")
    assert (source.labels.class_names, splits(source)) == (("person", "tree-merged"), (0, 8, 0, 0))
    same(read, {f"{n:012d}": 1 - blob(n) for n in IDS})


def runs(mask):
    flat = np.concatenate([[0], mask.T.ravel(), [0]]).astype(int)
    edges = np.flatnonzero(np.diff(flat))
    return " ".join(f"{a + 1} {b - a}" for a, b in zip(edges[::2], edges[1::2], strict=True))


def test_a_table_of_run_lengths(tmp_path, opened):
    with_table = tmp_path / "set/train.csv"
    with_table.parent.mkdir()
    with with_table.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["ImageId", "EncodedPixels"])
        for n in IDS:
            save(image(n), tmp_path / f"set/train/p{n}.png")
            save(image(n), tmp_path / f"set/test/p{n + 50}.png")
            writer.writerow([f"p{n}", runs(blob(n))])
    source, read, said = opened(tmp_path / "set")
    assert "format rle_csv" in said
    assert splits(source) == (8, 0, 0, 0)
    same(read, {f"p{n}": blob(n) for n in IDS})


def brush(mask):
    """Label Studio's run lengths of a brush, every value of its own block."""
    values = np.repeat(mask.ravel().astype(np.uint8) * 255, 4)
    bits = f"{len(values):032b}" + f"{7:05b}" + "".join(f"{size - 1:04b}" for size in (4, 8, 12, 16))
    for start in range(0, len(values), 16):
        block = values[start : start + 16]
        bits += "000" + f"{len(block) - 1:04b}" + "".join(f"{value:08b}" for value in block)
    bits += "0" * (-len(bits) % 8)
    return [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]


@pytest.mark.parametrize("minimal", [False, True])
def test_label_studio_with_brush(tmp_path, opened, minimal):
    tasks = []
    for n in IDS:
        save(image(n), tmp_path / f"set/images/0a1b2c3d-p{n}.jpg")
        value = {"format": "rle", "rle": brush(blob(n)), "brushlabels": ["leaf"]}
        size = {"original_width": 24, "original_height": 20, "image_rotation": 0}
        address = f"/data/upload/3/0a1b2c3d-p{n}.jpg"
        whole = {"id": n, "data": {"image": address}, "predictions": [],
                 "annotations": [{"id": n, "was_cancelled": False, "created_at": "2026-01-01T00:00:00Z",
                                  "result": [{"id": "x", "type": "brushlabels", "value": value, **size}]}]}  # fmt: skip
        brief = {"id": n, "image": address, "annotator": 1, "lead_time": 3.1, "tag": [{**value, **size}]}
        tasks.append(brief if minimal else whole)
    dump(tmp_path / "set/project-3-at-2026-11-28-10-00-abcdef12.json", tasks)
    source, read, said = opened(tmp_path / "set")
    assert "format label_studio" in said
    assert source.labels.class_names == ("background", "leaf")
    same(read, {f"0a1b2c3d-p{n}": blob(n) for n in IDS})


def voc(folder, *, colored):
    names = ["background:0,0,0::", "leaf:128,0,0::", "stem:0,128,0::"] if colored else ["_background_", "leaf", "stem"]
    dump(folder / ("labelmap.txt" if colored else "class_names.txt"), "\n".join(names) + "\n")
    for n in IDS:
        save(image(n), folder / f"JPEGImages/p{n}.jpg")
        mask = blob(n)
        mask[:, -1] = 2
        stored = Image.fromarray(mask).convert("P")
        stored.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
        save(stored.convert("RGB") if colored else stored, folder / f"SegmentationClass/p{n}.png")


@pytest.mark.parametrize(("colored", "ignored"), [(True, "0,128,0"), (False, "2")])
def test_a_class_of_voc_masks_that_is_ignored(tmp_path, opened, colored, ignored):
    voc(tmp_path / "set", colored=colored)
    source, read, said = opened(tmp_path / "set", ignored=[ignored])
    assert source.labels.class_names == ("background" if colored else "_background_", "leaf")
    assert "written: data.mask_values" in said
    mask = blob(3).astype(int)
    mask[:, -1] = source.labels.ignore_index
    np.testing.assert_array_equal(read["p3"], mask)


def test_twelve_bands_of_16_bits_from_new_to_convert(tmp_path, workspace):
    for n in IDS:
        values = np.random.default_rng(n).integers(100, 4000, (20, 24, 12)).astype(np.uint16)
        path = tmp_path / f"set/images/t{n}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(path, values, photometric="minisblack", planarconfig="contig", compression="zlib")
        save(Image.fromarray(blob(n)), tmp_path / f"set/masks/t{n}.png")
    described = describe(tmp_path / "set", project=workspace.path, classes=["ground", "field"])
    assert described.model == {"in_channels": 12, "mean": "auto", "std": "auto"}
    result = workspace.both(**described.params)
    assert result.code == 0, result.err
    split = PreparedSplit.open(workspace.prepared, "train", cache="stream")
    image = split.sample(0).image
    assert (image.shape, split.rule.image_scale) == ((20, 24, 12), (0.0, 4000.0))
    assert image.max() - image.min() > 200


OUTSIDE = [(40, 5), (60, 5), (60, 9)]


def outside_labelme(folder):
    for n in IDS:
        save(image(n), folder / f"p{n}.jpg")
        shapes = [{"label": "leaf", "points": outline(n), "shape_type": "polygon"}]
        shapes += [{"label": "leaf", "points": OUTSIDE, "shape_type": "polygon"}] if n == 2 else []
        shapes += [{"label": "leaf", "points": [[-9, 5], [-7, 5]], "shape_type": "circle"}] if n == 4 else []
        dump(folder / f"p{n}.json", {"shapes": shapes, "imagePath": f"p{n}.jpg", "imageHeight": 20, "imageWidth": 24})
    return 10


def outside_via(folder):
    for n in IDS:
        save(image(n), folder / f"p{n}.jpg")
    dump(folder / "via.json", {
        f"p{n}.jpg1": {"filename": f"p{n}.jpg", "regions": [
            {"shape_attributes": {"name": "polygon", "all_points_x": [x for x, _ in points],
                                  "all_points_y": [y for _, y in points]}, "region_attributes": {"class": "leaf"}}
            for points in ([outline(n), OUTSIDE] if n in (2, 4) else [outline(n)])]}
        for n in IDS})  # fmt: skip
    return 10


def outside_supervisely(folder):
    for n in IDS:
        save(image(n), folder / f"ds/img/p{n}.jpg")
        objects = [{"classTitle": "leaf", "geometryType": "polygon", "points": {"exterior": points, "interior": []}}
                   for points in ([outline(n), OUTSIDE] if n in (2, 4) else [outline(n)])]  # fmt: skip
        dump(folder / f"ds/ann/p{n}.jpg.json", {"size": {"height": 20, "width": 24}, "objects": objects})
    return 10


def outside_label_studio(folder):
    tasks = []
    for n in IDS:
        save(image(n), folder / f"p{n}.jpg")
        result = [{"original_width": 24, "original_height": 20, "value": {
                      "points": [[100 * x / 24, 100 * y / 20] for x, y in points], "polygonlabels": ["leaf"]}}
                  for points in ([outline(n), OUTSIDE] if n in (2, 4) else [outline(n)])]  # fmt: skip
        tasks.append({"id": n, "data": {"image": f"/data/upload/1/p{n}.jpg"}, "annotations": [{"result": result}]})
    dump(folder / "project.json", tasks)
    return 10


def outside_cvat(folder):
    text = ""
    for n in IDS:
        save(image(n), folder / f"images/p{n}.jpg")
        inside = ";".join(f"{x},{y}" for x, y in outline(n))
        beside = ";".join(f"{x},{y}" for x, y in OUTSIDE)
        text += f'<image id="{n}" name="p{n}.jpg" width="24" height="20"><polygon label="leaf" points="{inside}"/>'
        text += (f'<polyline label="leaf" points="{beside}"/>' if n in (2, 4) else "") + "</image>"
    dump(folder / "annotations.xml", f"<annotations><meta></meta>{text}</annotations>")
    return 10


@pytest.mark.parametrize(
    "write", [outside_labelme, outside_via, outside_supervisely, outside_label_studio, outside_cvat]
)
def test_outlines_outside_of_their_images(tmp_path, opened, write):
    count = write(tmp_path / "set")
    _, _, said = opened(tmp_path / "set")
    assert f"labels: 2 annotations outside of their images as follows: leaf 2 of {count} (" in said
    assert said.count("p2") >= 1
    assert said.count("p4") >= 1


@pytest.mark.parametrize("write", [outside_labelme, outside_via, outside_supervisely, outside_label_studio])
def test_outlines_of_too_few_points(tmp_path, opened, monkeypatch, write):
    monkeypatch.setitem(globals(), "OUTSIDE", [(2, 2), (3, 3)])
    write(tmp_path)
    _, read, said = opened(tmp_path)
    count, names = (1, "p2") if write is outside_labelme else (2, "p2, ")
    assert f"labels: {count} annotations of too few points as follows: leaf {count} of" in said
    assert names in said
    if write is not outside_label_studio:  # whose points are shares
        same(read, {f"p{n}": boxed(n) for n in IDS})


def test_lines_name_the_users_files(tmp_path):
    save(image(0), tmp_path / "set/p0.jpg")
    annotation = {"id": 8, "image_id": 0, "category_id": 1, "segmentation": [[1, 1, 3, 1, 3, 3, 1]]}
    images = [{"id": 0, "file_name": "p0.jpg", "height": 20, "width": 24}]
    content = {"images": images, "annotations": [annotation], "categories": [{"id": 1, "name": "leaf"}]}
    dump(tmp_path / "set/a.json", content)
    (line,) = [
        line for line in describe(tmp_path / "set", project=tmp_path).lines if "cannot be read; the first" in line
    ]
    assert f"first: {tmp_path / 'set/a.json'}/0/p0.jpg: annotation 8: " in line


@pytest.mark.parametrize("place", ["masks/{}_{}.png", "masks/{1}/{0}.png"])
def test_several_masks_an_image_are_refused_with_a_way_out(tmp_path, opened, place):
    for n in IDS:
        save(image(n), tmp_path / f"set/images/{n}.png")
        for kind in ("leaf", "stem"):
            save(Image.fromarray(blob(n, value=255)), tmp_path / "set" / place.format(n, kind))
    with pytest.raises(DataError, match=r"several masks an image: masks/.*leaf.* and masks/.*stem") as error:
        opened(tmp_path / "set")
    options = dict(re.findall(r"-S data\.(\w+)=(\S+)", error.value.remedy))
    _, read, said = opened(tmp_path / "set", pair_names=options)
    same(read, {str(n): blob(n) for n in IDS})
    assert f"left out as follows: {len(IDS)} " in said


@pytest.mark.parametrize(
    ("image_name", "mask_name", "problem"),
    [
        ("images/{}.npy", "masks/{}.npy", "no images, but 16 .npy files"),
        ("images/0{}.png", "masks/{}.png", "not half of its images and masks pair by name: images/0"),
        (
            "images/{}.png",
            "masks/task-{0}-annotation-{0}-by-1-tag-Leaf-0.png",
            "PNG export do not say whose",
        ),
    ],
)
def test_what_keeps_images_and_masks_apart_is_named(tmp_path, opened, image_name, mask_name, problem):
    for n in IDS:
        for name in (image_name, mask_name):
            (tmp_path / "set" / name.format(n)).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "set" / name.format(n)).touch()
    with pytest.raises(DataError, match=problem):
        opened(tmp_path / "set")
