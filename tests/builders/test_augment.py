"""The augment section becomes an augmentation: what is off is absent, what cannot work is told in one line."""

import pytest

from maskline.builders.augment import augmentation
from maskline.core.errors import ParamsError
from maskline.data.labels import LabelSet
from maskline.params.whole import validate_params
from tools.trial import complete_params

LABELS = LabelSet(class_names=("background", "vessel", "optic disc"), palette=((0, 0, 0), (9, 9, 9), (7, 7, 7)))


def built(shipped_params, changes, *, batch_size=4):
    values = complete_params(shipped_params)
    for key, change in changes.items():
        *sections, last = key.split(".")
        part = values["augment"]
        for section in sections:
            part = part[section]
        part[last] = change
    section = validate_params(values).augment
    return augmentation(section, LABELS, batch_size=batch_size, mean=(120.0,) * 3, std=(60.0,) * 3)


def test_as_shipped_no_family_is_on(shipped_params):
    made = built(shipped_params, {})
    assert (made.deform, made.color_jitter, made.pixel_ops, made.mixing) == (None, None, None, None)
    assert made.fill == made.mean
    assert [transform.name for transform in made.extra] == ["RandomSharpness"], "a transform of kornia's is on"
    assert not made.within_valid


@pytest.mark.parametrize(
    ("key", "value", "family"),
    [
        ("rotate_prob", 0.5, "deform"),
        ("affine.prob", 0.5, "deform"),
        ("perspective.prob", 0.5, "deform"),
        ("elastic.prob", 0.5, "deform"),
        ("photometric.mode", "mmseg", "color_jitter"),
        ("photometric.mode", "jitter", "color_jitter"),
        ("clahe.prob", 0.5, "pixel_ops"),
        ("gamma.prob", 0.5, "pixel_ops"),
        ("grayscale.prob", 0.5, "pixel_ops"),
        ("channel_dropout.prob", 0.5, "pixel_ops"),
        ("erase.prob", 0.5, "pixel_ops"),
        ("copy_paste.prob", 0.5, "mixing"),
        ("cutmix.prob", 0.5, "mixing"),
        ("mixup.prob", 0.5, "mixing"),
    ],
)
def test_each_switches_its_family_on(shipped_params, key, value, family):
    made = built(shipped_params, {key: value})
    families = {"deform", "color_jitter", "pixel_ops", "mixing"}
    assert {name for name in families if getattr(made, name) is not None} == {family}


def test_classes_to_lend_are_found_by_name(shipped_params):
    assert built(shipped_params, {"copy_paste.prob": 0.5}).mixing.classes == (1, 2)
    named = {"copy_paste.prob": 0.5, "copy_paste.classes": ["optic disc"]}
    assert built(shipped_params, named).mixing.classes == (2,)


def test_a_fill_of_ones_own(shipped_params):
    assert built(shipped_params, {"fill": [0, 128, 255]}).fill == (0.0, 128.0, 255.0)


@pytest.mark.parametrize(
    ("changes", "batch_size", "message"),
    [
        ({"copy_paste.classes": ["vesel"]}, 4, "copy_paste.classes: 'vesel' is no class .* did you mean vessel"),
        ({"cutmix.prob": 0.5}, 1, "train.batch_size is 1; raise train.batch_size"),
        ({"elastic.magnitude_px": 20}, 4, "the image can fold: keep magnitude_px under 0.48 of spacing_px"),
        ({"erase.area": [0.5, 0.1]}, 4, "first value 0.5 is larger than the second 0.1"),
        ({"photometric.mode": "mmsegm"}, 4, "photometric.mode"),
        ({"scale": [512]}, 4, "augment.scale"),
        ({"extra": [{"name": "RandomMosaic"}]}, 4, r"augment.extra.0: .*RandomMosaic cannot be a row"),
        ({"extra": [{"name": "RandomGama"}]}, 4, "augment.extra.0: 'RandomGama' is no .* did you mean RandomGamma"),
    ],
)
def test_what_cannot_work_is_told(shipped_params, changes, batch_size, message):
    with pytest.raises(ParamsError, match=message):
        built(shipped_params, changes, batch_size=batch_size)


@pytest.mark.parametrize("scale", [[512, 1024], [[320, 640], [480, 1024]]])
def test_a_scale_is_one_pair_or_two(shipped_params, scale):
    made = built(shipped_params, {"scale": scale})
    assert made.resize.largest((100, 100))[0] > 100
