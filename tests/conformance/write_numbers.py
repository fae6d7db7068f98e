"""Writes mmseg_numbers.json: ``python -m tests.conformance.write_numbers``.

Needs mmsegmentation 1.2.2, mmengine 0.10.7 and mmcv-lite 2.1.0, which the project itself does without. mmcv-lite has
no compiled operators; the one that PointRend's head needs is torch's grid_sample, and stands in for it.
"""

import hashlib
import importlib.machinery
import json
import sys
import types
from pathlib import Path

import torch
from torch.nn import functional as F

from tests.conformance.cases import CASES, fill, image, sample, section


def _point_sample(features, points, **options):
    return F.grid_sample(features, points.unsqueeze(2) * 2 - 1, **options).squeeze(3)


def _operators():
    module = types.ModuleType("mmcv.ops")
    module.__spec__, module.__file__ = importlib.machinery.ModuleSpec("mmcv.ops", None), "mmcv/ops.py"
    module.__path__, module.point_sample = [], _point_sample
    module.__getattr__ = lambda name: type(name, (torch.nn.Module,), {})
    return module


def computed(name):
    """What MMSegmentation computes for a case."""
    from mmengine.config import ConfigDict
    from mmseg.registry import MODELS

    model = MODELS.build(ConfigDict(section(name)))
    for module in model.modules():  # UNet's own eval() gives nothing back
        module.training = False
    shapes = {key: list(value.shape) for key, value in model.state_dict().items()}
    model.load_state_dict({key: torch.from_numpy(fill(key, tuple(shape))) for key, shape in shapes.items()})
    images = torch.from_numpy(image(name))
    with torch.inference_mode():
        outputs = _outputs(model, images)
    names = "\n".join(f"{key} {shape}" for key, shape in sorted(shapes.items()))
    return {
        "tensors": len(shapes),
        "names_sha256": hashlib.sha256(names.encode()).hexdigest(),
        "outputs": {key: sample(value.numpy()) for key, value in outputs.items()},
    }


def _outputs(model, images):
    features = model.extract_feat(images)
    found = {}
    if isinstance(model.decode_head, torch.nn.ModuleList):
        coarse, fine = model.decode_head
        found["decode_head.0"] = coarse(features)
        if type(fine).__name__ != "PointHead":  # which gives no map of its own
            found["decode_head.1"] = fine(features, found["decode_head.0"])
    else:
        found["decode_head"] = model.decode_head(features)
    if model.with_auxiliary_head:
        heads = model.auxiliary_head
        for i, head in enumerate(heads if isinstance(heads, torch.nn.ModuleList) else [heads]):
            found[f"auxiliary_head.{i}"] = head(features)
    metas = [{"img_shape": images.shape[2:], "ori_shape": images.shape[2:], "pad_shape": images.shape[2:]}]
    return {**found, "logits": model.encode_decode(images, metas)}


def main():
    """Compute every case anew."""
    sys.modules["mmcv.ops"] = _operators()
    from mmseg.utils import register_all_modules

    register_all_modules()
    lines = [f"{json.dumps(name)}: {json.dumps(computed(name))}" for name in CASES]
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    Path(__file__).with_name("mmseg_numbers.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
