"""Pyramid pooling at six sizes other than the traced example's.

The plain exporter fits the pooling to the example, without an error, so these networks are the ones to look at.
"""

import numpy as np
import onnx
import pytest
import torch

from maskline.builders.model import segmentor
from maskline.export import onnx_graph, package
from maskline.export.runtime_onnx import OnnxModel
from maskline.export.trace import trace
from maskline.params.whole import validate_params
from maskline.runtime.torch_seeds import seed_torch
from tools.trial import complete_params

EXAMPLE = (64, 96)
SIZES = [(16, 16), (47, 130), (64, 64), (97, 131), (128, 160), (200, 72)]

HEADS = {
    "psp": {"name": "psp", "in_index": -1, "input_transform": None},
    "uper": {"name": "uper", "in_index": [0, 1, 2]},
}


def settings(shipped_params, kind):
    values = complete_params(shipped_params)
    model = values["model"]
    model["backbone"] |= {"base_channels": 4, "num_stages": 3}
    model["auxiliary_heads"] = []
    if kind.startswith("smp"):
        model["type"] = "smp"
        model["smp"] |= {"architecture": kind.split("_")[1], "encoder": "tu-mobilenetv3_small_050"}
    else:
        common = {"channels": 6, "dropout": 0.0, "with_norm": True, "losses": model["decode_head"]["losses"]}
        model["decode_head"] = {**common, "bins": [1, 2, 3, 6], **HEADS[kind]}
    return validate_params(values)


@pytest.mark.parametrize("kind", ["psp", "uper", "smp_PSPNet", "smp_UPerNet"])
def test_agrees_with_torch_at_six_other_sizes(shipped_params, trained, tmp_path, kind):
    seed_torch(0)
    network = segmentor(settings(shipped_params, kind).model, num_classes=3).eval()
    with torch.no_grad():  # logits of fresh weights lie too close together for their class to mean much
        for name, value in network.named_parameters():
            if value.ndim > 1 and "pool" not in name:
                value.mul_(2)
    one = package.Trained(
        network=network, labels=trained.labels, mean=trained.mean, std=trained.std, params={}, weights_sha256=""
    )
    program = trace(one.deployable(), example_size=EXAMPLE)
    content = onnx_graph.to_onnx(program, opset=18, metadata=package.describe(one, example_size=EXAMPLE))
    pooled = [node for node in onnx.load_from_string(content).graph.node if node.op_type == "AveragePool"]
    assert not pooled
    (tmp_path / "model.onnx").write_bytes(content)
    model, reference = OnnxModel(tmp_path / "model.onnx", threads=1), one.runtime(threads=1)
    classes = set()
    for size in SIZES:
        images = np.random.default_rng(size[0]).integers(0, 256, (2, *size, 3), dtype=np.uint8)
        found, expected = model.predict(images), reference.predict(images)
        np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=2e-3)
        assert np.mean(found.labels != expected.labels) < 1e-3
        classes |= set(np.unique(expected.labels).tolist())
    assert len(classes) > 1
