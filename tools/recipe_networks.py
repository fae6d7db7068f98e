"""Proves that the networks of the recipes compile, export and become ONNX: ``python -m tools.recipe_networks``.

Takes each network of recipes/ once, at its full size (a minute each on one core), and compares with the plain
network at sizes that the export did not see. tests/models/test_recipe_networks.py does the same with small twins.
"""

import dataclasses
import io
import sys
import time
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from maskline.builders.model import segmentor
from maskline.export.interface import INPUT, WHOLE
from maskline.export.onnx_graph import to_onnx
from maskline.export.pt2 import to_pt2
from maskline.export.runtime_onnx import open_session
from maskline.export.trace import Deployable, trace
from maskline.models.segmentor import SegmentorBase
from maskline.params.network.model import ModelParams, validate_model
from tools.recipe_models import NETWORKS

CLASSES = 19
OPSET = 18
EXAMPLE = (64, 96)
OTHERS = ((65, 129), (101, 75))
LOGITS = dataclasses.replace(WHOLE, outputs=("logits",))


def networks() -> dict[str, ModelParams]:
    """Return the model section of each network of the recipes by its name."""
    return {name: validate_model(network, place=name) for name, network in NETWORKS.items()}


def build(section: ModelParams, *, classes: int) -> SegmentorBase:
    """Return the network in eval mode, with norms as after a training: not at their first values."""
    torch.manual_seed(0)
    model = segmentor(section, num_classes=classes)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if name.endswith("running_mean"):
                value.normal_(std=0.1)
            elif value.ndim == 1 and name.endswith(("running_var", "weight")):
                value.uniform_(0.5, 1.5)
    return model.eval()


def compiled(model: SegmentorBase, *, backend: str) -> float:
    """Return the difference of the compiled network, as one graph, over the largest logit."""
    torch.compiler.reset()
    compiled = torch.compile(model, backend=backend, fullgraph=True, dynamic=False)
    images = torch.randn(1, 3, *EXAMPLE)
    with torch.no_grad():
        return _difference(compiled(images), model(images))


def exported(model: SegmentorBase, *, classes: int) -> tuple[float, float]:
    """Return the differences of a .pt2 file and of an ONNX file, at sizes that the trace did not see."""
    whole = Deployable(
        model, num_classes=classes, stride=model.stride, mean=(120,) * 3, std=(60,) * 3, interface=LOGITS
    ).eval()
    program = trace(whole, example_size=EXAMPLE)
    content = to_onnx(program, opset=OPSET, metadata={}, outputs=LOGITS.names)
    session = open_session(content, threads=torch.get_num_threads())
    again = torch.export.load(io.BytesIO(to_pt2(program, metadata={}))).module()

    def by_onnx(images: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {INPUT: images.numpy()})[0])

    return _worst(whole, lambda images: again(images)[0], OTHERS), _worst(whole, by_onnx, OTHERS)


def _worst(whole: Deployable, other: Callable[[Tensor], Tensor], sizes: Iterable[tuple[int, int]]) -> float:
    worst = 0.0
    for height, width in sizes:
        pixels = np.random.default_rng(height).integers(0, 256, (1, height, width, 3), dtype=np.uint8)
        images = torch.from_numpy(pixels)
        with torch.no_grad():
            worst = max(worst, _difference(other(images), whole(images)[0]))
    return worst


def _difference(found: Tensor, expected: Tensor) -> float:
    assert found.shape == expected.shape
    difference = (found - expected).abs().max() / expected.abs().max()
    assert difference.isfinite()
    return float(difference)


def main(names: Sequence[str]) -> None:
    """Print, for each network (or those named), the differences and the seconds that it took."""
    for name, section in networks().items():
        if names and name not in names:
            continue
        start = time.perf_counter()
        model = build(section, classes=CLASSES)
        graph = compiled(model, backend="aot_eager")
        program, onnx = exported(model, classes=CLASSES)
        seconds = time.perf_counter() - start
        print(f"{name}: compile {graph:.1e}, export {program:.1e}, onnx {onnx:.1e}, {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
