"""What a network does at the example's size must not bind the file to sizes at which it does the same."""

from functools import partial

import numpy as np
import pytest
import torch

from maskline.export.interface import INPUT, WHOLE
from maskline.export.onnx_graph import to_onnx
from maskline.export.runtime_onnx import open_session
from maskline.export.trace import Deployable, trace
from maskline.models.backbones.base import BackboneBase
from maskline.models.backbones.ddrnet import DDRNet
from maskline.models.backbones.dual import DEEPEST_STRIDE, ParallelPyramid
from maskline.models.backbones.pidnet import PIDNet
from maskline.models.backbones.poolformer import PoolFormer
from maskline.models.backbones.swin import SwinPlan, SwinTransformer
from maskline.models.heads.isa import ISAHead
from maskline.models.heads.psa import PSAHead
from maskline.models.layers import BATCH_NORM, resize, size_of

CLASSES = 3


class Deep(BackboneBase):
    """The deepest part of PIDNet by itself, and logits from it."""

    def __init__(self):
        super().__init__()
        self.reduce = torch.nn.Conv2d(3, 8, 3, stride=64, padding=1)
        self.spp = ParallelPyramid(8, 4, CLASSES, norm=BATCH_NORM)
        self.strides, self.deepest_stride = (64,), DEEPEST_STRIDE

    def forward(self, images):
        return resize(self.spp(self.reduce(images)), size_of(images), align_corners=False)

    def stages(self):
        return []


class OneHead(torch.nn.Module):
    """A head on a map of stride 8."""

    def __init__(self, head, **keywords):
        super().__init__()
        self.reduce = torch.nn.Conv2d(3, 8, 3, stride=8, padding=1)
        self.head = head(in_channels=8, in_index=0, channels=8, num_classes=CLASSES, dropout=0.0, **keywords)

    def forward(self, images):
        return resize(self.head([self.reduce(images)]), size_of(images), align_corners=False)


isa = partial(OneHead, ISAHead, align_corners=False, isa_channels=4)
psa = partial(OneHead, PSAHead, align_corners=False, mask_size=(9, 9))


@pytest.mark.parametrize(
    ("network", "stride", "sizes"),
    [
        pytest.param(Deep, 1, ((17, 29), (65, 129), (200, 700), (1100, 1500)), id="pyramid of pools"),
        pytest.param(isa, 8, ((65, 129), (257, 161), (128, 192), (40, 72)), id="blocks that are padded unevenly"),
        pytest.param(psa, 8, ((65, 129), (257, 161), (128, 192), (72, 64)), id="corners where both sides are odd"),
    ],
)
def test_onnx_agrees_below_and_above_the_example(network, stride, sizes):
    torch.manual_seed(0)
    model = Deployable(network().eval(), num_classes=CLASSES, stride=stride, mean=(120,) * 3, std=(60,) * 3).eval()
    content = to_onnx(trace(model, example_size=(128, 160)), opset=18, metadata={})
    session = open_session(content, threads=1)
    for size in sizes:
        images = np.random.default_rng(0).integers(0, 256, (1, *size, 3), dtype=np.uint8)
        _, seen = session.run(list(WHOLE.names), {INPUT: images})
        with torch.inference_mode():
            _, expected = model(torch.from_numpy(images))
        np.testing.assert_allclose(seen, expected.numpy(), atol=1e-4)


@pytest.mark.parametrize(
    "network", [partial(DDRNet, channels=4, ppm_channels=4), partial(PIDNet, size="s")], ids=["ddrnet", "pidnet"]
)
def test_deepest_stride_is_that_of_the_coarsest_pooled_map(network):
    backbone = network(in_channels=3)
    smallest = []
    for pool in backbone.spp.modules():
        if isinstance(pool, torch.nn.AvgPool2d):
            pool.register_forward_hook(lambda *given: smallest.append(min(given[-1].shape[2:])))
    for side, expected in ((backbone.deepest_stride, 1), (backbone.deepest_stride + 1, 2)):
        smallest.clear()
        with torch.inference_mode():
            backbone.eval()(torch.zeros(1, 3, side, side))
        assert min(smallest) == expected


def test_swins_coarsest_map_is_one_window_no_longer():
    backbone = SwinTransformer(in_channels=3, plan=SwinPlan(width=4, depths=(1, 1), num_heads=(1, 1)), window=3)
    counts = []
    backbone.layers[-1].blocks[0].attn.w_msa.register_forward_hook(lambda *given: counts.append(given[-1].shape[1]))
    for side in (backbone.deepest_stride, backbone.deepest_stride + 1):
        with torch.inference_mode():
            backbone.eval()(torch.zeros(1, 3, side, side))
    assert counts == [1, 4]


def test_poolformers_coarsest_map_leaves_out_a_rest():
    backbone = PoolFormer(size="s12", in_channels=3)
    for side, expected in ((backbone.deepest_stride, 1), (backbone.deepest_stride + 1, 2)):
        with torch.inference_mode():
            assert backbone.eval()(torch.zeros(1, 3, side, side))[-1].shape[2:] == (expected, expected)
