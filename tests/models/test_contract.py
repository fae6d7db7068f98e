"""What holds for every backbone, neck and head: one line in MEMBERS for a new one."""

import copy
import dataclasses
import itertools
import warnings

import numpy as np
import pytest
import torch
from torch.utils._pytree import tree_leaves

from maskline.core.errors import ShapeError
from maskline.losses.mask_classification import MaskClassification, MaskPoints
from maskline.losses.presence import class_presence
from maskline.models.backbones.base import BackboneBase
from maskline.models.backbones.beit import BEiT
from maskline.models.backbones.bisenet_v1 import BiSeNetV1
from maskline.models.backbones.bisenet_v2 import BiSeNetV2
from maskline.models.backbones.cgnet import CGNet
from maskline.models.backbones.convnext import ConvNeXt
from maskline.models.backbones.ddrnet import DDRNet
from maskline.models.backbones.encoder import encoder
from maskline.models.backbones.erfnet import ERFNet
from maskline.models.backbones.fast_scnn import FastSCNN
from maskline.models.backbones.hrnet import HRNet, HRStage
from maskline.models.backbones.icnet import ICNet
from maskline.models.backbones.mit import MitPlan, MixTransformer
from maskline.models.backbones.mobilenet_v2 import MobileNetV2
from maskline.models.backbones.mobilenet_v3 import MobileNetV3
from maskline.models.backbones.mscan import MSCAN, MscanPlan
from maskline.models.backbones.pidnet import PIDNet
from maskline.models.backbones.poolformer import PoolFormer
from maskline.models.backbones.resnest import SplitBottleneck
from maskline.models.backbones.resnet import ResNet, StagePlan, Stem
from maskline.models.backbones.stdc import STDC
from maskline.models.backbones.swin import SwinPlan, SwinTransformer
from maskline.models.backbones.timm_maps import BeitMaps, TimmMaps, timm_maps
from maskline.models.backbones.twins import Twins, TwinsPlan
from maskline.models.backbones.unet import UNet, UNetStage
from maskline.models.backbones.vit import VisionTransformer, VitPlan
from maskline.models.heads.ann import ANNHead
from maskline.models.heads.apc import APCHead
from maskline.models.heads.aspp import ASPPHead
from maskline.models.heads.cc import CCHead
from maskline.models.heads.da import DAHead
from maskline.models.heads.ddr import DDRHead
from maskline.models.heads.dm import DMHead
from maskline.models.heads.dnl import DNLHead
from maskline.models.heads.dpt import DPTHead
from maskline.models.heads.ema import EMAHead
from maskline.models.heads.enc import EncHead
from maskline.models.heads.eomt import EoMTHead
from maskline.models.heads.fcn import FCNHead
from maskline.models.heads.fcn_skip import FCNSkipHead
from maskline.models.heads.fpn import FPNHead
from maskline.models.heads.gc import GCHead
from maskline.models.heads.isa import ISAHead
from maskline.models.heads.knet import KNetHead
from maskline.models.heads.large_fov import LargeFOVHead
from maskline.models.heads.light_ham import LightHamHead
from maskline.models.heads.linear import LinearHead
from maskline.models.heads.lraspp import LRASPPHead
from maskline.models.heads.mask2former import Mask2FormerHead
from maskline.models.heads.mask_classification import MaskPredictions
from maskline.models.heads.maskformer import MaskFormerHead
from maskline.models.heads.non_local import NonLocalHead
from maskline.models.heads.ocr import OCRHead
from maskline.models.heads.pid import PIDHead
from maskline.models.heads.point import PointHead, PointSampling
from maskline.models.heads.psa import PSAHead
from maskline.models.heads.psp import PSPHead
from maskline.models.heads.segformer import SegformerHead
from maskline.models.heads.segmenter import SegmenterHead
from maskline.models.heads.separable_aspp import SeparableASPPHead
from maskline.models.heads.separable_fcn import SeparableFCNHead
from maskline.models.heads.setr_mla import SETRMLAHead
from maskline.models.heads.setr_up import SETRUpHead
from maskline.models.heads.stdc import STDCHead
from maskline.models.heads.summed_aspp import SummedASPPHead
from maskline.models.heads.uper import UPerHead
from maskline.models.layers import Norm
from maskline.models.necks.fpn import FPN
from maskline.models.necks.ic import ICNeck
from maskline.models.necks.jpu import JPU
from maskline.models.necks.mla import MLANeck
from maskline.models.necks.multi_level import Feature2Pyramid, MultiLevel
from maskline.models.necks.select import ResizeConcat, Select
from maskline.models.segmentor import Segmentor
from maskline.models.smp import smp_segmentor
from maskline.runtime.libraries import declare_missing_operators

CLASSES = 3
PLANS = {
    8: StagePlan.for_output_stride(8, multi_grid=None),
    16: StagePlan.for_output_stride(16, multi_grid=(1, 2)),
    32: StagePlan.for_output_stride(32, multi_grid=None),
}
HR_STAGES = (
    HRStage(num_modules=1, block="bottleneck", num_blocks=(1,), widths=(4,)),
    HRStage(num_modules=1, block="basic", num_blocks=(1, 1), widths=(4, 8)),
    HRStage(num_modules=2, block="basic", num_blocks=(1, 1, 1), widths=(4, 8, 16)),
    HRStage(num_modules=1, block="basic", num_blocks=(1, 1, 1, 1), widths=(4, 8, 16, 32)),
)
STRIDED = (UNetStage(), UNetStage(stride=2, convs=1), UNetStage(pool=False, dilation=2, up_convs=3))
MIT = MitPlan(embed_dims=4, num_layers=(1, 1, 1, 1), num_heads=(1, 2, 2, 4))
SWIN = SwinPlan(width=4, depths=(2, 1), num_heads=(1, 2))
TWINS = {"widths": (4, 8), "num_heads": (1, 2), "depths": (2, 1)}
MAE = VitPlan(width=8, depth=1, num_heads=2, image_size=(48, 32), out_indices=(0,), final_norm=True)
VIT = VitPlan(width=8, depth=4, num_heads=2, image_size=(48, 32))  # other tables than the images below have
NO_DROPOUT = {"dropout": 0.0, "attention_dropout": 0.0, "drop_path": 0.0}
PLAN_KEYS = {"style", "average_shortcut"}
ALL = [0, 1, 2, 3]
FROZEN = {f"decode_head.ema_mid_conv.conv.{leaf}" for leaf in ("weight", "bias")}  # before a fit without a gradient
# MaskFormer's queries are zeros at first, so that the first layer's look at each other finds nothing.
BLIND = {
    f"decode_head.transformer_decoder.layers.0.self_attn.attn.{leaf}" for leaf in ("in_proj_weight", "out_proj.weight")
}
MASK_LOSS = MaskClassification(
    class_loss_weight=1.0,
    mask_loss_weight=1.0,
    dice_loss_weight=1.0,
    void_weight=0.1,
    mask_loss="cross_entropy",
    points=MaskPoints(count=16, oversample=2.0, uncertain_share=0.5),
    count_ignored=False,
)
TIMM = ["timm-rope-linear", "timm-beit", "eomt"]
COMPILED = ["ocrnet", "uper", "pointrend", "mit", "swin", "light-ham", *TIMM]
ONNX = ["uper", "pointrend", "isa", "psa", "cc", "dm", "lraspp", "light-ham", "timm-beit", "eomt"]
FEW_PLACES = {"num_levels": 3, "num_points": 2, "encoder_layers": 1, "encoder_feedforward_channels": 8}
FEW_QUERIES = {"strides": (4, 8, 16, 32), "num_queries": 4, "num_layers": 2, "num_heads": 2, "feedforward_channels": 8}
FEW_POINTS = PointSampling(train_points=32, steps=2, step_points=40)


def resnet(depth=18, *, stride=8, stem="deep", **options):
    plan = dataclasses.replace(PLANS[stride], **{key: options.pop(key) for key in PLAN_KEYS & options.keys()})
    return ResNet(
        depth=depth,
        in_channels=3,
        plan=plan,
        stem=Stem(kind=stem, channels=8),
        base_channels=4,
        zero_init=False,
        **options,
    )


class Convolutions(BackboneBase):
    """Features of the widths and strides of ``resnet``, each by one convolution."""

    def __init__(self, *, stride=8):
        super().__init__()
        self.channels, self.strides = (4, 8, 16, 32), tuple(min(each, stride) for each in (4, 8, 16, 32))
        self.size_divisor = 1
        before, steps = (3, *self.channels), (4, *(b // a for a, b in itertools.pairwise(self.strides)))
        self.layers = torch.nn.ModuleList(
            torch.nn.Conv2d(few, many, 2 * step - 1, stride=step, padding=step - 1)
            for few, many, step in zip(before, self.channels, steps, strict=False)
        )

    def forward(self, images):
        features = [images]
        for layer in self.layers:
            features.append(torch.relu(layer(features[-1])))
        return features[1:]

    def stages(self):
        return [[layer] for layer in self.layers]


@pytest.fixture
def _short_backbones(monkeypatch):
    """For what takes seconds a layer; ResNet itself goes the same way in test_recipe_networks.py."""
    monkeypatch.setitem(globals(), "resnet", Convolutions)


def options(backbone, index=-1):
    """Options of a head on one feature, or on several, of what gives ``channels``."""
    widths = backbone.channels
    picked = widths[index] if isinstance(index, int) else [widths[i] for i in index]
    return {
        "in_channels": picked,
        "in_index": index,
        "channels": 8,
        "num_classes": CLASSES,
        "dropout": 0.0,
        "align_corners": False,
    }


def fcn(backbone, index=-1):
    return FCNHead(num_convs=1, concat_input=True, **options(backbone, index))


def join(backbone, *heads, neck=None, auxiliary=()):
    return Segmentor(
        backbone=backbone,
        decode_heads=heads,
        auxiliary_heads=auxiliary,
        neck=neck,
        num_classes=CLASSES,
        align_corners=False,
    )


def on_backbone(backbone, index=-1):
    return join(backbone, fcn(backbone, index), auxiliary=[fcn(backbone, -2 if index == -1 else -1)])


def on_all(backbone, index=ALL):
    head = FCNHead(num_convs=1, concat_input=False, input_transform="resize_concat", **options(backbone, index))
    return join(backbone, head)


def on_last(backbone):
    return join(backbone, fcn(backbone))


def with_all(kind, backbone):
    return join(backbone, kind(**options(backbone, list(range(len(backbone.channels))))))


def stdc(backbone):
    details = STDCHead(num_convs=1, concat_input=False, **options(backbone, 0))
    return join(backbone, fcn(backbone, 3), auxiliary=[fcn(backbone, 1), details])


def with_head(kind, index=-1, /, *, stride=8, **extra):
    backbone = resnet(stride=stride)
    return join(backbone, kind(**extra, **options(backbone, index)))


def awake(model):
    """Blocks that start as the identity no longer do."""
    for name, parameter in model.named_parameters():
        if not parameter.any() and not name.endswith("bias"):
            torch.nn.init.constant_(parameter, 0.5)
    return model


def compared(pairs):
    """The sum of losses of what training compares."""
    return sum(loss_of(name, *pair) for name, pair in pairs.items())


def loss_of(name, logits, labels):
    entropy = torch.nn.functional.cross_entropy
    if isinstance(logits, MaskPredictions):
        return sum(MASK_LOSS(logits, labels, 255).values())
    if name.endswith(".presence"):
        return class_presence(logits, labels, 255)
    if name.endswith(".boundary"):
        return torch.nn.functional.softplus(logits).mean()
    if name.endswith(".at_boundary"):
        return entropy(logits[:, :-1], labels)
    return entropy(logits, labels.clamp(max=logits.shape[1] - 1))  # a detail head has two classes


def with_fpn(*heads):
    backbone = resnet(stride=32)
    neck = FPN(in_channels=backbone.channels, out_channels=8, num_outs=4)
    return join(backbone, *(head(neck) for head in heads), neck=neck)


def semantic_fpn(neck):
    return FPNHead(strides=(4, 8, 16, 32), **options(neck, ALL))


def point(neck):
    return PointHead(num_fcs=2, coarse_each_layer=True, sampling=FEW_POINTS, **options(neck, [0]))


def ocrnet():
    backbone = resnet()
    return join(backbone, fcn(backbone, -2), OCRHead(ocr_channels=4, **options(backbone)))


def knet():
    backbone = resnet()
    generator = FCNHead(num_convs=1, **options(backbone))
    sizes = {"num_stages": 2, "num_heads": 2, "feedforward_channels": 8, "kernel_channels": 4}
    return join(backbone, KNetHead(generator=generator, **sizes, **options(backbone)))


def with_neck(neck, width):
    backbone = resnet()
    neck.channels = (width,)
    return join(backbone, fcn(neck), neck=neck)


def jpu():
    backbone = resnet(stride=32)
    neck = JPU(in_channels=backbone.channels[1:], indices=(1, 2, 3), mid_channels=4, dilations=(1, 3))
    return join(backbone, fcn(neck), neck=neck, auxiliary=[fcn(neck, 1)])


def icnet():
    backbone = ICNet(depth=18, in_channels=3, base_channels=8, psp_channels=4)
    neck = ICNeck(in_channels=backbone.channels, indices=(0, 1, 2), out_channels=8)
    return awake(join(backbone, fcn(neck), neck=neck, auxiliary=[fcn(neck, 0), fcn(neck, 1)]))


def vit(*heads, neck=None, backbone=None, **options):
    backbone = backbone or VisionTransformer(in_channels=3, plan=VIT, **options)
    between = neck(backbone) if neck else None
    return join(backbone, *(head(between or backbone) for head in heads), neck=between)


def small_timm(name, kind=TimmMaps, **options):
    declare_missing_operators()
    import timm

    model = timm.create_model(name, embed_dim=16, depth=3, num_heads=2, img_size=48, patch_size=16, **options)
    return kind(model, out_indices=(0, 1, 2), final_norm=True)


def beit_timm():
    backbone = small_timm("beit_base_patch16_224", BeitMaps)
    for name, parameter in backbone.named_parameters():
        if name.endswith("relative_position_bias_table"):
            torch.nn.init.normal_(parameter)  # which a zero table does not tell from none
    return vit(fcn, backbone=backbone)


def linear(backbone):
    indices = [-2, -1]
    return LinearHead(input_transform="resize_concat", **options(backbone, indices))


def eomt():
    backbone = timm_maps("tu-test_vit", in_channels=3, final_norm=True)
    tail = backbone.cut(2)
    return join(backbone, EoMTHead(tail=tail, patch_size=16, num_queries=4, **options(backbone, [0, 1])))


def uper(features):
    return UPerHead(bins=(1, 2), **options(features, ALL))


def setr_mla(neck):
    return SETRMLAHead(scale=2, **options(neck, ALL))


def multi_level(backbone):
    return MultiLevel(in_channels=backbone.channels, out_channels=8, scales=(4, 2, 1, 0.5))


def mla(backbone):
    return MLANeck(in_channels=backbone.channels, out_channels=8)


def dpt(backbone):
    return DPTHead(widths=(4, 4, 8, 8), readout="project", **options(backbone, ALL))


def dpt_add(backbone):
    return DPTHead(widths=(4, 4, 8, 8), readout="add", **options(backbone, ALL))


def pyramid(backbone):
    return Feature2Pyramid(width=backbone.channels[0])


def smp(architecture, name="tu-mobilenetv3_small_050"):
    return smp_segmentor(
        architecture, encoder=name, in_channels=3, num_classes=CLASSES, pretrained=False, align_corners=False
    )


MEMBERS = {
    "unet": lambda: on_backbone(UNet(in_channels=3, base_channels=4, num_stages=5)),
    "unet-deconv": lambda: on_backbone(UNet(in_channels=3, base_channels=4, num_stages=3, upsample="deconv")),
    "unet-strided": lambda: on_backbone(UNet(in_channels=3, base_channels=4, num_stages=3, plan=STRIDED)),
    "resnet18-d8": lambda: on_backbone(resnet()),
    "resnet34-7x7-d32": lambda: on_backbone(resnet(34, stride=32, stem="7x7")),
    "resnet18-d16-multigrid": lambda: on_backbone(resnet(stride=16)),
    "resnet50-v1d-d8": lambda: on_backbone(resnet(50, average_shortcut=True)),
    "resnet50-caffe-gn": lambda: on_backbone(resnet(50, style="caffe", norm=Norm(kind="gn", num_groups=2))),
    "resnet18-syncbn": lambda: on_backbone(resnet(norm=Norm(kind="syncbn"))),
    "hrnet": lambda: on_all(HRNet(in_channels=3, stages=HR_STAGES)),
    "mit": lambda: on_backbone(MixTransformer(in_channels=3, plan=MIT, **NO_DROPOUT)),
    "resnest": lambda: on_backbone(resnet(50, average_shortcut=True, block=SplitBottleneck)),
    "mobilenet-v2": lambda: on_backbone(MobileNetV2(in_channels=3)),
    "bisenet-v1": lambda: awake(on_backbone(BiSeNetV1(depth=18, in_channels=3, base_channels=8), 0)),
    "bisenet-v2": lambda: on_backbone(BiSeNetV2(in_channels=3), 0),
    "convnext": lambda: on_all(ConvNeXt(size="atto", in_channels=3)),
    "icnet": icnet,
    "mobilenet-v3": lambda: on_all(MobileNetV3(size="small", in_channels=3), [0, 1, 2]),
    "stdc": lambda: stdc(STDC(version=1, in_channels=3, base_channels=8, context_channels=8, fused_channels=16)),
    "ddrnet": lambda: with_all(DDRHead, DDRNet(in_channels=3, channels=4, ppm_channels=4)),
    "pidnet-s": lambda: with_all(PIDHead, PIDNet(size="s", in_channels=3)),
    "pidnet-l": lambda: with_all(PIDHead, PIDNet(size="l", in_channels=3)),
    "cgnet": lambda: on_backbone(CGNet(in_channels=3, blocks=(2, 2))),
    "erfnet": lambda: on_last(ERFNet(in_channels=3, dropout=0.0)),
    "fast-scnn": lambda: on_backbone(FastSCNN(in_channels=3)),
    "mscan": lambda: on_all(MSCAN(in_channels=3, plan=MscanPlan(widths=(4, 4, 8, 8), depths=(1, 1, 1, 2)))),
    "poolformer": lambda: on_all(PoolFormer(size="s12", in_channels=3)),
    "swin": lambda: on_backbone(SwinTransformer(in_channels=3, plan=SWIN, window=3)),
    "twins-pcpvt": lambda: on_backbone(Twins(in_channels=3, plan=TwinsPlan(**TWINS))),
    "twins-svt": lambda: on_backbone(Twins(in_channels=3, plan=TwinsPlan(**TWINS, window=3, normed=True))),
    "vit-multi-level": lambda: vit(uper, neck=multi_level),
    "beit-pyramid": lambda: vit(uper, neck=pyramid, backbone=BEiT(in_channels=3, plan=VIT)),
    "mae": lambda: vit(fcn, backbone=BEiT(in_channels=3, plan=MAE, mae=True)),
    "timm-rope-linear": lambda: vit(linear, backbone=small_timm("vit_small_patch16_dinov3", dynamic_img_size=True)),
    "timm-beit": beit_timm,
    "eomt": eomt,
    "setr-up": lambda: vit(lambda backbone: SETRUpHead(num_convs=2, scale=2, **options(backbone))),
    "setr-mla": lambda: vit(setr_mla, neck=mla),
    "segmenter": lambda: vit(lambda backbone: SegmenterHead(num_heads=2, drop_path=0.0, **options(backbone))),
    "dpt": lambda: vit(dpt, joined=True),
    "dpt-add": lambda: vit(dpt_add, joined=True),
    "encoder": lambda: on_backbone(
        encoder("mobilenetv3_small_050", in_channels=3, output_stride=32, pretrained=False), -2
    ),
    "neck-select": lambda: with_neck(Select(indices=[-1]), 32),
    "neck-resize-concat": lambda: with_neck(ResizeConcat(indices=[1, 2, 3], align_corners=False), 8 + 16 + 32),
    "neck-jpu": jpu,
    "fcn-resize-concat": lambda: with_head(
        FCNHead, [1, 3], num_convs=2, concat_input=False, input_transform="resize_concat"
    ),
    "fcn-32s": lambda: with_head(FCNSkipHead, [3], stride=32, kernel_size=3, upsample="bilinear"),
    "fcn-16s": lambda: with_head(FCNSkipHead, [2, 3], stride=32, kernel_size=3, upsample="deconv"),
    "fcn-8s": lambda: with_head(FCNSkipHead, [1, 2, 3], stride=32, kernel_size=7, upsample="deconv"),
    "psp": lambda: with_head(PSPHead),
    "aspp": lambda: with_head(ASPPHead, dilations=(1, 3, 6)),
    "separable-aspp": lambda: with_head(SeparableASPPHead, dilations=(1, 3), c1_in_channels=4, c1_channels=4),
    "separable-aspp-no-decoder": lambda: with_head(
        SeparableASPPHead, dilations=(1, 3), c1_in_channels=0, c1_channels=0
    ),
    "large-fov": lambda: with_head(LargeFOVHead, dilation=3),
    "summed-aspp": lambda: with_head(SummedASPPHead, dilations=(2, 4)),
    "uper": lambda: with_head(UPerHead, ALL, stride=32),
    "segformer": lambda: with_head(SegformerHead, ALL, stride=32),
    "semantic-fpn": lambda: with_fpn(semantic_fpn),
    "non-local": lambda: awake(with_head(NonLocalHead)),
    "dnl": lambda: awake(with_head(DNLHead)),
    "gc": lambda: awake(with_head(GCHead, fusion_types=("channel_mul", "channel_add"))),
    "gc-average": lambda: awake(with_head(GCHead, pooling="avg", concat_input=False)),
    "cc": lambda: awake(with_head(CCHead)),
    "da": lambda: awake(with_head(DAHead, pam_channels=4)),
    "isa": lambda: with_head(ISAHead, isa_channels=4, down_factor=(2, 3)),
    "ann": lambda: awake(with_head(ANNHead, [2, 3], project_channels=4, bins=(1, 2))),
    "psa": lambda: with_head(PSAHead, mask_size=(5, 7)),
    "psa-collect": lambda: with_head(PSAHead, mask_size=(5, 7), kind="collect", shrink_factor=1),
    "psa-distribute": lambda: with_head(
        PSAHead, mask_size=(3, 3), kind="distribute", normalization_factor=None, with_softmax=False
    ),
    "enc": lambda: with_head(EncHead, [2, 3], num_codes=4),
    "enc-lateral": lambda: with_head(EncHead, [1, 3], num_codes=4, add_lateral=True, with_presence=False),
    "apc": lambda: with_head(APCHead, bins=(1, 2)),
    "dm": lambda: with_head(DMHead, filter_sizes=(1, 2, 3), fusion=True),
    "separable-fcn": lambda: with_head(SeparableFCNHead, num_convs=2, concat_input=True),
    "lraspp": lambda: with_head(LRASPPHead, [0, 2, 3], branch_channels=(4, 8)),
    "light-ham": lambda: with_head(LightHamHead, [1, 2, 3], ham_channels=8, rank=4, num_groups=2),
    "ema": lambda: with_head(EMAHead, ema_channels=4, num_bases=3),
    "knet": knet,
    "maskformer": lambda: with_head(MaskFormerHead, ALL, stride=32, **FEW_QUERIES),
    "mask2former": lambda: awake(with_head(Mask2FormerHead, ALL, stride=32, **FEW_QUERIES, **FEW_PLACES)),
    "ocrnet": ocrnet,
    "pointrend": lambda: with_fpn(semantic_fpn, point),
    "smp-unet": lambda: smp("Unet"),
    "smp-fpn": lambda: smp("FPN"),
}


@pytest.fixture(params=MEMBERS.values(), ids=MEMBERS)
def model(request):
    torch.manual_seed(0)
    return request.param()


class TestEveryMember:
    @pytest.mark.parametrize("batch", [1, 3])
    def test_any_size_gives_logits_of_that_size(self, model, batch):
        model.eval()
        with torch.inference_mode():
            for size in ((16, 16), (33, 50), (47, 17)):
                assert model(torch.randn(batch, 3, *size)).shape == (batch, CLASSES, *size)

    def test_features_are_what_the_attributes_say(self, model):
        if not hasattr(model, "backbone"):
            pytest.skip("a whole architecture has no backbone of ours")
        if isinstance(getattr(model, "decode_head", None), EoMTHead):
            pytest.skip("what its backbone gives beside the patches is no map")
        features = model.backbone.eval()(torch.randn(1, 3, 64, 96))
        assert [x.shape[1] for x in features] == list(model.backbone.channels)
        for x, stride in zip(features, model.backbone.strides, strict=True):
            assert x.shape[2] - 64 // stride in (0, 1)  # ICNet's pooling counts the last row and column by themselves
            assert x.shape[3] - 96 // stride in (0, 1)

    def test_evaluation_is_deterministic_and_one_by_one(self, model):
        model.eval()
        images = torch.randn(3, 3, 40, 33)
        with torch.inference_mode():
            together, again = model(images), model(images)
            alone = torch.cat([model(image.unsqueeze(0)) for image in images])
        torch.testing.assert_close(together, again, atol=0, rtol=0)
        torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-3)

    def test_gradients_reach_every_parameter(self, model):
        model.train()
        target = torch.randint(0, CLASSES, (3, 40, 56))
        pairs = model.training_pairs(torch.randn(3, 3, 40, 56), target)
        compared(pairs).backward()
        trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
        assert {name for name, _ in model.named_parameters()} - trained.keys() <= FROZEN
        missing = [name for name, parameter in trained.items() if parameter.grad is None]
        assert not missing
        assert all(parameter.grad.isfinite().all() for parameter in trained.values())
        still = {name for name, p in trained.items() if p.ndim > 1 and p.grad.abs().max() == 0}
        assert still <= BLIND

    def test_pairs_have_one_shape(self, model):
        pairs = model.training_pairs(torch.randn(3, 3, 40, 33), torch.zeros(3, 40, 33, dtype=torch.int64))
        for name, (logits, labels) in pairs.items():
            if isinstance(logits, MaskPredictions):
                assert {x.shape for x in logits.classes} == {(3, 4, CLASSES + 1)}
                assert {x.shape[:2] for x in logits.masks} == {(3, 4)}
                assert labels.shape[1:] == (40, 33)
                continue
            size = (1, 1) if name.endswith(".presence") else labels.shape[1:]
            channels = {".boundary": 1, ".at_boundary": CLASSES + 1}.get(name[name.rfind(".") :], CLASSES)
            if isinstance(model.heads().get(name), STDCHead):
                channels = 2
            assert logits.shape == (3, channels, *size)
            assert labels.dtype == torch.int64

    @pytest.mark.parametrize("side", [16, 96])
    def test_a_batch_of_one_trains_or_says_why_not(self, model, side):
        model.train()
        problem = ""
        try:
            model.training_pairs(torch.randn(1, 3, side, side), torch.zeros(1, side, side, dtype=torch.int64))
        except ShapeError as error:  # a map of one pixel has no variance
            problem = str(error)
        assert not problem or "batch norm cannot train on a single value a channel" in problem
        assert "\n" not in problem

    def test_weights_load_strictly_into_a_copy(self, model):
        model.eval()
        other = copy.deepcopy(model)
        with torch.no_grad():
            for parameter in other.parameters():
                parameter.normal_()
        other.load_state_dict(model.state_dict())
        images = torch.randn(1, 3, 32, 32)
        torch.testing.assert_close(other(images), model(images), atol=0, rtol=0)

    def test_channels_last_and_bf16_run(self, model):
        model.train().to(memory_format=torch.channels_last)
        images = torch.randn(2, 3, 48, 48).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            pairs = model.training_pairs(images, torch.zeros(2, 48, 48, dtype=torch.int64))
        assert all(x.isfinite().all() for x in tree_leaves(pairs) if isinstance(x, torch.Tensor))


@pytest.mark.usefixtures("_short_backbones")
@pytest.mark.parametrize("name", COMPILED)
def test_compiles_as_one_graph(name):
    # Without a code generator: what is tested is that nothing in forward breaks the graph.
    model = MEMBERS[name]().eval()
    images = torch.randn(1, 3, 48, 64)
    torch.compiler.reset()  # it counts how often forward was compiled, of the members before too
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    with torch.inference_mode():
        torch.testing.assert_close(compiled(images), model(images), atol=1e-5, rtol=1e-5)


@pytest.mark.usefixtures("_short_backbones")
@pytest.mark.parametrize("name", ONNX)
def test_onnx_follows_the_size(name):
    # Pooling to a grid, and a number of points that depends on the size: where an export silently keeps the example's.
    onnxruntime = pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    model = MEMBERS[name]().eval()
    for key, table in model.named_parameters():
        if key.endswith("relative_position_bias_table"):  # zeros at first, which hide a wrong place
            torch.nn.init.normal_(table)
    dim = torch.export.Dim
    dynamic = {"images": {0: dim("n", min=1), 2: 32 * dim("h", min=2), 3: 32 * dim("w", min=2)}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            model, (torch.randn(2, 3, 64, 96),), dynamo=True, opset_version=18, dynamic_shapes=dynamic, verbose=False
        )
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    for size in ((64, 64), (128, 64), (96, 224)):  # fewer pixels than the example's, and more
        images = torch.randn(1, 3, *size)
        with torch.inference_mode():
            expected = model(images).numpy()
        (found,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
        np.testing.assert_allclose(found, expected, atol=1e-4 * abs(expected).max())
