"""Losses of a configuration give MMSegmentation's numbers, also where pixels are ignored or a class is absent."""

import pytest
import torch
from pydantic import TypeAdapter

from maskline.builders.losses import loss as build
from maskline.params.network.losses import LossParams
from maskline.weights.mmseg.loss import loss_params

WEIGHTS = [0.5, 2.0, 1.0, 3.0]
CE, WEIGHTED = {"type": "CrossEntropyLoss"}, {"class_weight": WEIGHTS}
LOVASZ, TVERSKY, FOCAL = ({"type": name} for name in ("LovaszLoss", "TverskyLoss", "FocalLoss"))
# Entry of loss_decode, sampler, value and norm of the gradient: computed by MMSegmentation 1.2.2 in float64.
GOLDEN = [
    (CE, None, 1.49926167305, 0.0493949388787),
    (CE | {"avg_non_ignore": True}, None, 1.93600311671, 0.0637838993272),
    (CE | WEIGHTED | {"reduction": "sum"}, None, 806.474671697, 29.6596587904),
    (CE | {"use_sigmoid": True}, None, 0.691300186659, 0.014493655217),
    (CE, {"thresh": 0.7, "min_kept": 20}, 1.47862975374, 0.0491855494315),
    (CE, {"thresh": 0.1, "min_kept": 20}, 0.973786496416, 0.0375611979414),
    (CE, {"min_kept": 20}, 0.751081921011, 0.0318625272456),
    (CE | WEIGHTED, {"thresh": 0.3, "min_kept": 10}, 1.66801838999, 0.0603624661465),
    ({"type": "OhemCrossEntropy", "thres": 0.1, "min_kept": 30} | WEIGHTED, None, 5.98116031039, 0.257590215272),
    ({"type": "DiceLoss"}, None, 0.62311308791, 0.00781276501694),
    ({"type": "DiceLoss", "use_sigmoid": False, "naive_dice": True, "eps": 1.0}, None, 0.758267193499, 0.0112397066507),
    (LOVASZ | {"reduction": "none"} | WEIGHTED, None, 1.23748736725, 0.019870661869),
    (LOVASZ | {"per_image": True, "classes": "all"}, None, 0.772318867747, 0.0145193331737),
    (
        LOVASZ | {"per_image": True, "classes": [0, 2], "reduction": "sum"} | WEIGHTED,
        None,
        1.79058097733,
        0.0634354284157,
    ),
    (TVERSKY, None, 0.702105382572, 0.0118572158256),
    (TVERSKY | {"alpha": 0.4, "beta": 0.6, "smooth": 0.5} | WEIGHTED, None, 1.15232790449, 0.0221455468682),
    (FOCAL, None, 0.193292818572, 0.0077958840269),
    (FOCAL | {"gamma": 0.5, "alpha": [0.1, 0.5, 0.3, 0.9], "reduction": "sum"} | WEIGHTED, None, 504.0756515, 16.81657),
]


def batch(*, ignored):
    """Three images of four classes; the first lacks class 2, and a fifth of the pixels is ignored, or of class 0."""
    place, pixel = torch.arange(3 * 4 * 9 * 11).double(), torch.arange(3 * 9 * 11)
    logits = (2 * torch.sin(1 + 0.37 * place + 0.001 * place * place)).view(3, 4, 9, 11)
    target = ((pixel * pixel // 7 + pixel) % 5).view(3, 9, 11)
    target[target == 4] = 255 if ignored else 0
    target[0][target[0] == 2] = 1
    return logits.requires_grad_(), target


@pytest.mark.parametrize(("entry", "sampler", "value", "slope"), GOLDEN)
def test_numbers_are_mmsegmentations(entry, sampler, value, slope):
    params = loss_params(entry, sampler=sampler)
    logits, target = batch(ignored=not (sampler and "class_weight" in entry))  # both together are an IndexError there
    found = build(TypeAdapter(LossParams).validate_python(params, strict=False))(logits, target, 255)
    found.backward()
    assert found.item() == pytest.approx(value, rel=2e-6)
    assert logits.grad.norm().item() == pytest.approx(slope, rel=2e-6)


def test_a_weight_of_one_channels_class():
    entry = CE | {"use_sigmoid": True, "class_weight": [3.0]}
    params = loss_params(entry, binary=True)
    logits, target = batch(ignored=True)
    logits, target = logits[:, :1], target.clamp(max=1).masked_fill(target == 255, 255)
    two = torch.cat([torch.zeros_like(logits), logits], dim=1)
    missed = torch.nn.functional.binary_cross_entropy_with_logits(
        logits[:, 0], (target == 1).double(), pos_weight=torch.tensor(3.0), reduction="none"
    )
    found = build(TypeAdapter(LossParams).validate_python(params, strict=False))(two, target, 255)
    assert found.item() == pytest.approx((missed * (target != 255)).mean().item(), rel=1e-6)
    assert loss_params(entry | {"avg_non_ignore": True}, binary=True) is None
