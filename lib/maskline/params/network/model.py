"""The model section of params.yaml: backbone, neck, heads, whole architectures."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from maskline.core.own_code import is_own
from maskline.params.base.own import AnyName, Options
from maskline.params.base.reading import validated
from maskline.params.base.types import Count, CountOrNone, Fraction, Positive, Scale, Section
from maskline.params.base.variants import read_by
from maskline.params.input import InputParams
from maskline.params.network.heads import EoMTHeadParams, FCNHeadParams, HeadParams, MaskHeadParams
from maskline.params.network.losses import CrossEntropyParams, DiceParams, Losses
from maskline.params.network.necks import NeckParams, NoNeckParams

_UNET, _RESNET, _MIXVIT, _HRNET = (
    "unet",
    r"resnet(18|34|50|101|152)_v1[bcd]|resnest(50|101)",
    "mixvit_b[0-5]",
    r"hrnet\d+s?",
)
_CONVNEXT = r"convnext_(tiny|small|base|large|xlarge)_normed"
_POOLFORMER = r"poolformer_(s12|s24|s36|m36|m48)_normed"
_SWIN = r"swin_(tiny|small|base|large)(_window12)?"
_TWINS = r"(pcpvt|svt)_(small|base|large)"
_VIT = r"vit_(tiny|small|base|large)"
_BEIT = r"(beit|mae)_(base|large)"
_MSCAN, _ERFNET, _LITTLE = "mscan_[tsbl]", "erfnet", "little_unet"
_FIXED = (
    r"mobilenet_v2_d8|mobilenet_v3_(small|large)_d8|(bisenet_v1|icnet)_r(18|50|101)|bisenet_v2"
    r"|stdc[12]|ddrnet23(_slim)?|pidnet_[sml]|cgnet|fast_scnn"
)
_TIMM_VIT = r"(tu-)?(aimv2|beit|deit|eva|flexivit|naflexvit|samvit|test_vit|vit_|vitamin|xcit|deepseek_vit|qwen3_vit).*"
_OWN = r".*\.py:\w+"
_NAMED = (
    *(_UNET, _RESNET, _MIXVIT, _HRNET, _CONVNEXT, _POOLFORMER, _SWIN, _TWINS, _VIT, _BEIT, _MSCAN, _ERFNET, _FIXED),
    *(_LITTLE, _OWN),
)
_ENCODER = rf"(?!({'|'.join(_NAMED)})$).*"


class NormParams(Section):
    """The norm after every convolution of the backbone, and of those necks and heads that have one."""

    name: Literal["bn", "syncbn", "gn"] = Field(
        default="bn",
        description="Batch norm; batch norm over all processes (bn where there is one process); group norm.",
    )
    num_groups: Count = Field(
        default=32, description="Groups of gn; must divide every width.", json_schema_extra=read_by("gn")
    )
    eps: Positive = Field(default=1e-05, description="Added to the variance.")
    momentum: Fraction = Field(
        default=0.1,
        description="Share of a batch in the running statistics (bn, syncbn).",
        json_schema_extra=read_by("bn", "syncbn"),
    )
    trainable: bool = Field(default=True, description="Whether weights and biases of norms are trained.")


class BackboneParams(Section):
    """The feature extractor; the knobs of all families stand side by side."""

    name: AnyName = Field(
        default="unet",
        min_length=1,
        description=(
            "`unet`; `little_unet` (W-Net's, with base_channels 8 and num_stages 3); "
            "`resnet18_v1c` (18 to 152; v1b: 7x7 stem, v1c: deep stem, v1d: also averaged shortcuts); "
            "`mixvit_b0` to `mixvit_b5` (SegFormer's); `hrnet18`, `hrnet18s`, `hrnet32`, `hrnet48`; "
            "`resnest50`, `resnest101`; `mobilenet_v2_d8`; `bisenet_v1_r18` (r50, r101), `bisenet_v2`; `icnet_r18` "
            "(r50, r101), with the neck ic; "
            "`mobilenet_v3_small_d8` (large); `stdc1`, `stdc2`; `ddrnet23_slim`, `ddrnet23`; `pidnet_s` (m, l); "
            "`cgnet`; `erfnet`; `fast_scnn`; `mscan_t` (s, b, l: SegNeXt's); "
            "`convnext_tiny_normed` (small, base, large, xlarge), `poolformer_s12_normed` (s24, s36, m36, m48): timm's "
            "with a norm on each feature; `swin_tiny` (small, base, large; `swin_base_window12`); `pcpvt_small`, "
            "`svt_small` (base, large: Twins); `vit_tiny` (small, base, large: ViT and DeiT); `beit_base`, `mae_base` "
            "(large); any encoder of segmentation-models-pytorch or timm, its plain transformers too "
            "(`vit_small_patch14_dinov2`, `vit_small_patch16_dinov3`, `samvit_base_patch16`); or one of one's own, "
            "`path/to/file.py:Name`, a class that is a `maskline.models.backbones.base.BackboneBase`."
        ),
    )
    pretrained: bool = Field(
        default=False, description="Start from ImageNet weights (encoders only): an installed package's, or downloaded."
    )
    output_stride: Literal[8, 16, 32] = Field(
        default=32,
        description="Stride of the deepest feature (resnet, encoders).",
        json_schema_extra=read_by(_RESNET, _ENCODER),
    )
    stem_channels: Count | None = Field(
        default=None,
        description="Channels before the first stage (resnet); null: 64, or resnest101's 128.",
        json_schema_extra=read_by(_RESNET),
    )
    strides: tuple[Count, ...] | None = Field(
        default=None,
        description="Stride of each stage (resnet, unet); null: those of output_stride, or 1 for unet, which pools.",
        json_schema_extra=read_by(_RESNET, _UNET),
    )
    dilations: tuple[Count, ...] | None = Field(
        default=None,
        description="Dilation of each stage (resnet, unet's encoder); null: those of output_stride, or 1 for unet.",
        json_schema_extra=read_by(_RESNET, _UNET),
    )
    contract_dilation: bool = Field(
        default=True,
        description="The first block of a dilated stage has half its dilation (resnet).",
        json_schema_extra=read_by(_RESNET),
    )
    multi_grid: tuple[Count, ...] | None = Field(
        default=None,
        description="Dilation of each block of the last stage (resnet).",
        json_schema_extra=read_by(_RESNET),
    )
    base_channels: Count = Field(
        default=16,
        description="Channels of the finest feature (unet, little_unet).",
        json_schema_extra=read_by(_UNET, _LITTLE),
    )
    num_stages: int = Field(
        default=4,
        ge=2,
        le=8,
        description="Resolutions, the finest counted (unet, little_unet).",
        json_schema_extra=read_by(_UNET, _LITTLE),
    )
    encoder_convs: tuple[Count, ...] | None = Field(
        default=None, description="Convolutions of each stage (unet); null: 2.", json_schema_extra=read_by(_UNET)
    )
    decoder_convs: tuple[Count, ...] | None = Field(
        default=None,
        description="Convolutions of each decoder block, shallow to deep (unet); null: 2.",
        json_schema_extra=read_by(_UNET),
    )
    decoder_dilations: tuple[Count, ...] | None = Field(
        default=None,
        description="Dilation of each decoder block, shallow to deep (unet); null: 1.",
        json_schema_extra=read_by(_UNET),
    )
    downsamples: tuple[bool, ...] | None = Field(
        default=None,
        description="Whether each stage but the first starts with max pooling (unet); null: all.",
        json_schema_extra=read_by(_UNET),
    )
    upsample: Literal["interp", "deconv"] = Field(
        default="interp",
        description="Bilinear and 1x1 convolution, or 4x4 transposed convolution (unet).",
        json_schema_extra=read_by(_UNET),
    )
    drop_path: float = Field(
        default=0.1,
        ge=0,
        lt=1,
        description="Largest share of residual branches left out (mixvit, convnext, poolformer, swin, pcpvt, svt, vit, "
        "beit, mae, mscan).",
        json_schema_extra=read_by(_MIXVIT, _CONVNEXT, _POOLFORMER, _SWIN, _TWINS, _VIT, _BEIT, _MSCAN),
    )
    dropout: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Share of activations dropped (mixvit, swin, pcpvt, svt, vit, mscan, erfnet: 0.1 as published).",
        json_schema_extra=read_by(_MIXVIT, _SWIN, _TWINS, _VIT, _MSCAN, _ERFNET),
    )
    attention_dropout: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Share of attention weights dropped (mixvit, swin, pcpvt, svt, vit, beit, mae).",
        json_schema_extra=read_by(_MIXVIT, _SWIN, _TWINS, _VIT, _BEIT),
    )
    patch_size: Count | None = Field(
        default=None,
        description="Side of a patch, px (vit, beit, mae, timm's plain transformers); null: 16, or timm's own of that "
        "name. Pretrained patches of timm are resized to it.",
        json_schema_extra=read_by(_VIT, _BEIT, _TIMM_VIT),
    )
    image_size: tuple[Count, Count] = Field(
        default=(512, 512),
        description="Height and width that tables of positions have an entry for each patch of, px; they are resized "
        "for other sizes (vit, beit, mae).",
        json_schema_extra=read_by(_VIT, _BEIT),
    )
    out_indices: tuple[CountOrNone, ...] | None = Field(
        default=None,
        min_length=1,
        description="Blocks whose output is a feature, from 0; null: the last one of each quarter (vit, beit, mae, "
        "timm's plain transformers).",
        json_schema_extra=read_by(_VIT, _BEIT, _TIMM_VIT),
    )
    final_norm: bool = Field(
        default=False,
        description="A layer norm after the last block (vit, beit, mae); timm's plain transformers: their last norm "
        "after each feature.",
        json_schema_extra=read_by(_VIT, _BEIT, _TIMM_VIT),
    )
    layer_norm_eps: Positive = Field(
        default=1e-06,
        description="Added to the variance in layer norms (vit, beit, mae).",
        json_schema_extra=read_by(_VIT, _BEIT),
    )
    class_token: bool = Field(
        default=True, description="Whether patches see the class token (vit).", json_schema_extra=read_by(_VIT)
    )
    join_class_token: bool = Field(
        default=False,
        description="Each feature ends with the class token's channels at every pixel: what the head dpt reads (vit).",
        json_schema_extra=read_by(_VIT),
    )
    position_resize: Literal["bicubic", "bilinear"] = Field(
        default="bicubic",
        description="How positions are resized for other sizes (vit).",
        json_schema_extra=read_by(_VIT),
    )
    options: Options = Field(
        default={},
        description="Keywords of a backbone of one's own, besides `in_channels` and `norm`.",
        json_schema_extra=read_by(_OWN),
    )
    frozen_stages: int = Field(
        default=-1,
        ge=-1,
        description="-1: none; 0: the stem; k: the stem and the first k stages; an encoder is one stage.",
    )
    norm_eval: bool = Field(default=False, description="Batch norms of the backbone keep their running statistics.")
    frozen: bool = Field(
        default=False,
        description="The whole backbone keeps its weights and statistics, and nothing in it is dropped: training takes "
        "no gradient there.",
    )


class SmpParams(Section):
    """A whole architecture of segmentation-models-pytorch."""

    architecture: str = Field(
        default="Unet", min_length=1, description="Unet, UnetPlusPlus, MAnet, Linknet, FPN, PSPNet, ..."
    )
    encoder: str = Field(default="resnet18", min_length=1, description="resnet18, mit_b0, tu-convnext_atto, ...")
    pretrained: bool = Field(
        default=False, description="Start from ImageNet weights: an installed package's, or downloaded."
    )
    losses: Losses = Field(
        default=(CrossEntropyParams(name="cross_entropy"), DiceParams(name="dice")),
        min_length=1,
        description="Weighted sum.",
    )
    auxiliary_heads: tuple[HeadParams, ...] = Field(
        default=(), description="Heads on the encoder's features (position 0 is the image) that only training uses."
    )


class NetworkParams(Section):
    """The parts of one network."""

    type: Literal["encoder_decoder", "smp"] = Field(
        default="encoder_decoder", description="Which of the parts below make the network."
    )
    backbone: BackboneParams = BackboneParams()
    neck: NeckParams = NoNeckParams(name="none")
    cascade_heads: tuple[HeadParams, ...] = Field(
        default=(), description="Heads before decode_head, in order; each head sees the logits of the one before."
    )
    decode_head: HeadParams = FCNHeadParams(name="fcn")
    auxiliary_heads: tuple[HeadParams, ...] = Field(
        default=(), description="Heads that only training uses; any number."
    )
    smp: SmpParams = SmpParams()

    @model_validator(mode="after")
    def _check_heads(self) -> "NetworkParams":
        if "stdc" in (head.name for head in (*self.cascade_heads, self.decode_head)):
            raise ValueError("a head stdc tells where borders are, not classes; move it to auxiliary_heads")
        if not self.cascade_heads and self.decode_head.name in ("ocr", "point"):
            remedy = "give it one: -S 'model.cascade_heads=[{name: fcn}]'"
            raise ValueError(f"decode_head {self.decode_head.name} refines the logits of a head before it; {remedy}")
        if isinstance(self.decode_head, EoMTHeadParams) and self.type == "encoder_decoder":
            told = "decode_head eomt is made of the backbone's last blocks; "
            if self.auxiliary_heads:
                raise ValueError(told + "give it no auxiliary heads: -S 'model.auxiliary_heads=[]'")
            if self.neck.name != "none":
                raise ValueError(told + "give it no neck: -S model.neck.name=none")
        if any(head.name == "eomt" for head in (*self.cascade_heads, *self.auxiliary_heads, *self.smp.auxiliary_heads)):
            raise ValueError("a head eomt is made of the backbone's last blocks; make it decode_head, of no cascade")
        if self.cascade_heads and self.decode_head.name == "eomt":
            raise ValueError("decode_head eomt takes no logits of a head before it; -S 'model.cascade_heads=[]'")
        if masks := [head.name for head in self.cascade_heads if isinstance(head, MaskHeadParams)]:
            raise ValueError(
                f"cascade_heads has {masks[0]}, which gives no logits to a head after it; make it decode_head"
            )
        return self


class ModelParams(NetworkParams, InputParams):
    """The network and what its input looks like."""

    align_corners: bool = Field(default=False, description="How logits and features are resized.")
    channel_order: Literal["rgb", "bgr"] = Field(
        default="rgb",
        description="bgr: the backbone sees the channels of images from last to first, as weights of BGR images need "
        "it (encoder_decoder); images, mean and std are RGB all the same.",
    )
    test_scale: Scale | None = Field(
        default=None,
        description="Longer and shorter side, px, in any order: whenever a whole image is looked at (validation, "
        "evaluation, prediction, exported files), it is scaled, up or down, to the largest size of its aspect within "
        "them before the network sees it, and the logits are resized back; null: images keep their size.",
    )
    weights: str | None = Field(default=None, description="A folder with model.safetensors to start from.")
    norm: NormParams = NormParams()
    members: Annotated[int, Field(ge=1, le=16)] = Field(
        default=1,
        description="So many of this network, trained side by side in one run on the same batches, each from a start "
        "of its own and with its own losses; the mean of their probabilities is what is scored and exported.",
    )
    refiners: tuple[NetworkParams, ...] = Field(
        default=(),
        description="Whole networks in a row after this one, any number; each sees the image and the probabilities "
        "that the network before gives all classes but the first, and has losses of its own.",
    )

    @model_validator(mode="after")
    def _check_row(self) -> "ModelParams":
        for network in self.networks()[:-1]:
            head = network.decode_head
            if network.type == "encoder_decoder" and (head.name == "point" or isinstance(head, MaskHeadParams)):
                raise ValueError(
                    f"{head.name} gives training no logits of all pixels, which the network after it in the row needs; "
                    "make that network the last of model.refiners"
                )
        return self

    def networks(self) -> "tuple[ModelParams, ...]":
        """Return the networks of the row, each as a section of its own; those after the first see the same images."""
        parts = NetworkParams.model_fields
        alone = self.model_copy(update={"refiners": ()})
        behind = alone.model_copy(update={"weights": None, "channel_order": "rgb"})
        others = ({name: getattr(network, name) for name in parts} for network in self.refiners)
        return (alone, *(behind.model_copy(update=values) for values in others))

    def own_code(self, *, losses: bool = True) -> dict[str, str]:
        """Return key -> name of what is of the user's own code in the parts that make the network.

        Args:
            losses: Those too.
        """
        names = {key: name for place, network in self._placed() for key, name in _of_network(network, place)}
        return {key: name for key, name in names.items() if losses or ".losses." not in key}

    def _placed(self) -> "Iterator[tuple[str, NetworkParams]]":
        yield "model", self
        for i, network in enumerate(self.refiners):
            yield f"model.refiners.{i}", network


def _of_network(network: NetworkParams, place: str) -> Iterator[tuple[str, str]]:
    whole = {"smp": network.smp} if network.type == "smp" else {name: getattr(network, name) for name in _PARTS}
    values = {
        name: part.model_dump() if isinstance(part, Section) else [entry.model_dump() for entry in part]
        for name, part in whole.items()
    }
    return _own_names(values, place)


_PARTS = ("backbone", "cascade_heads", "decode_head", "auxiliary_heads")


def _own_names(value: Any, place: str) -> Iterator[tuple[str, str]]:
    """Yield key and value of each ``name`` that names the user's own code."""
    entries = value.items() if isinstance(value, Mapping) else enumerate(value)
    for key, entry in entries:
        if key == "name" and is_own(entry):
            yield f"{place}.name", entry
        elif isinstance(entry, Mapping | list | tuple) and key != "options":
            yield from _own_names(entry, f"{place}.{key}")


def validate_model(values: Mapping[str, Any], *, place: object) -> ModelParams:
    """Check the model section alone, as a trained model's card holds it.

    Raises:
        ParamsError: A value is wrong.
    """
    return validated(values, ModelParams, place=place, tells=False)
