"""Scale, crop, rotation, flips: MMSegmentation's numbers, one warp, labels that stay labels."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from maskline.augment import deform, geometric
from maskline.augment.deform import Deform
from maskline.augment.geometric import Geometry
from maskline.augment.warp import Reading, warp
from maskline.core.seeds import numpy_generator


def plain(scaled, origin=(0, 0), **changes):
    return Geometry(
        **{
            "scaled_size": scaled,
            "crop_origin": origin,
            "rotate_degrees": 0.0,
            "flip_horizontal": False,
            "flip_vertical": False,
            "bend": None,
            **changes,
        }
    )


def warp_one(image, mask, geometry, crop_size, *, whole=True, ignore_index=255):
    """Warp an HWC image and its mask; ``whole`` reads the source itself, else its region."""
    size = mask.shape
    transform = geometric.matrix(geometry, size=size, crop_size=crop_size)
    bend = geometry.bend
    elastic = bend.elastic if bend else None
    beyond = elastic.magnitude_px if elastic else 0.0
    box = (0, 0, *size) if whole else geometric.source_box(transform, size=size, crop_size=crop_size, beyond=beyond)
    top, left, bottom, right = box
    reading = Reading(
        transforms=torch.from_numpy(transform)[None].float(),
        boxes=torch.tensor([box]).float(),
        sizes=torch.tensor([size]).float(),
        crop_size=crop_size,
        fields={0: deform.field(elastic, crop_size)} if elastic else {},
        projective=bool(bend and bend.tilt),
    )
    images = torch.from_numpy(image[top:bottom, left:right]).permute(2, 0, 1)[None]
    masks = torch.from_numpy(mask[top:bottom, left:right])[None]
    fill = torch.tensor([1.0, 2.0, 3.0])
    warped, (labels,), _ = warp(images, [(masks, ignore_index)], reading, fill=fill)
    return warped[0].permute(1, 2, 0).numpy(), labels[0].numpy()


def picture(height, width, num_classes=4, seed=0):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    return image, rng.integers(0, num_classes, (height, width), dtype=np.uint8)


def test_identity_is_exact():
    image, mask = picture(20, 30)
    warped, labels = warp_one(image, mask, plain((20, 30)), (20, 30))
    np.testing.assert_allclose(warped, image, atol=1e-3)
    np.testing.assert_array_equal(labels, mask)


def test_crop_takes_its_box():
    image, mask = picture(20, 30)
    warped, labels = warp_one(image, mask, plain((20, 30), (3, 5)), (8, 9))
    np.testing.assert_allclose(warped, image[3:11, 5:14], atol=1e-3)
    np.testing.assert_array_equal(labels, mask[3:11, 5:14])


def test_flips_mirror_the_crop():
    image, mask = picture(20, 30)
    both = plain((20, 30), (3, 5), flip_horizontal=True, flip_vertical=True)
    warped, labels = warp_one(image, mask, both, (8, 9))
    np.testing.assert_allclose(warped, image[3:11, 5:14][::-1, ::-1], atol=1e-3)
    np.testing.assert_array_equal(labels, mask[3:11, 5:14][::-1, ::-1])


def test_quarter_turn_is_clockwise():
    image, mask = picture(9, 9)
    warped, labels = warp_one(image, mask, plain((9, 9), rotate_degrees=90.0), (9, 9))
    np.testing.assert_allclose(warped, np.rot90(image, -1), atol=1e-2)
    np.testing.assert_array_equal(labels, np.rot90(mask, -1))


@pytest.mark.parametrize("scaled", [(40, 60), (30, 45), (10, 15)])
def test_scaling_equals_a_resize(scaled):
    image, mask = picture(20, 30)
    warped, _ = warp_one(image, mask, plain(scaled), scaled)
    chw = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    resized = F.interpolate(chw, size=scaled, mode="bilinear", align_corners=False)
    np.testing.assert_allclose(warped, resized[0].permute(1, 2, 0).numpy(), atol=1e-2)


@pytest.mark.parametrize("flips", [{"flip_horizontal": True}, {"flip_vertical": True}])
def test_a_small_image_is_mirrored_before_it_is_padded(flips):
    """As MMSegmentation: what is added stays at the right and the bottom."""
    image, mask = picture(10, 12)
    warped, labels = warp_one(image, mask, plain((10, 12), **flips), (14, 20))
    axis = 1 if "flip_horizontal" in flips else 0
    np.testing.assert_array_equal(labels[:10, :12], np.flip(mask, axis))
    np.testing.assert_allclose(warped[:10, :12], np.flip(image, axis), atol=1e-3)
    assert (labels[10:] == 255).all()
    assert (labels[:, 12:] == 255).all()


def test_outside_is_fill_and_ignored():
    image, mask = picture(10, 10)
    warped, labels = warp_one(image, mask, plain((10, 10)), (12, 16), ignore_index=77)
    np.testing.assert_array_equal(labels[:10, :10], mask)
    assert (labels[10:] == 77).all()
    assert (labels[:, 10:] == 77).all()
    np.testing.assert_array_equal(warped[11, 12], [1.0, 2.0, 3.0])


@pytest.mark.parametrize(
    ("beyond", "is_outside"), [(0.3, False), (0.45, False), (0.5, False), (0.55, True), (0.7, True)]
)
def test_the_source_ends_half_a_pixel_beyond_its_outermost_centres(beyond, is_outside):
    height, width = 6, 8
    image = torch.full((4, 1, 10, 12), 99.0)  # the region is smaller than the batch's largest: 99 pads it
    image[:, :, :height, :width] = torch.arange(height * width).view(height, width)
    mask = image[:, 0].long()
    transforms = torch.eye(3).repeat(4, 1, 1)
    transforms[:, :2, 2] = torch.tensor([[-beyond, 0], [beyond, 0], [0, -beyond], [0, beyond]])
    reading = Reading(
        transforms=transforms,
        boxes=torch.tensor([[0.0, 0, height, width]]).repeat(4, 1),
        sizes=torch.tensor([[height, width]]).repeat(4, 1),
        crop_size=(height, width),
        fields={},
        projective=False,
    )
    warped, (labels,), outside = warp(image, [(mask, 255)], reading, fill=torch.tensor([200.0]))
    for i, line in enumerate([(..., 0), (..., width - 1), (0, ...), (height - 1, ...)]):
        assert outside[i].any() == is_outside
        assert (outside[i][line] == is_outside).all()
        expected = mask[i, :height, :width][line]
        assert torch.equal(labels[i][line], torch.full_like(expected, 255) if is_outside else expected)
        assert torch.allclose(warped[i, 0][line], torch.full((), 200.0) if is_outside else expected.float(), atol=1e-4)


@settings(max_examples=60)
@given(
    height=st.integers(16, 60),
    width=st.integers(16, 60),
    seed=st.integers(0, 2**16),
    degrees=st.floats(0, 180),
    crop=st.tuples(st.integers(4, 50), st.integers(4, 50)),
    bends=st.booleans(),
)
def test_region_gives_what_the_whole_image_gives(height, width, seed, degrees, crop, bends):
    image, mask = picture(height, width, seed=seed)
    mask += 1  # no class 0: a border that is class 0 by mistake would be a new label
    rng = numpy_generator(seed, "test")
    geometry = geometric.draw(
        rng,
        mask,
        scaled=tuple(max(int(side * rng.uniform(0.5, 2)), 1) for side in mask.shape),
        crop_size=crop,
        cat_max_ratio=0.75,
        rotate_degrees=degrees,
        flip_horizontal=0.5,
        flip_vertical=0.5,
        ignore_index=255,
        index=None,
    )
    if bends:
        options = {"rotate_prob": 0.5, "affine_prob": 0.7, "perspective_prob": 0.7, "elastic_prob": 0.7}
        amounts = {"shear_degrees": 20.0, "translate": 0.3, "tilt": 0.8, "magnitude_px": 4.0, "spacing_px": 10.0}
        geometry = geometric.bent(geometry, Deform(**options, **amounts).draw(rng, crop))
    whole_image, whole_mask = warp_one(image, mask, geometry, crop)
    image_of_region, mask_of_region = warp_one(image, mask, geometry, crop, whole=False)
    np.testing.assert_array_equal(mask_of_region, whole_mask)
    np.testing.assert_allclose(image_of_region, whole_image, atol=0.05)
    assert set(np.unique(whole_mask)) <= {*np.unique(mask).tolist(), 255}


def mixed_crops(cat_max_ratio):
    """Return how many of 60 seeded crops hold two classes, neither above three quarters."""
    mask = np.zeros((64, 64), dtype=np.uint8)
    mask[:24, :24] = 1
    count = 0
    for seed in range(60):
        geometry = geometric.draw(
            numpy_generator(seed, "crop"),
            mask,
            scaled=(64, 64),
            crop_size=(16, 16),
            cat_max_ratio=cat_max_ratio,
            rotate_degrees=0,
            flip_horizontal=0,
            flip_vertical=0,
            ignore_index=255,
            index=None,
        )
        top, left = geometry.crop_origin
        count += bool(0.25 < mask[top : top + 16, left : left + 16].mean() < 0.75)
    return count


def test_crop_avoids_one_class_where_it_can():
    by_chance, drawn_again = mixed_crops(1.0), mixed_crops(0.75)
    assert by_chance < 15
    assert drawn_again > 2 * by_chance
    assert drawn_again > 30


def test_ignored_pixels_do_not_make_a_crop_mixed():
    mask = np.zeros((16, 16), dtype=np.uint8)
    mask[8:] = 255
    assert not geometric._is_mixed(mask, cat_max_ratio=0.75, ignore_index=255)
    mask[8:] = 1
    assert geometric._is_mixed(mask, cat_max_ratio=0.75, ignore_index=255)
