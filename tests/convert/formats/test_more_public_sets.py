"""COCO-Stuff, PASCAL Context, Potsdam, Vaihingen, iSAID: as published, and as MMSegmentation converts them."""

import numpy as np
import pytest
import scipy.io
from PIL import Image

from maskline.convert import layouts
from maskline.convert.format_parts.coco_stuff_classes import NAMES as STUFF
from maskline.convert.format_parts.isprs import read_classes as read_isprs
from maskline.convert.format_parts.pascal_context_classes import IDS, NAMES
from maskline.convert.format_parts.tree import Tree
from maskline.core.errors import DataError
from tests.sets import picture, save

ISPRS = [(0, 0, 0), (255, 255, 255), (0, 0, 255), (0, 255, 255), (0, 255, 0), (255, 255, 0), (255, 0, 0)]
SIZE = (12, 10)


@pytest.fixture
def plain(settings):
    return settings(classes=())


def image_of(values, *, palette=None):
    """A mask with each of the values, a column each, gray or in the colors of a palette."""
    columns = np.resize(np.array(values), SIZE[0])
    pixels = np.broadcast_to(columns, SIZE[::-1])
    return Image.fromarray((np.array(palette)[pixels] if palette else pixels).astype(np.uint8))


def opened(folder, name, settings):
    """The source of a set that is recognised as what it is."""
    assert layouts.recognised(Tree(folder))[0][0] == name
    source = layouts.layout(name)(folder, settings)
    assert source.problems == []
    return source


def columns(source, id_):
    record = next(record for record in source.records if record.id == id_)
    return source.read_mask(record.mask)[0].tolist()


def split_of(source):
    return {record.id: (record.split, record.group) for record in source.records}


@pytest.mark.parametrize("name", ["potsdam", "vaihingen"])
def test_isprs_as_published(tmp_path, plain, name):
    for area in ("2_10", "2_13") if name == "potsdam" else ("area1", "area2"):
        if name == "potsdam":
            save(picture(1, SIZE), tmp_path / f"2_Ortho_RGB/top_potsdam_{area}_RGB.tif")
            save(picture(2, SIZE), tmp_path / f"3_Ortho_IRRG/top_potsdam_{area}_IRRG.tif")
            bordered = tmp_path / f"5_Labels_all/top_potsdam_{area}_label.tif"
            without = tmp_path / f"5_Labels_all_noBoundary/top_potsdam_{area}_label_noBoundary.tif"
        else:
            save(picture(1, SIZE), tmp_path / f"top/top_mosaic_09cm_{area}.tif")
            bordered = tmp_path / f"gts_for_participants/top_mosaic_09cm_{area}.tif"
            without = tmp_path / f"truth_eroded/top_mosaic_09cm_{area}_noBoundary.tif"
        save(image_of(range(1, 7), palette=ISPRS), bordered)
        save(image_of(range(7), palette=ISPRS), without)
    source = opened(tmp_path, name, plain)
    first, second = ("2_10", "2_13") if name == "potsdam" else ("area1", "area2")
    assert split_of(source) == {first: ("train", first), second: ("val", second)}
    assert "are for tiles of 512 x 512 px" in source.remarks[0][1]
    assert source.labels.class_names[:2] == ("impervious_surface", "building")
    assert columns(source, first) == [255, 0, 1, 2, 3, 4, 5, 255, 0, 1, 2, 3]
    for path in tmp_path.rglob("*noBoundary*"):
        if path.is_file():
            path.unlink()
    assert columns(layouts.layout(name)(tmp_path, plain), first) == [0, 1, 2, 3, 4, 5] * 2


@pytest.mark.parametrize(("name", "area"), [("potsdam", "5_15"), ("vaihingen", "area30")])
def test_isprs_in_tiles(tmp_path, plain, name, area):
    for split in ("train", "val"):
        for tile in ("0_0_512_512", "512_0_1024_512"):
            save(picture(1, SIZE), tmp_path / f"{name}/img_dir/{split}/{area}_{tile}.png")
            save(image_of(range(7)), tmp_path / f"{name}/ann_dir/{split}/{area}_{tile}.png")
    source = opened(tmp_path, name, plain)
    assert split_of(source) == {
        f"{split}/{area}_{tile}": (split, area)
        for split in ("train", "val")
        for tile in ("0_0_512_512", "512_0_1024_512")
    }
    assert columns(source, f"train/{area}_0_0_512_512")[:7] == [255, 0, 1, 2, 3, 4, 5]
    assert source.remarks == []


def test_isprs_colors_that_are_none(tmp_path):
    near = save(image_of([0, 1], palette=[(252, 255, 0), (255, 255, 255)]), tmp_path / "near.tif")
    assert read_isprs(near, ignore_index=255, exif="error")[0, :2].tolist() == [4, 0]
    for color in ((255, 0, 255), (255, 128, 0)):
        wrong = save(image_of([1, 0], palette=[color, (255, 255, 255)]), tmp_path / "wrong.tif")
        with pytest.raises(
            DataError, match=r"wrong\.tif: color .* at row 0, column 1 is of no class \(60 such pixels\)"
        ):
            read_isprs(wrong, ignore_index=255, exif="error")


def test_isaid(tmp_path, plain):
    palette = layouts.layout("isaid").__globals__["_PALETTE"]
    for split, name in (("train", "P0000"), ("val", "P0003")):
        save(picture(1, SIZE), tmp_path / f"{split}/images/images/{name}.png")
        folder = tmp_path / f"{split}/Semantic_masks/images"
        save(image_of([0, 15, 8], palette=palette), folder / f"{name}_instance_color_RGB.png")
        save(picture(1, SIZE), tmp_path / f"{split}/Instance_masks/images/{name}_instance_id_RGB.png")
    save(picture(1, SIZE), tmp_path / "test/images/images/P0006.png")
    source = opened(tmp_path, "isaid", plain)
    assert split_of(source) == {"train/P0000": ("train", "P0000"), "val/P0003": ("val", "P0003")}
    assert columns(source, "val/P0003")[:3] == [0, 15, 8]
    assert len(source.labels.class_names) == 16
    assert "are for tiles of 896 x 896 px" in source.remarks[0][1]


def test_isaid_in_tiles(tmp_path, plain):
    for tile in ("P0003_0_896_0_896", "P0003_0_896_135_1031"):
        save(picture(1, SIZE), tmp_path / f"iSAID/img_dir/train/{tile}.png")
        save(image_of([0, 15, 255]), tmp_path / f"iSAID/ann_dir/train/{tile}_instance_color_RGB.png")
    source = opened(tmp_path, "isaid", plain)
    assert {record.group for record in source.records} == {"P0003"}
    assert (len(source.records), source.remarks) == (2, [])
    assert columns(source, "train/P0003_0_896_0_896")[:3] == [0, 15, 255]


def test_coco_stuff(tmp_path, plain):
    name = "000000000009"
    for split in ("train2017", "val2017"):
        save(picture(1, SIZE), tmp_path / f"images/{split}/{name}.jpg")
        save(image_of([0, 10, 12, 91, 181, 255]), tmp_path / f"annotations/{split}/{name}.png")
    source = opened(tmp_path, "coco_stuff", plain)
    assert split_of(source) == {f"{split}2017/{name}": (split, f"{split}2017/{name}") for split in ("train", "val")}
    assert columns(source, f"val2017/{name}")[:6] == [0, 10, 11, 80, 170, 255]
    assert (STUFF[11], STUFF[80], STUFF[170], len(STUFF)) == ("stop sign", "banner", "wood", 171)
    assert len({*source.labels.palette, (0, 0, 0)}) == 172
    save(image_of([11]), tmp_path / f"annotations/val2017/{name}.png")  # an id that COCO does not use
    with pytest.raises(DataError, match="value 11 in 120 pixels"):
        columns(source, f"val2017/{name}")
    (tmp_path / f"annotations/val2017/{name}.png").unlink()
    save(image_of([0, 11, 170, 255]), tmp_path / f"annotations/val2017/{name}_labelTrainIds.png")
    assert columns(opened(tmp_path, "coco_stuff", plain), f"val2017/{name}")[:4] == [0, 11, 170, 255]


def test_coco_stuff_of_the_first_edition(tmp_path, plain):
    name = "COCO_train2014_000000000077"
    for split in ("train2014", "test2014"):
        save(picture(1, SIZE), tmp_path / f"coco_stuff10k/images/{split}/{name}.jpg")
        path = tmp_path / f"coco_stuff10k/annotations/{split}/{name}_labelTrainIds.png"
        save(image_of([0, 1, 171]), path)
    source = opened(tmp_path, "coco_stuff", plain)
    assert [record.split for record in source.records] == ["val", "train"]
    assert columns(source, f"test2014/{name}")[:3] == [255, 0, 170]


@pytest.mark.parametrize(("name", "background"), [("pascal_context", 0), ("pascal_context_59", 255)])
def test_pascal_context(tmp_path, plain, name, background):
    root, first = tmp_path / "VOCdevkit/VOC2010", 1 if background == 0 else 0
    for id_ in ("2008_000002", "2008_000003", "2008_000004"):
        save(picture(1, SIZE), root / f"JPEGImages/{id_}.jpg")
    (root / "SegmentationClassContext").mkdir(parents=True)
    for id_ in ("2008_000002", "2008_000003"):
        save(image_of([0, 1, 59]), root / f"SegmentationClassContext/{id_}.png")
    for split, id_ in (("train", "2008_000002"), ("val", "2008_000003")):
        path = root / f"ImageSets/SegmentationContext/{split}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{id_}\n")
    assert layouts.recognised(Tree(tmp_path))[0][0] == "pascal_context"
    source = layouts.layout(name)(tmp_path, plain)
    assert source.problems == []
    assert {record.id: record.split for record in source.records} == {"2008_000002": "train", "2008_000003": "val"}
    assert columns(source, "2008_000003")[:3] == [background, first, first + 58]
    assert source.labels.class_names[first : first + 2] == ("aeroplane", "bag")
    path.write_text("2008_000003\n2008_000009\n")
    (problem,) = layouts.layout(name)(tmp_path, plain).problems
    assert "val.txt line 2: no mask for 2008_000009; add SegmentationClassContext/" in str(problem)


def test_pascal_context_of_459_classes(tmp_path, plain):
    save(picture(1, SIZE), tmp_path / "VOC2010/JPEGImages/2008_000002.jpg")
    (tmp_path / "trainval").mkdir()
    values = np.array(image_of([0]), np.uint16)
    values[:, :4] = (2, 458, 1, 459)  # aeroplane, wood, accordion, and the last of all
    scipy.io.savemat(tmp_path / "trainval/2008_000002.mat", {"LabelMap": values})
    source = opened(tmp_path, "pascal_context", plain)
    assert split_of(source) == {"2008_000002": (None, "2008_000002")}
    assert columns(source, "2008_000002")[:5] == [1, 59, 0, 0, 0]
    assert (len(IDS), len(NAMES), NAMES[-1]) == (59, 59, "wood")
    without = layouts.layout("pascal_context_59")(tmp_path, plain)
    assert columns(without, "2008_000002")[:5] == [0, 58, 255, 255, 255]
