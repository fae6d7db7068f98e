"""The whole pipeline: streams that do not disturb each other, masks that move together, borders, mixed sizes."""

import hashlib
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from maskline.augment.color_jitter import ColorJitter
from tests.augment.conftest import augmentation, batch_of, bending, effects, mixing, picture, resize

STEPS = ColorJitter(
    mode="mmseg", prob=0.5, brightness=32.0, contrast=(0.5, 1.5), saturation=(0.5, 1.5), hue_degrees=36.0
)
BENDS = {"affine_prob": 0.7, "perspective_prob": 0.7, "elastic_prob": 0.7}
DEFAULT = {
    "crop_size": (128, 128),
    "resize": resize(ratio_range=(0.75, 1.5)),
    "rotate_degrees": 15.0,
    "flip_horizontal": 0.5,
    "flip_vertical": 0.5,
    "photometric_prob": 0.5,
    "brightness": 16.0,
    "contrast": (0.8, 1.2),
    "saturation": (0.8, 1.2),
    "hue_degrees": 8.0,
}
# Of the draws before any of the families but the first existed: they must stay what they were.
DRAWS_SHA256 = "df57d4cc859fb721e8458bdcf94c64114361584d993ec61ec296b6a1a5d61964"


def draws(made, count=40):
    mask = picture(256, 256)[1]
    return [made.draw(mask, seed=0, iteration=i // 8, position=i % 8, index=None) for i in range(count)]


def test_draws_of_the_default_settings_are_what_they_were():
    text = json.dumps([draw.to_dict() for draw in draws(augmentation(**DEFAULT))], sort_keys=True)
    assert hashlib.sha256(text.encode()).hexdigest() == DRAWS_SHA256


@pytest.mark.parametrize(
    "family",
    [
        {"deform": bending(**BENDS)},
        {"pixel_ops": effects(clahe_prob=0.5, erase_prob=0.5)},
        {"mixing": mixing(batch_size=8, cutmix_prob=0.5, copy_paste_prob=0.5, mixup_prob=0.5)},
        {"color_jitter": STEPS},
        {"resize": resize(ratio_range=(0.75, 1.5), scale=((256, 256), (256, 256)))},
    ],
    ids=lambda family: next(iter(family)),
)
def test_a_family_changes_no_other_familys_draws(family):
    def rest(draw, *without):
        found = draw.to_dict()
        for name in ("bend", "scaled_size", "crop_origin"):
            found["geometry"].pop(name, None)
        for name in ("brightness", "contrast", "saturation", "hue_degrees"):
            found["photometric"].pop(name)
        return {name: part for name, part in found.items() if name not in without}

    plain, changed = draws(augmentation(**DEFAULT)), draws(augmentation(**{**DEFAULT, **family}))
    assert [rest(draw) for draw in plain] == [rest(draw, "effect", "mix", "steps") for draw in changed]
    assert plain != changed


def everything(**changes):
    return augmentation(
        **{
            "rotate_degrees": 40.0,
            "flip_horizontal": 0.5,
            "flip_vertical": 0.5,
            "deform": bending(**BENDS),
            "pixel_ops": effects(erase_prob=0.5, gamma_prob=0.5, channel_dropout_prob=0.3),
            "mixing": mixing(copy_paste_prob=0.5, cutmix_prob=0.5),
            "color_jitter": STEPS,
            "blur_prob": 0.3,
            "noise_prob": 0.3,
            **changes,
        }
    )


sizes_of_a_batch = st.lists(st.tuples(st.integers(9, 90), st.integers(9, 90)), min_size=4, max_size=4)


@settings(max_examples=40)
@given(sizes=sizes_of_a_batch, seed=st.integers(0, 2**16), keep=st.booleans())
def test_all_masks_move_together_and_stay_labels(sizes, seed, keep):
    """The second annotation and the valid area are the mask itself: they must come out as it does."""
    made = everything(resize=resize(keep_ratio=keep, scale=None if keep else (40, 60)))
    pictures = [picture(*size, seed=seed + i) for i, size in enumerate(sizes)]
    extra = [(mask == 2, np.where(mask == 3, 1, mask).astype(np.uint8)) for _, mask in pictures]
    batch = batch_of(made, pictures, seed=seed, annotations=True, extra=extra)
    out = made.apply(batch, torch.device("cpu"))
    assert out.images.shape == (4, 3, 32, 40)
    assert out.images.isfinite().all()
    assert out.images.min() >= 0
    assert out.images.max() <= 255
    assert set(out.targets.unique().tolist()) <= {1, 2, 3, 255}
    assert torch.equal(out.valid, out.targets == 2)
    assert torch.equal(out.second, torch.where(out.targets == 3, 1, out.targets))
    without = made.apply(batch_of(made, pictures, seed=seed), torch.device("cpu"))
    assert torch.equal(without.images, out.images), "annotations change nothing of what training sees"
    assert torch.equal(without.targets, out.targets)


@settings(max_examples=40)
@given(sizes=sizes_of_a_batch, seed=st.integers(0, 2**16))
def test_outside_is_the_fill_color_and_ignored(sizes, seed):
    """White images on a fill of (10, 20, 30): what is not ignored is white, what is ignored is not all white."""
    made = augmentation(rotate_degrees=180.0, deform=bending(**BENDS), flip_horizontal=0.5)
    pictures = [(np.full((*size, 3), 255, dtype=np.uint8), picture(*size)[1]) for size in sizes]
    out = made.apply(batch_of(made, pictures, seed=seed), torch.device("cpu"))
    inside = out.targets != 255
    white = out.images.permute(0, 2, 3, 1)
    torch.testing.assert_close(white[inside], torch.full_like(white[inside], 255.0), atol=0.01, rtol=0)
    torch.testing.assert_close(
        white[~inside], torch.tensor([10.0, 20.0, 30.0]).expand_as(white[~inside]), atol=0.01, rtol=0
    )


def test_mmsegs_padding_is_not_distorted(cpu):
    made = augmentation(color_jitter=STEPS, resize=resize(ratio_range=(0.5, 0.6)))
    out = made.apply(batch_of(made, [picture(30, 30, seed=i) for i in range(4)]), cpu)
    outside = out.images.permute(0, 2, 3, 1)[out.targets == 255]
    assert len(outside) > 100
    assert (outside == torch.tensor([10.0, 20.0, 30.0])).all()


@pytest.mark.parametrize("within", [False, True])
def test_pixels_outside_the_valid_area_are_ignored_where_told(within, cpu):
    made = augmentation(within_valid=within, crop_size=(30, 30), resize=resize(ratio_range=(1.0, 1.0)))
    image, mask = picture(30, 30)
    valid = np.zeros((30, 30), dtype=bool)
    valid[5:20, 8:25] = True
    out = made.apply(batch_of(made, [(image, mask)], extra=[(valid, None)]), cpu)
    expected = np.where(valid, mask, 255) if within else mask
    np.testing.assert_array_equal(out.targets[0].numpy(), expected)


def test_an_ignore_index_of_two_bytes_fits(cpu):
    made = augmentation(within_valid=True, ignore_index=999, crop_size=(10, 12), resize=resize(ratio_range=(1.0, 1.0)))
    image, mask = picture(10, 12)
    out = made.apply(batch_of(made, [(image, mask)], extra=[(np.zeros((10, 12), dtype=bool), None)]), cpu)
    assert out.targets.unique().tolist() == [999]


def test_images_of_all_sizes_in_one_batch_do_not_disturb_each_other(cpu):
    made = augmentation(rotate_degrees=20.0, deform=bending(**BENDS))
    small, large = picture(9, 70, seed=1), picture(200, 41, seed=2)
    together = made.apply(batch_of(made, [small, large]), cpu)
    alone = made.apply(batch_of(made, [small]), cpu)
    assert torch.equal(together.targets[0], alone.targets[0])
    torch.testing.assert_close(together.images[0], alone.images[0], atol=0.05, rtol=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_agrees_within_one_gray_level(cpu):
    made = everything(color_jitter=None, photometric_prob=0.5)
    batch = batch_of(made, [picture(90, 120, seed=i) for i in range(4)])
    here, there = made.apply(batch, cpu), made.apply(batch, torch.device("cuda"))
    same = here.targets == there.targets.cpu()
    assert same.float().mean() > 0.999, "a position on the very edge between two pixels can fall either way"
    difference = (here.images - there.images.cpu()).abs().amax(1)
    assert difference[same].max() <= 1
