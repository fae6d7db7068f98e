"""The ``augment`` section of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from maskline.params.base.types import Byte, Count, Fraction, NonNegative, Positive, Section, Size
from maskline.params.extra import ExtraParams

_FOLD_FREE = 0.48  # as maskline.augment.deform, which needs torch

Share = Annotated[float, Field(gt=0, le=1)]


def ordered(low_high: tuple[float, float]) -> tuple[float, float]:
    """Return a range.

    Raises:
        ValueError: Its first value is the larger one.
    """
    low, high = low_high
    if low > high:
        raise ValueError(f"the first value {low:g} is larger than the second {high:g}")
    return low_high


class PhotometricParams(Section):
    """Brightness, contrast, saturation and hue."""

    mode: Literal["matrix", "mmseg", "jitter"] = Field(
        default="matrix",
        description="matrix: all four as one color matrix. mmseg: MMSegmentation's steps, in whole gray levels and "
        "HSV. jitter: torchvision's steps, in a drawn order.",
    )
    prob: Fraction = Field(default=0.5, description="Probability of each of the four changes.")
    brightness: Annotated[float, Field(ge=0, le=255)] = Field(
        default=16, description="Largest shift, gray levels of 255."
    )
    contrast: tuple[NonNegative, NonNegative] = Field(default=(0.8, 1.2), description="Range of the contrast factor.")
    saturation: tuple[NonNegative, NonNegative] = Field(
        default=(0.8, 1.2), description="Range of the saturation factor."
    )
    hue_degrees: Annotated[float, Field(ge=0, le=180)] = Field(
        default=8,
        description="Largest turn of the hue, degrees; MMSegmentation's `hue_delta` counts two degrees as one.",
    )

    @model_validator(mode="after")
    def _check(self) -> "PhotometricParams":
        ordered(self.contrast)
        ordered(self.saturation)
        return self


class BlurParams(Section):
    """Gaussian blur."""

    prob: Fraction = Field(default=0.0, description="Probability.")
    sigma: tuple[Positive, Positive] = Field(default=(0.1, 1.5), description="Range of the standard deviation, px.")

    @model_validator(mode="after")
    def _check(self) -> "BlurParams":
        ordered(self.sigma)
        return self


class NoiseParams(Section):
    """Gaussian noise."""

    prob: Fraction = Field(default=0.0, description="Probability.")
    std: NonNegative = Field(default=8.0, description="Standard deviation, gray levels of 255.")


class AffineParams(Section):
    """Shear and shift, in the same warp as scale and rotation."""

    prob: Fraction = Field(default=0.0, description="Probability.")
    shear_degrees: Annotated[float, Field(ge=0, le=60)] = Field(
        default=10, description="Largest shear on each axis, degrees."
    )
    translate: Fraction = Field(default=0.1, description="Largest shift on each axis, as a share of the crop's side.")


class PerspectiveParams(Section):
    """A view from the side, in the same warp."""

    prob: Fraction = Field(default=0.0, description="Probability.")
    tilt: Annotated[float, Field(ge=0, le=0.9)] = Field(
        default=0.3,
        description="How much nearer or farther than its centre a corner of the crop is at most, as a share.",
    )


class ElasticParams(Section):
    """An elastic deformation, in the same warp: a cubic B-spline over a grid of points that move."""

    prob: Fraction = Field(default=0.0, description="Probability.")
    magnitude_px: NonNegative = Field(
        default=8, description="Largest movement of a point on each axis, px of the crop."
    )
    spacing_px: Annotated[float, Field(ge=2)] = Field(default=32, description="Distance of the points, px of the crop.")

    @model_validator(mode="after")
    def _check(self) -> "ElasticParams":
        if self.magnitude_px >= _FOLD_FREE * self.spacing_px:
            raise ValueError(f"the image can fold: keep magnitude_px under {_FOLD_FREE} of spacing_px")
        return self


class ClaheParams(Section):
    """Contrast-limited adaptive histogram equalization, each channel for itself."""

    prob: Fraction = Field(default=0.0, description="Probability.")
    clip: tuple[Positive, Positive] = Field(default=(1.0, 4.0), description="Range of the contrast limit.")
    tiles: Annotated[int, Field(ge=1, le=64)] = Field(default=8, description="Tiles on each axis.")

    @model_validator(mode="after")
    def _check(self) -> "ClaheParams":
        ordered(self.clip)
        return self


class GammaParams(Section):
    """Gray levels to a power."""

    prob: Fraction = Field(default=0.0, description="Probability.")
    exponent: tuple[Positive, Positive] = Field(default=(0.7, 1.4), description="Range of the exponent.")

    @model_validator(mode="after")
    def _check(self) -> "GammaParams":
        ordered(self.exponent)
        return self


class ChanceParams(Section):
    """An operation that has nothing but a probability."""

    prob: Fraction = Field(default=0.0, description="Probability.")


class EraseParams(Section):
    """Boxes that get the fill value."""

    prob: Fraction = Field(default=0.0, description="Probability.")
    count: Annotated[int, Field(ge=1, le=64)] = Field(default=1, description="Boxes in a sample.")
    area: tuple[Share, Share] = Field(
        default=(0.02, 0.15), description="Range of a box's area, as a share of the crop."
    )
    labels: Literal["keep", "ignore"] = Field(default="ignore", description="What becomes of the class ids in a box.")

    @model_validator(mode="after")
    def _check(self) -> "EraseParams":
        ordered(self.area)
        return self


class CopyPasteParams(Section):
    """All pixels of one class of another sample of the batch, laid over this one."""

    prob: Fraction = Field(default=0.0, description="Probability.")
    classes: tuple[str, ...] = Field(default=(), description="Classes that are lent; `[]`: all but the first.")


class CutMixParams(Section):
    """A box of another sample of the batch, laid over this one."""

    prob: Fraction = Field(default=0.0, description="Probability.")
    alpha: Positive = Field(default=1.0, description="Of the beta distribution of the share that stays.")


class MixupParams(Section):
    """Every sample of a batch blended with another; the loss is that of both targets."""

    prob: Fraction = Field(default=0.0, description="Probability, of a whole batch.")
    alpha: Positive = Field(default=0.2, description="Of the beta distribution of the share of the sample itself.")


class AugmentParams(Section):
    """What training does to a sample; the preview and `maskline replay` show the same."""

    scale: Size | tuple[Size, Size] | None = Field(
        default=None,
        description="Height and width that ratio_range multiplies; two such pairs: the sides are drawn between them, "
        "without ratio_range; nothing: the image's own.",
    )
    keep_ratio: bool = Field(
        default=True, description="Keep the image's aspect: the largest size within the drawn one."
    )
    ratio_range: tuple[Positive, Positive] = Field(
        default=(0.75, 1.5), description="Range of the scale factor before the crop."
    )
    shorter_sides: tuple[Count, ...] = Field(
        default=(),
        description="Lengths of the shorter side, px, of which one is drawn, instead of scale, keep_ratio and "
        "ratio_range; `[]`: none.",
    )
    longer_side: Count | None = Field(
        default=None, description="Largest longer side then, px: a longer one is scaled down to it; nothing: any."
    )
    crop_size: Size = Field(default=(128, 128), description="Height and width of the crop, px.")
    cat_max_ratio: Annotated[float, Field(gt=0, le=1)] = Field(
        default=1.0, description="Largest share of one class in a crop; tried ten times; 1 switches it off."
    )
    class_crop: Fraction = Field(
        default=0.0,
        description="Probability that the crop is laid over a pixel of a class, each class of the image alike; then "
        "cat_max_ratio does not count.",
    )
    flip_horizontal: Fraction = Field(default=0.5, description="Probability.")
    flip_vertical: Fraction = Field(default=0.5, description="Probability.")
    rotate_degrees: Annotated[float, Field(ge=0, le=180)] = Field(default=15, description="Largest rotation, degrees.")
    rotate_prob: Fraction = Field(default=1.0, description="Probability.")
    fill: tuple[Byte, Byte, Byte] | None = Field(
        default=None, description="Color outside the image, of erased boxes and of lost channels; nothing: model.mean."
    )
    within_valid: bool = Field(
        default=False, description="Ignore pixels outside the valid-area mask where an image has one."
    )
    affine: AffineParams = AffineParams()
    perspective: PerspectiveParams = PerspectiveParams()
    elastic: ElasticParams = ElasticParams()
    photometric: PhotometricParams = PhotometricParams()
    blur: BlurParams = BlurParams()
    noise: NoiseParams = NoiseParams()
    clahe: ClaheParams = ClaheParams()
    gamma: GammaParams = GammaParams()
    grayscale: ChanceParams = ChanceParams()
    channel_dropout: ChanceParams = ChanceParams()
    erase: EraseParams = EraseParams()
    copy_paste: CopyPasteParams = CopyPasteParams()
    cutmix: CutMixParams = CutMixParams()
    mixup: MixupParams = MixupParams()
    extra: tuple[ExtraParams, ...] = Field(
        default=(),
        description="Transforms of kornia.augmentation, in this order, after the operations on colors.",
    )

    @model_validator(mode="after")
    def _check(self) -> "AugmentParams":
        ordered(self.ratio_range)
        if self.longer_side is not None and not self.shorter_sides:
            raise ValueError("longer_side goes with shorter_sides, and there are none")
        return self

    @property
    def mixes(self) -> bool:
        """Whether samples of a batch lend each other pixels."""
        return self.copy_paste.prob > 0 or self.cutmix.prob > 0 or self.mixup.prob > 0
