"""The ``augment`` section of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from maskline.params_types import Byte, Fraction, NonNegative, Positive, Section, Size

_FOLD_FREE = 0.48  # as maskline.augment.bending, which needs torch

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
        description="matrix: all four as one colour matrix. mmseg: MMSegmentation's steps, in whole grey levels and "
        "HSV. jitter: torchvision's steps, in a drawn order."
    )
    prob: Fraction = Field(description="Probability of each of the four changes.")
    brightness: Annotated[float, Field(ge=0, le=255)] = Field(description="Largest shift, grey levels of 255.")
    contrast: tuple[NonNegative, NonNegative] = Field(description="Range of the contrast factor.")
    saturation: tuple[NonNegative, NonNegative] = Field(description="Range of the saturation factor.")
    hue_degrees: Annotated[float, Field(ge=0, le=180)] = Field(
        description="Largest turn of the hue, degrees; MMSegmentation's `hue_delta` counts two degrees as one."
    )

    @model_validator(mode="after")
    def _check(self) -> "PhotometricParams":
        ordered(self.contrast)
        ordered(self.saturation)
        return self


class BlurParams(Section):
    """Gaussian blur."""

    prob: Fraction = Field(description="Probability.")
    sigma: tuple[Positive, Positive] = Field(description="Range of the standard deviation, px.")

    @model_validator(mode="after")
    def _check(self) -> "BlurParams":
        ordered(self.sigma)
        return self


class NoiseParams(Section):
    """Gaussian noise."""

    prob: Fraction = Field(description="Probability.")
    std: NonNegative = Field(description="Standard deviation, grey levels of 255.")


class AffineParams(Section):
    """Shear and shift, in the same warp as scale and rotation."""

    prob: Fraction = Field(description="Probability.")
    shear_degrees: Annotated[float, Field(ge=0, le=60)] = Field(description="Largest shear on each axis, degrees.")
    translate: Fraction = Field(description="Largest shift on each axis, as a share of the crop's side.")


class PerspectiveParams(Section):
    """A view from the side, in the same warp."""

    prob: Fraction = Field(description="Probability.")
    tilt: Annotated[float, Field(ge=0, le=0.9)] = Field(
        description="How much nearer or farther than its centre a corner of the crop is at most, as a share."
    )


class ElasticParams(Section):
    """An elastic deformation, in the same warp: a cubic B-spline over a grid of points that move."""

    prob: Fraction = Field(description="Probability.")
    magnitude_px: NonNegative = Field(description="Largest movement of a point on each axis, px of the crop.")
    spacing_px: Annotated[float, Field(ge=2)] = Field(description="Distance of the points, px of the crop.")

    @model_validator(mode="after")
    def _check(self) -> "ElasticParams":
        if self.magnitude_px >= _FOLD_FREE * self.spacing_px:
            raise ValueError(f"the picture can fold: keep magnitude_px under {_FOLD_FREE} of spacing_px")
        return self


class ClaheParams(Section):
    """Contrast-limited adaptive histogram equalization, each channel for itself."""

    prob: Fraction = Field(description="Probability.")
    clip: tuple[Positive, Positive] = Field(description="Range of the contrast limit.")
    tiles: Annotated[int, Field(ge=1, le=64)] = Field(description="Tiles on each axis.")

    @model_validator(mode="after")
    def _check(self) -> "ClaheParams":
        ordered(self.clip)
        return self


class GammaParams(Section):
    """Grey levels to a power."""

    prob: Fraction = Field(description="Probability.")
    exponent: tuple[Positive, Positive] = Field(description="Range of the exponent.")

    @model_validator(mode="after")
    def _check(self) -> "GammaParams":
        ordered(self.exponent)
        return self


class ChanceParams(Section):
    """An operation that has nothing but a probability."""

    prob: Fraction = Field(description="Probability.")


class EraseParams(Section):
    """Boxes that get the fill value."""

    prob: Fraction = Field(description="Probability.")
    count: Annotated[int, Field(ge=1, le=64)] = Field(description="Boxes in a sample.")
    area: tuple[Share, Share] = Field(description="Range of a box's area, as a share of the crop.")
    labels: Literal["keep", "ignore"] = Field(description="What becomes of the class ids in a box.")

    @model_validator(mode="after")
    def _check(self) -> "EraseParams":
        ordered(self.area)
        return self


class CopyPasteParams(Section):
    """All pixels of one class of another sample of the batch, laid over this one."""

    prob: Fraction = Field(description="Probability.")
    classes: tuple[str, ...] = Field(description="Classes that are lent; `[]`: all but the first.")


class CutMixParams(Section):
    """A box of another sample of the batch, laid over this one."""

    prob: Fraction = Field(description="Probability.")
    alpha: Positive = Field(description="Of the beta distribution of the share that stays.")


class MixupParams(Section):
    """Every sample of a batch blended with another; the loss is that of both targets."""

    prob: Fraction = Field(description="Probability, of a whole batch.")
    alpha: Positive = Field(description="Of the beta distribution of the share of the sample itself.")


class AugmentParams(Section):
    """What training does to a sample; the preview and `maskline replay` show the same."""

    preview_samples: Annotated[int, Field(ge=1, le=64)] = Field(description="Samples in the preview picture.")
    scale: Size | tuple[Size, Size] | None = Field(
        description="Height and width that ratio_range multiplies; two such pairs: the sides are drawn between them, "
        "without ratio_range; nothing: the image's own."
    )
    keep_ratio: bool = Field(description="Keep the image's aspect: the largest size within the drawn one.")
    ratio_range: tuple[Positive, Positive] = Field(description="Range of the scale factor before the crop.")
    crop_size: Size = Field(description="Height and width of the crop, px.")
    cat_max_ratio: Annotated[float, Field(gt=0, le=1)] = Field(
        description="Largest share of one class in a crop; tried ten times; 1 switches it off."
    )
    class_crop: Fraction = Field(
        description="Probability that the crop is laid over a pixel of a class, each class of the image alike; then "
        "cat_max_ratio does not count."
    )
    flip_horizontal: Fraction = Field(description="Probability.")
    flip_vertical: Fraction = Field(description="Probability.")
    rotate_degrees: Annotated[float, Field(ge=0, le=180)] = Field(description="Largest rotation, degrees.")
    rotate_prob: Fraction = Field(description="Probability.")
    fill: tuple[Byte, Byte, Byte] | None = Field(
        description="Colour outside the image, of erased boxes and of lost channels; nothing: model.mean."
    )
    within_valid: bool = Field(description="Ignore pixels outside the valid-area mask where an image has one.")
    affine: AffineParams
    perspective: PerspectiveParams
    elastic: ElasticParams
    photometric: PhotometricParams
    blur: BlurParams
    noise: NoiseParams
    clahe: ClaheParams
    gamma: GammaParams
    grayscale: ChanceParams
    channel_dropout: ChanceParams
    erase: EraseParams
    copy_paste: CopyPasteParams
    cutmix: CutMixParams
    mixup: MixupParams

    @model_validator(mode="after")
    def _check(self) -> "AugmentParams":
        ordered(self.ratio_range)
        return self

    @property
    def mixes(self) -> bool:
        """Whether samples of a batch lend each other pixels."""
        return self.copy_paste.prob > 0 or self.cutmix.prob > 0 or self.mixup.prob > 0
