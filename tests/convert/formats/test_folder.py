import numpy as np
import pytest
from PIL import Image

from maskline.convert.formats import folder
from maskline.convert.pairing import PairNames
from maskline.core.errors import DataError
from maskline.projects.new_data import describe
from tests.sets import index_mask, picture, save


def put(root, *names):
    for i, name in enumerate(names):
        path = root / name
        if "image" in name.lower() and path.suffix.lower() in (".png", ".jpg"):
            save(picture(i), path)
        elif path.suffix in (".png", ".tif"):
            save(index_mask(i), path)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
    return root


def found(source):
    return {(record.id, record.split) for record in source.records}


def test_without_splits(tmp_path, settings):
    put(tmp_path, "images/a.jpg", "images/b.png", "masks/a.png", "masks/b.png")
    source = folder.read(tmp_path, settings())
    assert found(source) == {("a", None), ("b", None)}
    assert {record.group for record in source.records} == {"a", "b"}
    assert source.problems == []
    assert source.labels.class_names == ("background", "vessel")
    assert source.labels.palette == ((0, 0, 0), (255, 0, 0))
    record = source.records[0]
    assert np.array_equal(source.read_mask(record.mask), np.array(index_mask(2)))


@pytest.mark.parametrize("pattern", ["{split}/{kind}/a.png", "{kind}/{split}/a.png", "Top/x/{split}/{kind}/a.png"])
@pytest.mark.parametrize(
    ("word", "split"),
    [("train", "train"), ("val", "val"), ("valid", "val"), ("Validation", "val"), ("TEST", "test")],
)
def test_split_folders_above_and_below(tmp_path, settings, pattern, word, split):
    put(tmp_path, *(pattern.format(split=word, kind=kind) for kind in ("Images", "MASKS")))
    source = folder.read(tmp_path, settings())
    assert found(source) == {(f"{split}/a", split)}
    assert source.problems == []


def test_second_and_valid_masks(tmp_path, settings):
    put(tmp_path, "train/images/a.png", "train/masks/a.png", "train/second/a.png", "train/valid/a.png")
    (record,) = folder.read(tmp_path, settings()).records
    assert record.second == tmp_path / "train/second/a.png"
    assert record.valid == tmp_path / "train/valid/a.png"
    assert record.split == "train"


def test_folders_below_are_part_of_the_id(tmp_path, settings):
    put(tmp_path, "images/x/a.png", "images/y/a.png", "masks/x/a.png", "masks/y/a.png")
    assert found(folder.read(tmp_path, settings())) == {("x/a", None), ("y/a", None)}


def test_what_does_not_belong_is_ignored(tmp_path, settings):
    put(tmp_path, "images/a.png", "masks/a.png", "README.txt", ".git/images/b.png", "__MACOSX/images/._a.png", "c.png")
    put(tmp_path, "images/.DS_Store")
    source = folder.read(tmp_path, settings())
    assert found(source) == {("a", None)}
    assert source.problems == []


def test_documents_beside_images_are_left_out_with_a_remark(tmp_path, settings):
    put(tmp_path, "images/a.png", "masks/a.png", "images/LICENSE", "images/ATTRIBUTION.txt", "masks/notes.md")
    source = folder.read(tmp_path, settings())
    assert source.problems == []
    said = "3 files that are no images left out as follows: images/ATTRIBUTION.txt and 2 more"
    assert source.remarks == [("data set", said)]


def test_images_of_other_folders_are_left_out_with_a_remark(tmp_path, settings):
    put(tmp_path, "train/images/a.png", "train/masks/a.png", "more_images/a.png", "more_images/b.png")
    source = folder.read(tmp_path, settings())
    assert source.remarks == [("data set", "left out as follows: 2 images in other folders (more_images)")]


def test_parts_with_equal_names(tmp_path, settings):
    put(tmp_path, *(f"Tile {n}/{kind}/a.png" for n in (1, 2) for kind in ("images", "masks")))
    source = folder.read(tmp_path, settings())
    assert found(source) == {("Tile 1/a", None), ("Tile 2/a", None)}
    assert all(record.image.parent.parent == record.mask.parent.parent for record in source.records)
    assert source.problems == []


def test_one_more_mask_side_by_side_is_named(tmp_path, settings):
    put(tmp_path, "a.png", "a_mask.png", "a_mask_1.png")
    names = PairNames(image_dir=".", mask_dir=".", mask_suffix="_mask")
    (problem,) = folder.read(tmp_path, settings(names=names)).problems
    assert str(problem).startswith("a_mask_1.png: one more mask beside a_mask.png; merge them")


def test_numbered_binary_masks_of_an_image_are_merged(tmp_path, settings):
    for name in ("a", "b_1"):
        save(picture(0, (4, 2)), tmp_path / f"{name}.png")
    for n, name in enumerate(["a_mask", "a_mask_1", "a_mask_2", "b_1_mask"]):
        save(
            Image.fromarray(np.array([[0] * 4, [255 * (n == i) for i in range(4)]], np.uint8)), tmp_path / f"{name}.png"
        )
    names = PairNames(image_dir=".", mask_dir=".", mask_suffix="_mask")
    source = folder.read(tmp_path, settings(names=names, mask_encoding="binary"))
    assert (source.problems, found(source)) == ([], {("a", None), ("b_1", None)})
    assert source.read_mask(tmp_path / "a_mask.png").tolist() == [[0, 0, 0, 0], [1, 1, 1, 0]]
    remark = "2 further masks merged into the first of their images, such as a_mask_1.png into a_mask.png"
    assert source.remarks == [("data set", remark)]
    said = describe(tmp_path, project=tmp_path).lines
    assert remark in said
    assert not any("no partner" in line for line in said)
    save(index_mask(0), tmp_path / "a_mask_2.png")
    with pytest.raises(DataError, match=r"a_mask_2.png: 12x10 pixels, a_mask.png has 4x2"):
        source.read_mask(tmp_path / "a_mask.png")


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (["images/b.png"], "images/b.png: image without a mask"),
        (["masks/b.png"], "masks/b.png: mask without an image"),
        (["second/b.png"], "second/b.png: mask without an image"),
        (["images/a.jpg"], r"two image files of one name \(a.jpg and a.png\)"),
        (["images/notes.doc"], "images/notes.doc: not an image file"),
        (["images/a.txt"], "images/a.txt: not an image file"),
        (["train/images/b.png", "train/masks/b.png"], "images/a.png: in no split folder, others are"),
    ],
)
def test_problems(tmp_path, settings, names, problem):
    put(tmp_path, "images/a.png", "masks/a.png", *names)
    (found_problem,) = folder.read(tmp_path, settings()).problems
    with pytest.raises(DataError, match=problem):
        raise found_problem


def test_empty_folders(tmp_path, settings):
    with pytest.raises(DataError, match="images/: no images in it"):
        folder.read(tmp_path, settings())
    put(tmp_path, "images/a.png", "images/b.png")
    (tmp_path / "masks").mkdir()
    with pytest.raises(DataError, match="masks/: no images in it"):
        folder.read(tmp_path, settings())


def test_encodings(tmp_path, settings):
    ids = np.array(index_mask(0))
    as_palette = Image.fromarray(ids)
    as_palette.putpalette([7, 7, 7, 9, 9, 9])
    for encoding, image in (
        ("index", Image.fromarray(ids)),
        ("palette", as_palette),
        ("binary", Image.fromarray(ids * 255)),
        ("color", Image.fromarray(np.stack([ids * 255, ids * 0, ids * 0], -1))),
    ):
        path = save(image, tmp_path / f"{encoding}.png")
        assert np.array_equal(folder.mask_reader(settings(mask_encoding=encoding))(path), ids), encoding


def test_classes_that_do_not_fit(settings):
    three = (("a", (0, 0, 0)), ("b", (1, 1, 1)), ("c", (1, 1, 1)))
    with pytest.raises(DataError, match="3 classes with 0/255 masks"):
        folder.mask_reader(settings(mask_encoding="binary", classes=three))
    with pytest.raises(DataError, match="two classes have one color"):
        folder.mask_reader(settings(mask_encoding="color", classes=three))
