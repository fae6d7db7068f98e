"""Labels that are legal and likely wrong."""

import json

import numpy as np
import pytest
from PIL import Image

from maskline.convert.label_faults import rims
from tests.sets import picture, save

THREE = [{"name": name, "color": [i, i, i]} for i, name in enumerate(("ground", "rim", "leaf"))]


def square(seed, *, value=1, size=64):
    mask = np.zeros((size, size), np.uint8)
    top, left = np.random.default_rng(seed).integers(4, size - 30, 2)
    mask[top : top + 20 + seed % 5, left : left + 24] = value
    return Image.fromarray(mask)


@pytest.fixture
def converted(tmp_path, workspace):
    """Convert images with masks by their names; return what was said at the end and the counts of the summary."""

    def run(masks, *, images=None, classes=THREE):
        folder = tmp_path / "set"
        for i, mask in enumerate(masks):
            save((images or {}).get(i) or picture(i, (64, 64)), folder / f"images/{i:02d}.png")
            save(mask, folder / f"masks/{i:02d}.png")
        result = workspace.both(archive=str(folder), classes=classes)
        assert result.code == 0, result.err
        summary = json.loads((workspace.path / "reports/convert/summary.json").read_text())
        return result.err, summary["warnings"]

    return run


def test_one_mask_under_all_images(converted):
    said, counts = converted([square(0)] * 8)
    assert "8 images with one and the same mask as follows: 00, 01, 02, 03, 04 and 3 more" in said
    assert counts["images_with_one_and_the_same_mask"] == 8


def test_the_mask_of_a_neighbor(converted, workspace):
    masks = [square(i) for i in range(8)]
    said, counts = converted([*masks[:5], masks[4], *masks[6:]])
    assert "1 images with the mask of another image: 05; look at them" in said
    assert counts["the_same_mask"] == 1
    assert '05,"the same mask as 04, on another image"' in (workspace.prepared / "warnings.csv").read_text()


def test_masks_of_hardly_a_pixel_or_of_nearly_equal_images_may_be_equal(converted):
    dot = np.zeros((64, 64), np.uint8)
    dot[5, 5:20] = 1
    whole = Image.fromarray(np.ones((64, 64), np.uint8))
    brighter = picture(6, (64, 64)).point(lambda value: min(255, value + 3))
    masks = [*[Image.fromarray(dot)] * 3, *[whole] * 3, square(6), square(6)]
    said, counts = converted(masks, images={7: brighter}, classes=THREE[:2])
    assert "the same mask" not in said + str(counts)
    assert "the_same_mask" not in counts


def test_equal_images_with_different_masks(converted):
    said, counts = converted([square(i) for i in range(8)], images={3: picture(2, (64, 64))})
    assert "1 images with another mask than an equal image: 03" in said
    assert counts["another_mask_though_the_same_picture"] == 1


def resized(seed, factor):
    """A mask of 64x64 that was of another size."""
    size = round(64 / factor)
    mask = np.zeros((size, size), np.uint8)
    mask[size // 4 : size // 2 + seed % 3, size // 5 : size // 5 + size // 3 + seed // 3] = 2
    return Image.fromarray(mask).resize((64, 64), Image.Resampling.BILINEAR)


@pytest.mark.parametrize("factor", [0.5, 1.5, 2, 4])
def test_a_class_that_is_but_a_rim(factor):
    mask = np.array(resized(1, factor)).astype(np.int32)
    counts = np.bincount(mask.flat, minlength=3)
    assert counts[1] > 20
    (rim,) = rims(mask, counts)
    assert (rim.class_id, rim.smooth) == (1, True)
    assert rim.pixels >= 0.9 * counts[1]


def test_a_class_that_is_but_a_rim_in_the_whole_set(converted):
    said, counts = converted([resized(i, 1.5) for i in range(8)])
    assert "1 classes that are but a rim between others as follows: rim in 8 images (00, 01, 02, 03, 04 and 3" in said
    assert counts["classes_that_are_but_a_rim_between_others"] == 1
    assert "blended" not in said


def test_some_masks_that_were_resized(converted):
    masks = [np.array(square(i, value=2)) for i in range(8)]
    for mask in masks[:6]:
        mask[:20] = 1
    said, _ = converted([*map(Image.fromarray, masks[:7]), resized(7, 1.4)])
    assert "1 images with ids blended as by resizing other than by nearest neighbor: 07" in said


def test_thin_classes_and_rings_are_no_faults(converted):
    masks = []
    for i in range(8):
        mask = np.array(square(i, value=2))
        mask[:, 10 + i] = 1  # a pole before two others
        mask[40:60, 30:60] = 1  # a disc
        mask[44:56, 36:54] = 2  # its cup
        masks.append(Image.fromarray(mask))
    said, counts = converted(masks)
    assert "rim" not in said
    assert not [kind for kind in counts if "rim" in kind or "blended" in kind]


def test_ignored_pixels_are_no_class():
    mask = np.full((40, 40), 0, np.int32)
    mask[10:30, 10:30] = 255
    mask[11:29, 11:29] = 1
    mask[0, 0] = 2
    counts = np.bincount(mask[mask < 3], minlength=3)
    assert rims(mask, counts) == []


def test_an_image_of_one_value(converted, workspace):
    _, counts = converted([square(i) for i in range(8)], images={3: Image.new("RGB", (64, 64), (7, 7, 7))})
    assert counts["an_image_of_one_value_alone"] == 1
    assert "03,an image of one value alone" in (workspace.prepared / "warnings.csv").read_text()
