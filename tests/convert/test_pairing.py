from pathlib import PurePosixPath

import pytest

from maskline.convert.detecting import also, detect, several_masks, unpaired
from maskline.convert.pairing import PairNames, left_out, meaning, meanings

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
        (["images/image_{}.png", "masks/mask_{}.png"], PairNames(image_prefix="image_", mask_prefix="mask_")),
        (["{}.png", "mask_{}.png"], PairNames(image_dir=".", mask_dir=".", mask_prefix="mask_")),
        (["images/{}.jpg", "masks/{}.jpg.png"], PairNames(mask_suffix=".jpg.png")),
        (
            ["a/{}.jpg", "a/{}.png"],
            PairNames(image_dir=".", mask_dir=".", image_suffix=".jpg", mask_suffix=".png"),
        ),
        (["x/{}.png", "y/{}.png"], PairNames(image_dir="x", mask_dir="y")),
        (
            ["d/img/{}.jpg", "d/masks_human/{}.png", "d/masks_machine/{}.png"],
            PairNames(image_dir="img", mask_dir="masks_machine"),
        ),
        (["images/IMG_{}.JPG", "masks/img_{}.png"], PairNames()),
        (["images/Blu\u0308te{}.JPG", "masks/Bl\u00fcte{}.png"], PairNames()),
    ],
)
def test_one_rule_pairs_all(files, names):
    rule = detect(places(*files))
    assert (rule.names, rule.pairs, rule.alone) == (names, 18 if "SPLIT" in names.mask_dir else 9, 0)


@pytest.mark.parametrize(
    ("images", "masks", "end"),
    [
        ("{}", "{}_masks", ""),
        ("{}", "{}_labels", "_L"),
        ("{}", "{}annot", ""),
        ("{}_img", "{}_lab", ""),
        ("x_{}", "y_{}", ""),
    ],
)
def test_folders_of_splits_pair_in_all_splits(images, masks, end):
    files = [
        PurePosixPath(folder.format(split), f"{split}{n}{tail}.png")
        for split in ("train", "val", "test")
        for n in NINE
        for folder, tail in ((images, ""), (masks, end))
    ]
    rule = detect(files)
    names = PairNames(image_dir=images.format("SPLIT"), mask_dir=masks.format("SPLIT"), mask_suffix=end)
    assert (rule.names, rule.pairs, rule.alone) == (names, 27, 0)
    rule = detect(files[:-1])
    assert (rule.names, rule.pairs, rule.alone) == (names, 26, 1), "one split without a fault is not taken alone"
    splits = {split for _, split, _ in meanings(files, names).values()}
    assert splits == {"train", "val", "test"}


def test_odd_files_side_by_side_are_alone():
    files = [*places("{}.jpg", "{}_mask.png"), PurePosixPath("8_mask_1.png"), PurePosixPath("legend.png")]
    rule = detect(files)
    assert (rule.names.mask_suffix, rule.pairs, rule.alone) == ("_mask", 9, 2)


def test_files_of_other_types_beside():
    rule = detect(places("images/{}.jpg", "masks/{}.jpg", "masks/{}.png"))
    assert (rule.names, rule.pairs, rule.left) == (PairNames(mask_suffix=".png"), 9, 9), "no mask is a JPEG by choice"
    both = [f"set_{split}/{{}}{end}" for split in ("train", "test") for end in (".jpg", "_superpixels.png")]
    rule = detect(places(*both, "gt_train/{}_gt.png", "gt_test/{}_gt.png"))
    assert (rule.names.image_suffix, rule.names.mask_suffix, rule.pairs, rule.left) == (".jpg", "_gt", 18, 18)


def test_arrays_are_no_images():
    assert detect(places("images/{}.npy", "masks/{}.npy")) is None
    assert detect(places("images/{}.png", "masks/{}.npy")).pairs == 9


def test_what_is_given_is_not_found_anew():
    files = places("images/{}.jpg", "masks/{}_leaf.png", "masks/{}_stem.png")
    assert detect(files, {"mask_suffix": "_stem"}).names == PairNames(mask_suffix="_stem")
    assert detect(files, {"image_dir": "photos"}) is None


def test_folders_that_pair_as_well():
    files = places("images/{}.jpg", "masks/{}.png", "masks_human/{}.png", "masks_old/1{}.png")
    assert also(files, detect(files)) == ["masks_human"]


@pytest.mark.parametrize(
    ("files", "second", "options"),
    [
        (
            ["images/{}.jpg", "masks/{}_a.png", "masks/{}_b.png"],
            "masks/10_b.png",
            "-S data.mask_dir=masks -S data.mask_suffix=_a",
        ),
        (
            ["images/{}.jpg", "masks/{}_1.png", "masks/{}_2.png"],
            "masks/10_2.png",
            "-S data.mask_dir=masks -S data.mask_suffix=_1",
        ),
        (["images/{}.jpg", "masks/a/{}.png", "masks/b/{}.png"], "masks/b/10.png", "-S data.mask_dir=a"),
        (["{}.jpg", "{}_a.png", "{}_b.png"], "10_b.png", ""),
    ],
)
def test_several_masks_an_image(files, second, options):
    several = several_masks(sorted(places(*files)))
    assert (several.second, several.options) == (second, options)


def test_one_mask_an_image_is_not_several():
    assert several_masks(places("images/{}.jpg", "masks/{}.png")) is None
    assert several_masks([*places("images/{}.jpg", "masks/{}_a.png"), PurePosixPath("masks/8_b.png")]) is None
    assert several_masks(places("{}.jpg", "{}_1.jpg", "{}_2.jpg")) is None, "these are photos"


def test_names_that_no_rule_pairs():
    assert unpaired(places("images/00{}.jpg", "masks/{}9.png")) == ("images/008.jpg", "masks/89.png")
    assert unpaired(places("{}.jpg")) is None


def test_equal_names_in_several_folders_have_ids_with_the_folders():
    names = PairNames()
    files = places("x/Tile {}/images/a.jpg", "x/Tile {}/masks/a.png")
    known = meanings(files, names)
    assert detect(files).pairs == 9
    assert known[files[0]] == ("image", None, "Tile 8/a")
    assert known[PurePosixPath("x/Tile 8/masks/a.png")] == ("mask", None, "Tile 8/a")
    assert meanings(files[:1], names)[files[0]] == ("image", None, "a"), "only where they are needed"
    apart = [PurePosixPath(f"{n}/images/a.jpg") for n in NINE] + [PurePosixPath("masks/a.png")]
    assert {id_ for _, _, id_ in meanings(apart, names).values()} == {"a"}, "no mask becomes that of nine images"


def test_folders_around_all_tell_the_split():
    files = places("set_train/{}/images/a.jpg", "set_train/{}/masks/a.png", "set_val/9{}/images/a.jpg")
    known = meanings(files, PairNames())
    assert {known[files[0]][2], known[files[-1]][2]} == {"train/8/a", "val/916/a"}
    assert known[files[-1]][1] == "val"
    assert meanings(files[:-9], PairNames())[files[0]][1] is None, "one word alone is no split"


def test_letter_case_never_pairs_two_with_one():
    files = [
        PurePosixPath(text) for text in ("images/A.jpg", "images/a.JPG", "masks/a.png", "images/B.jpg", "masks/b.png")
    ]
    ids = {str(place): id_ for place, (_, _, id_) in meanings(files, PairNames()).items()}
    assert (ids["masks/a.png"], ids["masks/b.png"]) == ("a", "B")
    both = [
        PurePosixPath(text)
        for text in ("images/A.jpg", "images/a.JPG", "masks/aA.png", "images/Aa.jpg", "masks/AA.png")
    ]
    assert meanings(both, PairNames())[both[2]][2] == "aA"


def test_what_is_left_out_is_told_by_kinds():
    files = places("images/{}_0000.png", "images/{}_0001.png", "masks/{}.png", "elsewhere/{}.png", "masks/{}_0001.png")
    assert left_out([*files, PurePosixPath("images/a.png")], PairNames(image_suffix="_0000")) == [
        "9 images in other folders (elsewhere)",
        "9 files of other channels (_0001): only the channel _0000 is read",
        "1 files whose names begin or end otherwise (images/a.png)",
    ]


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
