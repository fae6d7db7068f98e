from pathlib import PurePosixPath

import pytest

from maskline.convert.pairing import PairNames, detect, meaning

NINE = range(8, 17)  # numbers of one digit and of two


def places(*forms):
    return [PurePosixPath(form.format(n)) for form in forms for n in NINE]


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["images/{}.jpg", "masks/{}.png"], PairNames()),
        (["x/images/ISIC_{}.jpg", "x/masks/ISIC_{}_segmentation.png"], PairNames(mask_suffix="_segmentation")),
        (["{}.jpg", "{}_mask.png"], PairNames(image_dir=".", mask_dir=".", mask_suffix="_mask")),
        (["train/{}.jpg", "train/{}_mask.png"], PairNames(image_dir=".", mask_dir=".", mask_suffix="_mask")),
        (["img_dir/train/{}.jpg", "ann_dir/train/{}.png"], PairNames(image_dir="img_dir", mask_dir="ann_dir")),
        (["images/{}.jpg", "label/{}.npy"], PairNames(mask_dir="label")),
        (
            ["Images/{}_image.jpg", "GT/{}_gt.png"],
            PairNames(image_dir="Images", mask_dir="GT", image_suffix="_image", mask_suffix="_gt"),
        ),
        (
            [
                "train_images/{}0.jpg",
                "Val_images/{}1.jpg",
                "train_masks/{}0.png",
                "Val_masks/{}1.png",
                "test_images/{}.jpg",
            ],
            PairNames(image_dir="SPLIT_images", mask_dir="SPLIT_masks"),
        ),
    ],
)
def test_one_rule_pairs_all(files, names):
    rule = detect(places(*files))
    assert (rule.names, rule.pairs, rule.alone) == (names, 18 if "SPLIT" in names.mask_dir else 9, 0)


def test_what_is_left_alone_is_counted():
    files = places("images/{}.jpg", "masks/{}.png")
    assert detect(files[:-2]).alone == 2
    assert detect(places("photos of {}.jpg")) is None
    assert detect(places("{}.jpg")) is None, "1 and 10 are no pair"
    assert detect([]) is None


@pytest.mark.parametrize(
    ("place", "known"),
    [
        ("a/valid/images/1.png", ("image", "val", "val/1")),
        ("images/test/sub/1.png", ("image", "test", "test/sub/1")),
        ("masks/1_seg.png", None),
        ("masks/1_labelIds.PNG", ("mask", None, "1")),
        ("valid/1.png", ("valid", None, "1")),
        ("elsewhere/1.png", None),
    ],
)
def test_what_a_path_means(place, known):
    assert meaning(PurePosixPath(place), PairNames(mask_suffix="_labelIds.png")) == known


@pytest.mark.parametrize(
    ("place", "known"),
    [
        ("set/Training_images/sub/1.png", ("image", "train", "train/sub/1")),
        ("valid_masks/1.png", ("mask", "val", "val/1")),
        ("contest_images/1.png", None),
        ("train_images2/1.png", None),
    ],
)
def test_folders_with_the_split_in_their_names(place, known):
    assert meaning(PurePosixPath(place), PairNames(image_dir="SPLIT_images", mask_dir="SPLIT_masks")) == known


def test_side_by_side_in_the_folders_of_splits():
    names = PairNames(image_dir=".", mask_dir=".", mask_suffix="_m")
    assert meaning(PurePosixPath("valid/1_m.png"), names) == ("mask", "val", "val/1")
    assert meaning(PurePosixPath("valid/1.jpg"), names) == ("image", "val", "val/1")
