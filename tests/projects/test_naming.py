"""Names follow from settings, and change with them."""

import pytest

from maskline.params.whole import load_params, validate_params
from maskline.projects import naming, recipes
from tools.trial import complete_params


@pytest.fixture(scope="module")
def plain(shipped_params):
    return complete_params(shipped_params)


def named(values, **changes):
    values = validate_params(values).model_dump(mode="json")
    for dotted, value in changes.items():
        *path, last = dotted.split("__")
        section = values
        for key in path:
            section = section[key]
        section[last] = value
    return naming.name(validate_params(values))


def test_the_shipped_settings(plain):
    assert named(plain) == "unet-s4-d8-w16_fcn_1xb8-ce-1.0-softdice-1.0-1.2k_synthetic-fundus-128x128"


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"train__iterations": 20000}, "-20k_"),
        ({"train__batch_size": 4}, "_1xb4-"),
        ({"train__devices": 4}, "_4xb2-"),
        ({"augment__crop_size": [64, 96]}, "-64x96"),
        ({"data__name": "chase_db1"}, "_chase-db1-"),
        ({"train__precision": "bf16"}, "-amp-"),
        ({"train__precision": "fp16"}, "-amp-"),
        ({"train__epochs": 100.0}, "-100e_"),
        ({"model__backbone__name": "resnet50_v1c", "model__backbone__output_stride": 8}, "fcn_r50-d8_"),
        ({"model__backbone__name": "resnet50_v1b"}, "fcn_r50b_"),
        ({"model__backbone__name": "resnet101_v1d", "model__backbone__multi_grid": [1, 2, 4]}, "fcn_r101d-mg124_"),
        ({"model__backbone__name": "hrnet18s"}, "fcn_hr18s_"),
        ({"model__backbone__name": "mixvit_b3"}, "fcn_mit-b3_"),
        ({"model__backbone__name": "tu-convnext_atto"}, "fcn_tu-convnext-atto_"),
        ({"model__backbone__num_stages": 5, "model__backbone__base_channels": 64}, "unet-s5-d16_fcn_"),
        ({"model__backbone__strides": [1, 1, 2, 1]}, "unet-s4-d8-w16_"),
        ({"model__backbone__downsamples": [True, True, False]}, "unet-s4-d4-w16_"),
        ({"model__decode_head__dilation": 6}, "_fcn-d6_"),
        ({"model__backbone__name": "little_unet"}, "little-unet_fcn_"),
        ({"model__refiners": [{"backbone": {"name": "hrnet18"}}]}, "unet-s4-d8-w16_fcn-then-fcn-hr18_"),
        ({"model__members": 3}, "unet-s4-d8-w16_fcn-3members_"),
        ({"model__type": "smp", "model__smp__architecture": "UnetPlusPlus"}, "smp-unetplusplus_resnet18_"),
    ],
)
def test_a_change_shows(plain, changes, part):
    name = named(plain, **changes)
    assert part in name
    assert name == name.lower()
    assert name.count("_") == 3


def test_one_plain_cross_entropy_is_not_named(plain):
    loss = {"name": "cross_entropy", "weight": 1.0, "class_weights": None, "label_smoothing": 0.0}
    assert "ce-" not in named(plain, model__decode_head__losses=[loss])
    assert "-ce-2.0-" in named(plain, model__decode_head__losses=[{**loss, "weight": 2.0}])
    mmseg = {"name": "cross_entropy_mmseg"}
    assert "ce-" not in named(plain, model__decode_head__losses=[mmseg])
    assert "-ce-2.0-" in named(plain, model__decode_head__losses=[{**mmseg, "weight": 2.0}])


def test_other_values_give_other_names(shipped_params):
    loaded = load_params(recipes.find("unet-s5-d16_fcn_1xb16-40k_drive-64x64"))
    values = loaded.model_dump(mode="json")
    changes = ({"train__iterations": 41000}, {"train__batch_size": 15}, {"augment__crop_size": [64, 65]})
    assert len({named(values, **change) for change in changes} | {named(values)}) == 4
