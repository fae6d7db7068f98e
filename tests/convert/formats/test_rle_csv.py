"""Tables of run lengths, as Kaggle's contests give them."""

import csv

import numpy as np
import pytest

from maskline.convert.format_parts.tree import Tree
from maskline.convert.formats import rle_csv
from maskline.convert.records import MaskValue
from maskline.core.errors import DataError
from maskline.projects.new_data import describe
from tests.sets import picture, save

SHAPE = (10, 12)  # of picture()


def runs(mask, *, by_rows=False):
    """Encode as the contests do, from their description: pixels from 1, down the columns."""
    flat = mask.ravel() if by_rows else mask.T.ravel()
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat, [0]])))
    return " ".join(f"{start + 1} {end - start}" for start, end in zip(edges[::2], edges[1::2], strict=True))


def blob(top, left, height=3, width=4):
    mask = np.zeros(SHAPE, int)
    mask[top : top + height, left : left + width] = 1
    mask[top, left] = 0
    return mask


@pytest.fixture
def plain(settings):
    return settings(classes=())


def write(folder, *lines, name="train.csv"):
    (folder / name).write_text("\n".join(lines) + "\n")


def masks_of(source):
    assert [str(problem) for problem in source.problems] == []
    return {record.id: source.read_mask(record.mask) for record in source.records}


def test_one_row_an_object(tmp_path, plain):
    """DSB2018: names without type, several rows an image; images of the test set are left out."""
    for name in ("train/a", "train/b", "test/c"):
        save(picture(1), tmp_path / f"{name}.png")
    write(tmp_path, "ImageId,EncodedPixels", f"a,{runs(blob(0, 0))}", f"a,{runs(blob(5, 6))}", "b,")
    limit = csv.field_size_limit()
    source = rle_csv.read(tmp_path, plain)
    assert csv.field_size_limit() == limit  # of the whole process
    assert rle_csv.recognise(Tree(tmp_path)) == "train.csv has a column of images and one of run lengths"
    assert source.labels.class_names == ("background", "object")
    masks = masks_of(source)
    np.testing.assert_array_equal(masks["train/a"], blob(0, 0) + blob(5, 6))
    assert (set(masks), masks["train/b"].any()) == ({"train/a", "train/b"}, False)
    assert source.remarks == [("test/c", "no annotation: left out")]


def test_classes_by_number_and_images_without_a_row(tmp_path, settings):
    """Severstal: a class for each row; an image without a defect has no row."""
    for name in ("train_images/a", "train_images/b", "test_images/c"):
        save(picture(1), tmp_path / f"{name}.jpg")
    write(tmp_path, "ImageId,ClassId,EncodedPixels", f"a.jpg,10,{runs(blob(0, 0))}", f"a.jpg,2,{runs(blob(5, 6))}")
    source = rle_csv.read(tmp_path, settings(classes=()))
    assert source.labels.class_names == ("background", "2", "10")
    masks = masks_of(source)
    np.testing.assert_array_equal(masks["train_images/a"], 2 * blob(0, 0) + blob(5, 6))
    assert not masks["train_images/b"].any()
    assert ("train_images/b", "no row in the table: background") in source.remarks
    assert "test_images/c" not in masks
    lines = tuple(MaskValue(key, None, None, name) for key, name in (("2", "scratch"), ("10", "scratch")))
    assert rle_csv.read(tmp_path, settings(classes=(), mask_values=lines)).labels.class_names[1:] == ("scratch",)


def test_an_answer_is_no_table_of_labels(tmp_path, plain):
    for name in ("train/a", "test/b"):
        save(picture(1), tmp_path / f"{name}.png")
    write(tmp_path, "ImageId,EncodedPixels", "b,1 1", name="sample_submission.csv")
    assert rle_csv.recognise(Tree(tmp_path)) is None
    with pytest.raises(DataError, match=r"but sample_submission\.csv, an answer; .* rename this one"):
        rle_csv.read(tmp_path, plain)
    write(tmp_path, "ImageId,EncodedPixels", f"a,{runs(blob(0, 0))}")
    source = rle_csv.read(tmp_path, plain)
    assert list(masks_of(source)) == ["train/a"]
    assert ("sample_submission.csv", "an answer to a contest by its name, no labels: left out") in source.remarks
    assert rle_csv.recognise(Tree(tmp_path)) == "train.csv has a column of images and one of run lengths"


def test_files_of_masks_win_over_a_table(tmp_path):
    """Carvana: both are there."""
    save(picture(1), tmp_path / "train/a.png")
    write(tmp_path, "img,rle_mask", f"a.png,{runs(blob(0, 0))}", name="train_masks.csv")
    assert rle_csv.recognise(Tree(tmp_path)) is not None
    save(picture(1, mode="L").point(lambda value: 255 * (value > 99)), tmp_path / "train_masks/a_mask.png")
    assert rle_csv.recognise(Tree(tmp_path)) is None
    lines = describe(tmp_path, project=tmp_path).lines
    assert any(line.startswith("train_masks.csv has run lengths, not used") for line in lines)


@pytest.mark.parametrize("header", ["ImageId_ClassId,EncodedPixels", "Image_Label,EncodedPixels"])
def test_image_and_class_in_one_column(tmp_path, plain, header):
    """Severstal as it was first, and the clouds' contest: one row for each class, most of them empty."""
    save(picture(1), tmp_path / "images/a_b.jpg")
    write(tmp_path, header, f"a_b.jpg_Fish,{runs(blob(2, 2))}", "a_b.jpg_Sugar,", f"a_b.jpg_Leaf,{runs(blob(6, 6))}")
    source = rle_csv.read(tmp_path, plain)
    assert source.labels.class_names == ("background", "Fish", "Leaf")
    np.testing.assert_array_equal(masks_of(source)["images/a_b"], blob(2, 2) + 2 * blob(6, 6))


@pytest.mark.parametrize(
    ("header", "by_rows"),
    [("img,rle_mask", True), ("id,rle_mask", False), ("id,class,segmentation", True), ("image_id,rle", False)],
)
def test_down_the_columns_or_along_the_rows(tmp_path, plain, header, by_rows):
    """Carvana and UW-Madison count along the rows, TGS and HuBMAP down the columns."""
    save(picture(1), tmp_path / "images/a.png")
    cells = {"img": "a.png", "id": "a", "image_id": "a", "class": "leaf"}
    write(tmp_path, header, ",".join(cells.get(name, runs(blob(2, 5), by_rows=by_rows)) for name in header.split(",")))
    source = rle_csv.read(tmp_path, plain)
    np.testing.assert_array_equal(masks_of(source)["images/a"], blob(2, 5))
    assert any("along the rows; look at" in text for _, text in source.remarks) == by_rows


def test_folder_and_beginning_of_a_name_in_one_column(tmp_path, plain):
    """UW-Madison: ids of case, day and slice; sizes at the end of the files' names."""
    ids = {f"{case}_{day}_slice_000{n}": f"train/{case}/{case}_{day}/scans/slice_000{n}_12_10_1.50_1.50"
           for case in ("case1", "case11") for day in ("day0", "day2") for n in (1, 2)}  # fmt: skip
    rows = []
    for i, (id_, name) in enumerate(ids.items()):
        save(picture(1), tmp_path / f"{name}.png")
        rows += [
            f"{id_},{label},{runs(blob(i % 7, top), by_rows=True)}" for label, top in (("bowel", 0), ("stomach", 6))
        ]
    write(tmp_path, "id,class,segmentation", *rows)
    masks = masks_of(rle_csv.read(tmp_path, plain))
    assert list(masks) == list(ids.values())
    for i, name in enumerate(ids.values()):
        np.testing.assert_array_equal(masks[name], blob(i % 7, 0) + 2 * blob(i % 7, 6))
    write(tmp_path, "id,class,segmentation", *rows, "case1_day0_slice,bowel,1 2", "case1_day0_slice_0003,bowel,1 2")
    assert [problem.place for problem in rle_csv.read(tmp_path, plain).problems] == [
        "train.csv line 18",
        "train.csv line 19",
    ]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("a,1 2 3", "no pairs"),
        ("a,119 3", "beyond the 12x10 pixels"),
        ("a,0 3", "beyond the 12x10 pixels"),
        ("a,1 x", "cannot be drawn"),
        ("b,1 2", "train.csv line 2: its image 'b' is not there"),
    ],
)
def test_a_damaged_row(tmp_path, plain, row, words):
    save(picture(1), tmp_path / "images/a.png")
    write(tmp_path, "ImageId,EncodedPixels", row)
    with pytest.raises(DataError, match=words):
        source = rle_csv.read(tmp_path, plain)
        for problem in source.problems:
            raise problem
        masks_of(source)


def test_other_tables_are_none(tmp_path, plain):
    write(tmp_path, "a,b", "1,2")
    write(tmp_path, "", name="empty.csv")
    (tmp_path / "long.csv").write_bytes(b"\xff" * 300_000)
    assert rle_csv.recognise(Tree(tmp_path)) is None
    with pytest.raises(DataError, match="no CSV file with images and run lengths"):
        rle_csv.read(tmp_path, plain)
