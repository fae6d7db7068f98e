"""The heads of params.yaml, told apart by their name."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from maskline.params.base.own import OwnSection
from maskline.params.base.types import Count, CountOrNone, Fraction, NonNegative, Positive, Section
from maskline.params.base.variants import ByName, read_by
from maskline.params.network.losses import (
    CrossEntropyParams,
    DiceMmsegParams,
    FocalParams,
    Losses,
    OhemBatchParams,
)

Several = Annotated[tuple[int, ...], Field(min_length=1)]
Counts = Annotated[tuple[Count, ...], Field(min_length=1)]


class _AnyHead(Section):
    """What all heads have."""

    takes: ClassVar[Literal["one", "all", "coarsest", "finest"]] = "all"
    """Features that a head without ``in_index`` takes; ``coarsest``: three at most."""
    alike: ClassVar[bool] = False
    """Whether its features must have one resolution."""

    in_index: int | Several | None = Field(
        default=None,
        description="Which of the features; a list for heads that take several; null: the last one, or for heads that "
        "take several all of them, finest first.",
    )
    channels: Count = Field(default=256, description="Channels of the head's convolutions.")


class _Head(_AnyHead):
    """A head that gives logits."""

    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.1, description="Share of channels dropped before the classifier."
    )
    with_norm: bool = Field(
        default=True, description="The model's norm after each convolution; else convolutions have a bias."
    )
    align_corners: bool | None = Field(
        default=None, description="How its features and logits are resized; null: as model.align_corners says."
    )
    losses: Losses = Field(
        default=(CrossEntropyParams(name="cross_entropy"),), min_length=1, description="Weighted sum."
    )


class _OneInput(_Head):
    """A head on one feature, or on several that are made one."""

    takes = "one"

    input_transform: Literal["resize_concat"] | None = Field(
        default=None, description="resize_concat: several features, resized to the first one's size and concatenated."
    )

    @model_validator(mode="after")
    def _check(self) -> "_OneInput":
        if isinstance(self.in_index, tuple) and self.input_transform is None:
            raise ValueError("in_index is a list, but input_transform is null")
        return self


class FCNHeadParams(_OneInput):
    """Convolutions and a classifier."""

    name: Literal["fcn"] = Field(description="The head.")
    num_convs: CountOrNone = Field(default=2, description="Convolutions before the classifier.")
    concat_input: bool = Field(
        default=True, description="Join the input to the last convolution's output, and convolve once more."
    )
    kernel_size: Count = Field(default=3, description="Side of the kernels, px.")
    dilation: Count = Field(default=1, description="Dilation of the convolutions.")


class LinearHeadParams(_OneInput):
    """A norm and a 1x1 convolution: for good features that stay as they are (`model.backbone.frozen`)."""

    name: Literal["linear"] = Field(description="The head.")
    channels: Count = Field(
        default=256, description="No effect: they are those of the features.", json_schema_extra=read_by()
    )
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0, description="Share of channels dropped before the classifier."
    )


class SeparableFCNHeadParams(_OneInput):
    """Depthwise separable convolutions and a classifier."""

    name: Literal["separable_fcn"] = Field(description="The head.")
    num_convs: CountOrNone = Field(default=2, description="Convolutions before the classifier.")
    concat_input: bool = Field(
        default=True, description="Join the input to the last convolution's output, and convolve once more."
    )


class STDCHeadParams(FCNHeadParams):
    """STDC's detail head: convolutions and a classifier of two classes, whether there is a border; only auxiliary."""

    name: Literal["stdc"] = Field(description="The head.")  # type: ignore[assignment]
    boundary_threshold: Positive = Field(default=0.1, description="Of the class ids' Laplacian, where a border is.")
    losses: Losses = Field(
        default=(
            FocalParams(name="focal", gamma=0.0, activation="sigmoid"),
            DiceMmsegParams(name="dice_mmseg"),
        ),
        min_length=1,
        description="Weighted sum, of the two classes.",
    )


class FCNSkipHeadParams(_Head):
    """FCN-32s, 16s, 8s: one, two or three features, finest first."""

    takes = "coarsest"

    name: Literal["fcn_skip"] = Field(description="The head.")
    kernel_size: Count = Field(default=7, description="Side of the kernel on the coarsest feature, px.")
    upsample: Literal["bilinear", "deconv"] = Field(
        default="bilinear", description="deconv: learnable, starts as bilinear."
    )


class PSPHeadParams(_OneInput):
    """Pooling pyramid."""

    name: Literal["psp"] = Field(description="The head.")
    bins: Counts = Field(default=(1, 2, 3, 6), description="Rows and columns of each grid.")


class ASPPHeadParams(_OneInput):
    """DeepLabV3."""

    name: Literal["aspp"] = Field(description="The head.")
    dilations: Counts = Field(default=(1, 6, 12, 18), description="Dilation of each branch.")


class SeparableASPPHeadParams(_OneInput):
    """DeepLabV3+."""

    name: Literal["separable_aspp"] = Field(description="The head.")
    dilations: Counts = Field(default=(1, 6, 12, 18), description="Dilation of each branch.")
    c1_channels: CountOrNone = Field(
        default=48, description="Channels that the first feature is reduced to; 0: it is not joined."
    )


class LargeFOVHeadParams(_OneInput):
    """DeepLab v1."""

    name: Literal["large_fov"] = Field(description="The head.")
    dilation: Count = Field(default=12, description="Dilation of the convolution.")


class SummedASPPHeadParams(_OneInput):
    """DeepLab v2."""

    name: Literal["summed_aspp"] = Field(description="The head.")
    dilations: Counts = Field(default=(6, 12, 18, 24), description="Dilation of each branch.")


class UPerHeadParams(_Head):
    """UPerNet: several features, finest first."""

    name: Literal["uper"] = Field(description="The head.")
    bins: Counts = Field(default=(1, 2, 3, 6), description="Rows and columns of each grid of the pooling pyramid.")


class FPNHeadParams(_Head):
    """Semantic FPN: several features, finest first."""

    name: Literal["fpn"] = Field(description="The head.")
    strides: Counts | None = Field(
        default=None, description="Stride of each feature, finest first; null: the backbone's own."
    )


class SegformerHeadParams(_Head):
    """SegFormer: several features, finest first."""

    name: Literal["segformer"] = Field(description="The head.")
    interpolation: Literal["bilinear", "nearest"] = Field(
        default="bilinear", description="How coarse features are enlarged."
    )


class OCRHeadParams(_OneInput):
    """Object context; second in a cascade."""

    name: Literal["ocr"] = Field(description="The head.")
    ocr_channels: Count = Field(default=256, description="Channels of queries, keys and values.")


class PointHeadParams(_Head):
    """PointRend; second in a cascade."""

    takes = "finest"

    name: Literal["point"] = Field(description="The head.")
    num_fcs: Count = Field(default=3, description="Layers before the classifier.")
    coarse_each_layer: bool = Field(default=True, description="Join the former logits to each layer's output.")
    train_points: Count = Field(default=2048, description="Points of an image that training compares.")
    oversample: Annotated[float, Field(ge=1)] = Field(default=3.0, description="Candidates per chosen point.")
    uncertain_share: Fraction = Field(
        default=0.75, description="Share of the points that are the most uncertain candidates."
    )
    steps: Count = Field(default=2, description="Refinements at inference.")
    step_points: Count = Field(default=8196, description="Points predicted anew in each refinement.")
    scale_factor: Annotated[int, Field(ge=2)] = Field(
        default=2, description="What a refinement multiplies the resolution by."
    )


class _FCNContextHead(_OneInput):
    """A block between two convolutions."""

    concat_input: bool = Field(
        default=True, description="Join the input to the last convolution's output, and convolve once more."
    )


class NonLocalHeadParams(_FCNContextHead):
    """Non-local: each pixel sees all others."""

    name: Literal["non_local"] = Field(description="The head.")
    reduction: Count = Field(default=2, description="What the block's inner channels are fewer by.")
    scaled: bool = Field(default=True, description="Divide scores by the root of the inner channels.")


class DNLHeadParams(_FCNContextHead):
    """Disentangled non-local: deviations from the mean, and the mean, by themselves."""

    name: Literal["dnl"] = Field(description="The head.")
    reduction: Count = Field(default=2, description="What the block's inner channels are fewer by.")
    scaled: bool = Field(default=True, description="Divide scores by the root of the inner channels.")
    temperature: Positive = Field(default=0.05, description="What scores are divided by.")


class GCHeadParams(_FCNContextHead):
    """GCNet: all pixels see one mean over the image."""

    name: Literal["gc"] = Field(description="The head.")
    ratio: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.25, description="Share of the channels that the mean is reduced to in between."
    )
    pooling: Literal["att", "avg"] = Field(default="att", description="A mean with learned weights, or the plain one.")
    fusion_types: Annotated[tuple[Literal["channel_add", "channel_mul"], ...], Field(min_length=1)] = Field(
        default=("channel_add",), description="The mean is added, its sigmoid scales, or both."
    )


class CCHeadParams(_FCNContextHead):
    """CCNet: each pixel sees its row and column, twice."""

    name: Literal["cc"] = Field(description="The head.")
    recurrence: Count = Field(default=2, description="How often the block is applied.")


class DAHeadParams(_OneInput):
    """DANet: attention among pixels and among channels; the losses count for each and for their sum."""

    name: Literal["da"] = Field(description="The head.")
    pam_channels: Count = Field(default=64, description="Channels of queries and keys among pixels.")


class ISAHeadParams(_OneInput):
    """ISANet: attention among far pixels, then among near ones."""

    name: Literal["isa"] = Field(description="The head.")
    isa_channels: Count = Field(default=256, description="Channels of queries and keys.")
    down_factor: tuple[Count, Count] = Field(default=(8, 8), description="Rows and columns of a block of near pixels.")


class ANNHeadParams(_Head):
    """Asymmetric non-local: pixels see means over grids; two features, finer first."""

    takes = "coarsest"

    name: Literal["ann"] = Field(description="The head.")
    project_channels: Count = Field(default=256, description="Channels of queries, keys and values.")
    bins: Counts = Field(default=(1, 3, 6, 8), description="Rows and columns of each grid.")


class PSAHeadParams(_OneInput):
    """PSANet: each pixel predicts what it takes from and gives to its surroundings."""

    name: Literal["psa"] = Field(description="The head.")
    mask_size: tuple[Count, Count] = Field(default=(97, 97), description="Rows and columns of the surroundings, odd.")
    kind: Literal["collect", "distribute", "bi-direction"] = Field(
        default="bi-direction", description="Take, give, or both."
    )
    shrink_factor: Count = Field(default=2, description="What the feature is smaller by while this is done.")
    normalization_factor: Positive | None = Field(
        default=1.0, description="What the sums are divided by; null: the places of the surroundings."
    )
    with_softmax: bool = Field(default=True, description="Softmax over the places.")


class EncHeadParams(_Head):
    """EncNet: channels scaled by the image's encoding; three features at most, finest first."""

    takes = "coarsest"

    name: Literal["enc"] = Field(description="The head.")
    num_codes: Count = Field(default=32, description="Number of codewords.")
    add_lateral: bool = Field(default=False, description="Join the finer features to the coarsest one.")
    presence_weight: NonNegative = Field(
        default=0.2, description="Weight of the loss on which classes an image has; 0: they are not predicted."
    )


class APCHeadParams(_OneInput):
    """APCNet: means over grids, weighed by each pixel for itself."""

    name: Literal["apc"] = Field(description="The head.")
    bins: Counts = Field(default=(1, 2, 3, 6), description="Rows and columns of each grid.")
    fusion: bool = Field(default=True, description="Convolve each grid's output once more.")


class DMHeadParams(_OneInput):
    """DMNet: convolutions whose kernels the image gives."""

    name: Literal["dm"] = Field(description="The head.")
    filter_sizes: Counts = Field(default=(1, 3, 5, 7), description="Side of each kernel, px.")
    fusion: bool = Field(default=False, description="Convolve each output once more.")


class EMAHeadParams(_OneInput):
    """EMANet: the feature as a mixture of a few bases."""

    name: Literal["ema"] = Field(description="The head.")
    ema_channels: Count = Field(default=512, description="Channels of the bases.")
    num_bases: Count = Field(default=64, description="Number of bases.")
    num_stages: Count = Field(default=3, description="Steps in which the bases are fitted to an input.")
    momentum: Fraction = Field(default=0.1, description="Share of a batch's bases in those that a fit starts from.")
    concat_input: bool = Field(
        default=True, description="Join the input to the last convolution's output, and convolve once more."
    )


class KernelFCNParams(Section):
    """Kernels from convolutions."""

    name: Literal["fcn"] = Field(description="The head that gives features and first kernels.")
    num_convs: CountOrNone = Field(default=2, description="Convolutions before the classifier.")
    concat_input: bool = Field(
        default=True, description="Join the input to the last convolution's output, and convolve once more."
    )


class KernelPSPParams(Section):
    """Kernels from a pooling pyramid."""

    name: Literal["psp"] = Field(description="The head that gives features and first kernels.")
    bins: Counts = Field(default=(1, 2, 3, 6), description="Rows and columns of each grid.")


class KernelASPPParams(Section):
    """Kernels from DeepLabV3's head."""

    name: Literal["aspp"] = Field(description="The head that gives features and first kernels.")
    dilations: Counts = Field(default=(1, 12, 24, 36), description="Dilation of each branch.")


class KernelUPerParams(Section):
    """Kernels from UPerNet's head; it takes several features, finest first."""

    name: Literal["uper"] = Field(description="The head that gives features and first kernels.")
    bins: Counts = Field(default=(1, 2, 3, 6), description="Rows and columns of each grid of the pooling pyramid.")


KernelParams = Annotated[KernelFCNParams | KernelPSPParams | KernelASPPParams | KernelUPerParams, ByName()]


class KNetHeadParams(_Head):
    """K-Net: a kernel a class, refined in stages; the losses count for each stage."""

    takes = "one"

    name: Literal["knet"] = Field(description="The head.")
    generator: KernelParams = KernelFCNParams(name="fcn")
    num_stages: Count = Field(default=3, description="Refinements.")
    num_heads: Count = Field(default=8, description="Of the attention among kernels; divides channels.")
    num_mask_layers: CountOrNone = Field(default=1, description="Linear layers from a kernel to a mask.")
    feedforward_channels: Count = Field(default=2048, description="Channels inside of the perceptrons.")
    kernel_channels: Count = Field(
        default=256, description="Channels that are updated together; divides channels, or all of them."
    )

    @model_validator(mode="after")
    def _check(self) -> "KNetHeadParams":
        if isinstance(self.in_index, tuple) and self.generator.name != "uper":
            raise ValueError(f"in_index is a list, but generator {self.generator.name} takes one feature")
        return self

    def first_head(self) -> "FCNHeadParams | PSPHeadParams | ASPPHeadParams | UPerHeadParams":
        """Return the whole section of the generator, which takes the features that this head is given."""
        common = self.model_dump(include={"in_index", "channels", "dropout", "with_norm", "align_corners"})
        return _GENERATORS[self.generator.name](**self.generator.model_dump(), **common)


class MaskHeadParams(_AnyHead):
    """A head that predicts masks, and a class for each.

    Training matches each class of an image with one mask, and has losses of its own.
    """

    num_queries: Count = Field(default=100, description="Masks of an image.")
    class_loss_weight: NonNegative = Field(default=1.0, description="Weight of the cross-entropy of the classes.")
    mask_loss_weight: NonNegative = Field(default=20.0, description="Weight of the loss of a mask's places.")
    dice_loss_weight: NonNegative = Field(default=1.0, description="Weight of one minus the Dice score of a mask.")
    void_weight: Positive = Field(default=0.1, description="Weight of a mask of no class in the cross-entropy.")
    count_ignored: bool = Field(
        default=False, description="Ignored pixels are outside of every mask, as published; else they do not count."
    )


class _DecoderHead(MaskHeadParams):
    """A mask head with layers of queries of its own; several features, finest first."""

    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0, description="Share of attention weights and activations dropped."
    )
    num_heads: Count = Field(default=8, description="Of each attention; divides channels.")
    feedforward_channels: Count = Field(default=2048, description="Channels inside of the perceptrons.")


class _AtPoints(MaskHeadParams):
    """A mask head whose masks are compared at points."""

    class_loss_weight: NonNegative = Field(default=2.0, description="Weight of the cross-entropy of the classes.")
    mask_loss_weight: NonNegative = Field(default=5.0, description="Weight of the loss of a mask's places.")
    dice_loss_weight: NonNegative = Field(default=5.0, description="Weight of one minus the Dice score of a mask.")
    train_points: Count = Field(default=12544, description="Points of a mask that training compares.")
    oversample: Annotated[float, Field(ge=1)] = Field(default=3.0, description="Candidates per chosen point.")
    uncertain_share: Fraction = Field(
        default=0.75, description="Share of the points that are the most uncertain candidates."
    )


MASK_LOSS_KEYS = {"class_loss_weight", "mask_loss_weight", "dice_loss_weight", "void_weight", "count_ignored"}
MASK_POINT_KEYS = {"train_points", "oversample", "uncertain_share"}
"""Keys of such a head that are its loss's."""


class MaskFormerHeadParams(_DecoderHead):
    """MaskFormer: masks that queries find in the coarsest feature."""

    name: Literal["maskformer"] = Field(description="The head.")
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.1, description="Share of attention weights and activations dropped."
    )
    num_layers: Count = Field(default=6, description="Layers of queries; the losses count for each.")


class Mask2FormerHeadParams(_AtPoints, _DecoderHead):
    """Mask2Former: queries look at the pixels of their own masks, level by level; masks are compared at points."""

    name: Literal["mask2former"] = Field(description="The head.")
    num_layers: Count = Field(
        default=9, description="Layers of queries; the losses count for each, and for the queries before the first."
    )
    num_levels: Count = Field(
        default=3, description="Coarsest features that look at each other; finer ones are added to them."
    )
    num_points: Count = Field(default=4, description="Places that a pixel looks at in each level.")
    encoder_layers: Count = Field(default=6, description="Layers in which pixels look at each other.")
    encoder_feedforward_channels: Count = Field(default=1024, description="Channels inside of their perceptrons.")


class EoMTHeadParams(_AtPoints):
    """EoMT: the last blocks of a plain transformer of timm see queries too; with no neck and no auxiliary heads.

    The losses count for what is predicted before each of these blocks, and after them.
    """

    name: Literal["eomt"] = Field(description="The head.")
    in_index: int | Several | None = Field(
        default=None, description="No effect: it takes the last blocks.", json_schema_extra=read_by()
    )
    channels: Count = Field(
        default=256, description="No effect: they are those of the backbone.", json_schema_extra=read_by()
    )
    num_blocks: Count = Field(default=4, description="Blocks of the backbone that see the queries.")
    mask_annealing: bool = Field(
        default=True,
        description="Queries keep to their own masks less and less often, with 4 blocks from 1/6 to 5/6 of the run; "
        "false: always, in the trained network too.",
    )
    annealing_power: Positive = Field(default=0.9, description="Of that fall.")


_GENERATORS: dict[str, type[FCNHeadParams | PSPHeadParams | ASPPHeadParams | UPerHeadParams]] = {
    "fcn": FCNHeadParams,
    "psp": PSPHeadParams,
    "aspp": ASPPHeadParams,
    "uper": UPerHeadParams,
}


class LRASPPHeadParams(_Head):
    """Lite R-ASPP: the coarsest feature scaled by means over windows; three features at most, finest first."""

    takes = "coarsest"

    name: Literal["lraspp"] = Field(description="The head.")
    channels: Count = Field(default=128, description="Channels of the head's convolutions.")
    branch_channels: Counts = Field(
        default=(32, 64), description="Channels that each finer feature is reduced to; further ones have the last."
    )


class LightHamHeadParams(_Head):
    """SegNeXt: a low-rank approximation of the joined features; three features at most, finest first."""

    takes = "coarsest"

    name: Literal["light_ham"] = Field(description="The head.")
    ham_channels: Count = Field(default=512, description="Channels of the approximated matrix.")
    rank: Count = Field(default=16, description="Its rank.")
    train_steps: Count = Field(default=6, description="Steps of the approximation while training.")
    eval_steps: Count = Field(default=7, description="Steps of the approximation otherwise.")
    num_groups: Count | None = Field(
        default=32,
        description="The head's norms are group norms of so many groups, or fewer where they do not divide the "
        "channels; null: the model's norm.",
    )


_OF_BATCH = OhemBatchParams(name="ohem_batch")


class DDRHeadParams(_Head):
    """DDRNet: the last feature; training compares the first one too."""

    takes = "coarsest"

    name: Literal["ddr"] = Field(description="The head.")
    channels: Count = Field(default=64, description="Channels of the head's convolutions.")
    losses: Losses = Field(default=(_OF_BATCH,), min_length=1, description="Weighted sum.")
    fine_losses: Losses = Field(
        default=(_OF_BATCH.model_copy(update={"weight": 0.4}),),
        min_length=1,
        description="Weighted sum, of the first feature's logits.",
    )


class PIDHeadParams(_Head):
    """PIDNet: the last feature; training compares detail, borders, and what is near them too."""

    takes = "coarsest"

    name: Literal["pid"] = Field(description="The head.")
    losses: Losses = Field(default=(_OF_BATCH,), min_length=1, description="Weighted sum.")
    detail_losses: Losses = Field(
        default=(CrossEntropyParams(name="cross_entropy", weight=0.4),),
        min_length=1,
        description="Weighted sum, of the detail's logits.",
    )
    boundary_weight: NonNegative = Field(default=20.0, description="Weight of the loss on where borders are.")
    at_boundary_losses: Losses = Field(
        default=(_OF_BATCH,), min_length=1, description="Weighted sum, of the logits where the network sees a border."
    )


class SETRUpHeadParams(_OneInput):
    """SETR's naive head (one convolution) or progressive one (several): each convolution is followed by a step up."""

    name: Literal["setr_up"] = Field(description="The head.")
    num_convs: Count = Field(default=1, description="Convolutions.")
    scale: Count = Field(default=4, description="Factor of the enlargement after each.")
    kernel_size: Literal[1, 3] = Field(default=3, description="Side of the kernels, px.")


class SETRMLAHeadParams(_Head):
    """SETR's multi-level head: several features of one resolution; `channels` are shared out among them."""

    alike = True

    name: Literal["setr_mla"] = Field(description="The head.")
    scale: Count = Field(default=4, description="Factor of the enlargement.")


class SegmenterHeadParams(_OneInput):
    """Segmenter: classes are tokens beside the patches of a plain transformer; `channels` is a token's width."""

    name: Literal["segmenter"] = Field(description="The head.")
    num_layers: Count = Field(default=2, description="Blocks.")
    num_heads: Count = Field(default=4, description="Attention heads; must divide channels.")
    drop_path: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.1, description="Largest share of the perceptrons' branches left out."
    )

    @model_validator(mode="after")
    def _check_heads(self) -> "SegmenterHeadParams":
        if self.channels % self.num_heads:
            raise ValueError(f"num_heads {self.num_heads} does not divide channels {self.channels}")
        return self


class DPTHeadParams(_Head):
    """DPT: four features of a plain transformer become a pyramid, fused from coarse to fine."""

    alike = True

    name: Literal["dpt"] = Field(description="The head.")
    widths: Annotated[tuple[Count, ...], Field(min_length=4, max_length=4)] = Field(
        default=(96, 192, 384, 768), description="Channels of each level of the pyramid, finest first."
    )
    readout: Literal["ignore", "add", "project"] = Field(
        default="ignore",
        description="The class token: left out, added to each patch, or joined to it and projected; all but ignore "
        "need `model.backbone.join_class_token: true`.",
    )


class OwnHeadParams(_Head, OwnSection):
    """A head of one's own: a class that is a `maskline.models.heads.base.Head`."""

    takes = "one"


HeadParams = Annotated[
    FCNHeadParams
    | LinearHeadParams
    | SeparableFCNHeadParams
    | FCNSkipHeadParams
    | PSPHeadParams
    | ASPPHeadParams
    | SeparableASPPHeadParams
    | LargeFOVHeadParams
    | SummedASPPHeadParams
    | UPerHeadParams
    | FPNHeadParams
    | SegformerHeadParams
    | OCRHeadParams
    | PointHeadParams
    | NonLocalHeadParams
    | DNLHeadParams
    | GCHeadParams
    | CCHeadParams
    | DAHeadParams
    | ISAHeadParams
    | ANNHeadParams
    | PSAHeadParams
    | EncHeadParams
    | APCHeadParams
    | DMHeadParams
    | LRASPPHeadParams
    | LightHamHeadParams
    | STDCHeadParams
    | DDRHeadParams
    | PIDHeadParams
    | SETRUpHeadParams
    | SETRMLAHeadParams
    | SegmenterHeadParams
    | DPTHeadParams
    | EMAHeadParams
    | KNetHeadParams
    | MaskFormerHeadParams
    | Mask2FormerHeadParams
    | EoMTHeadParams
    | OwnHeadParams,
    ByName(),
]
