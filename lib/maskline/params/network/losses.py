"""The losses of params.yaml, told apart by their name."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from maskline.params.base.own import OwnSection
from maskline.params.base.types import Count, CountOrNone, Fraction, NonNegative, Positive, Section
from maskline.params.base.variants import ByName


def _some(factors: tuple[float, ...]) -> tuple[float, ...]:
    if not any(factors):
        raise ValueError("every class weight is 0, so that nothing would be learned; give a class a weight above 0")
    return factors


_Factors = Annotated[tuple[NonNegative, ...], Field(min_length=2), AfterValidator(_some)]
_ClassWeights = Annotated[
    _Factors | Literal["auto:inverse_frequency", "auto:enet_log", "auto:effective_number"] | None,
    Field(description="One factor a class; auto: from the train split's pixels, by that rule; null: all alike."),
]
_Weight = Annotated[NonNegative, Field(description="Factor in the weighted sum.")]
_Smooth = Annotated[Positive, Field(description="Added to both sides of the fraction, px.")]
_FalsePositives = Annotated[NonNegative, Field(description="Weight of false positives.")]
_Reduction = Annotated[Literal["mean", "sum"], Field(description="Of pixels; of images where they count one by one.")]
_FalseNegatives = Annotated[NonNegative, Field(description="Weight of false negatives.")]


class CrossEntropyParams(Section):
    """Cross-entropy: the mean over pixels that count."""

    name: Literal["cross_entropy"] = Field(description="The loss.")
    weight: _Weight = 1.0
    class_weights: _ClassWeights = None
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0, description="Share of the target spread over all classes."
    )


class OhemParams(Section):
    """Cross-entropy of the hard pixels alone."""

    name: Literal["ohem"] = Field(description="The loss.")
    weight: _Weight = 1.0
    class_weights: _ClassWeights = None
    threshold: Fraction = Field(default=0.7, description="Hard is a pixel whose own class is less probable.")
    min_kept: CountOrNone = Field(default=100_000, description="Pixels an image that are kept at least, the hardest.")


class OhemBatchParams(Section):
    """Cross-entropy of the hard pixels alone, by PIDNet's and DDRNet's rule."""

    name: Literal["ohem_batch"] = Field(description="The loss.")
    weight: _Weight = 1.0
    class_weights: _ClassWeights = None
    threshold: Fraction = Field(default=0.9, description="Hard is a pixel whose own class is less probable.")
    min_kept: CountOrNone = Field(
        default=131_072, description="Pixels of the whole batch that are kept at least, the hardest."
    )


class FocalParams(Section):
    """Cross-entropy in which easy pixels count less."""

    name: Literal["focal"] = Field(description="The loss.")
    weight: _Weight = 1.0
    class_weights: _ClassWeights = None
    gamma: NonNegative = Field(default=2.0, description="How much less; 0: as in cross-entropy.")
    alpha: Fraction | None = Field(
        default=None, description="Weight of the own class against the others (sigmoid); null: alike."
    )
    activation: Literal["softmax", "sigmoid"] = Field(default="softmax", description="sigmoid: each class by itself.")


class DiceParams(Section):
    """One minus the mean soft Dice score of the classes in the batch."""

    name: Literal["dice"] = Field(description="The loss.")
    weight: _Weight = 1.0
    class_weights: _ClassWeights = None
    smooth: _Smooth = 1.0


class DiceMmsegParams(Section):
    """MMSegmentation's Dice: one fraction over all classes of an image, squares in the denominator."""

    name: Literal["dice_mmseg"] = Field(description="The loss.")
    weight: _Weight = 1.0
    activation: Literal["sigmoid", "softmax"] = Field(default="sigmoid", description="From logits to probabilities.")
    naive: bool = Field(default=False, description="Plain sums in the denominator.")
    eps: Positive = Field(default=0.001, description="Added to the fraction.")
    count_ignored: bool = Field(
        default=False, description="What is predicted on ignored pixels counts as wrong, as in MMSegmentation."
    )


class JaccardParams(Section):
    """One minus the mean soft intersection over union."""

    name: Literal["jaccard"] = Field(description="The loss.")
    weight: _Weight = 1.0
    class_weights: _ClassWeights = None
    smooth: _Smooth = 1.0


class TverskyParams(Section):
    """Dice with unequal weights of the two kinds of error."""

    name: Literal["tversky"] = Field(description="The loss.")
    weight: _Weight = 1.0
    class_weights: _ClassWeights = None
    alpha: _FalsePositives = 0.3
    beta: _FalseNegatives = 0.7
    smooth: _Smooth = 1.0


class FocalTverskyParams(Section):
    """A power of the Tversky loss."""

    name: Literal["focal_tversky"] = Field(description="The loss.")
    weight: _Weight = 1.0
    class_weights: _ClassWeights = None
    alpha: _FalsePositives = 0.3
    beta: _FalseNegatives = 0.7
    gamma: Positive = Field(default=0.75, description="The power.")
    smooth: _Smooth = 1.0


class LovaszParams(Section):
    """The convex extension of one minus intersection over union."""

    name: Literal["lovasz"] = Field(description="The loss.")
    weight: _Weight = 1.0
    class_weights: _ClassWeights = None


class BoundaryParams(Section):
    """One minus the F1 score of the outlines."""

    name: Literal["boundary"] = Field(description="The loss.")
    weight: _Weight = 1.0
    class_weights: _ClassWeights = None
    radius: Count = Field(default=3, description="How far outlines may lie apart, px.")


class ClDiceParams(Section):
    """One minus the Dice score of the centre lines, for thin structures; class 0 is background."""

    name: Literal["cldice"] = Field(description="The loss.")
    weight: _Weight = 1.0
    class_weights: _ClassWeights = None
    iterations: Count = Field(default=3, description="Of the thinning: half the widest structure, px.")
    smooth: _Smooth = 1.0


class CrossEntropyMmsegParams(Section):
    """MMSegmentation's cross-entropy: divided by the number of all pixels, ignored ones too."""

    name: Literal["cross_entropy_mmseg"] = Field(description="The loss.")
    weight: _Weight = 1.0
    class_weights: _ClassWeights = None
    activation: Literal["softmax", "sigmoid"] = Field(default="softmax", description="sigmoid: each class by itself.")
    reduction: _Reduction = "mean"


class OhemMmsegParams(Section):
    """Cross-entropy of the hard pixels over the number of all pixels: MMSegmentation's OHEMPixelSampler."""

    name: Literal["ohem_mmseg"] = Field(description="The loss.")
    weight: _Weight = 1.0
    class_weights: _ClassWeights = None
    threshold: Fraction | None = Field(
        default=0.7, description="Hard is a pixel whose own class is less probable; null: the largest losses are."
    )
    min_kept: Count = Field(default=100_000, description="Pixels an image that are kept at least, the hardest.")
    count_ignored: bool = Field(
        default=True, description="Ignored pixels are among those that the sum is divided by, without class_weights."
    )


class FocalMmsegParams(Section):
    """MMSegmentation's focal loss: divided by the number of all pixels and classes, ignored pixels too."""

    name: Literal["focal_mmseg"] = Field(description="The loss.")
    weight: _Weight = 1.0
    class_weights: _ClassWeights = None
    gamma: NonNegative = Field(default=2.0, description="How much less easy pixels count.")
    alpha: Fraction | tuple[Fraction, ...] = Field(
        default=0.5, description="Weight of the own class against the others; one for all, or one a class."
    )
    reduction: _Reduction = "mean"


class TverskyMmsegParams(Section):
    """MMSegmentation's Tversky loss: image by image, over absent classes too."""

    name: Literal["tversky_mmseg"] = Field(description="The loss.")
    weight: _Weight = 1.0
    class_weights: _ClassWeights = None
    alpha: _FalsePositives = 0.3
    beta: _FalseNegatives = 0.7
    smooth: _Smooth = 1.0


class LovaszMmsegParams(Section):
    """MMSegmentation's Lovasz loss: its mean over classes is not divided by their weights."""

    name: Literal["lovasz_mmseg"] = Field(description="The loss.")
    weight: _Weight = 1.0
    class_weights: _ClassWeights = None
    classes: Literal["present", "all"] | Annotated[tuple[CountOrNone, ...], Field(min_length=1)] = Field(
        default="present", description="Those in the target, all, or these."
    )
    per_image: bool = Field(default=False, description="Image by image instead of over the batch.")
    reduction: _Reduction = "mean"


class OwnLossParams(OwnSection):
    """A loss of one's own: a function of logits, target and ignore index."""

    weight: _Weight = 1.0


LossParams = Annotated[
    CrossEntropyParams
    | OhemParams
    | OhemBatchParams
    | FocalParams
    | DiceParams
    | DiceMmsegParams
    | JaccardParams
    | TverskyParams
    | FocalTverskyParams
    | LovaszParams
    | BoundaryParams
    | ClDiceParams
    | CrossEntropyMmsegParams
    | OhemMmsegParams
    | FocalMmsegParams
    | TverskyMmsegParams
    | LovaszMmsegParams
    | OwnLossParams,
    ByName(),
]


def _counting(losses: tuple[LossParams, ...]) -> tuple[LossParams, ...]:
    """Refuse a sum that is always 0: training would go through, and learn nothing."""
    if not any(loss.weight > 0 for loss in losses):
        raise ValueError("every weight is 0, so that nothing would be learned; give a loss a weight above 0")
    return losses


Losses = Annotated[tuple[LossParams, ...], AfterValidator(_counting)]
"""Losses of which one at least has a weight."""
