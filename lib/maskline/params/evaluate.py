"""The section evaluate of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from maskline.params.base.types import Count, CountOrNone, NonNegative, Positive, Scale, Section, Size
from maskline.params.measures import MEASURES, MeasureName


class TtaParams(Section):
    """Test-time augmentation: every scale with every flip, probabilities averaged."""

    scales: tuple[Positive, ...] = Field(
        default=(1.0,), min_length=1, description="Factors of the image's sides, or of the scale; `[1.0]`: none."
    )
    flips: tuple[Literal["none", "horizontal", "vertical", "both"], ...] = Field(
        default=("none",), min_length=1, description="Mirrorings of each scale; `[none]`: none."
    )


class CrfParams(Section):
    """Dense conditional random field after the network: mean field over pairs of pixels."""

    enabled: bool = Field(default=False, description="Whether it runs.")
    method: Literal["window", "full"] = Field(
        default="window",
        description="window: pairs within `radius`, exactly, on any device; full: all pairs, approximated, on the CPU, "
        "by the package pydensecrf2.",
    )
    tune: bool = Field(
        default=False,
        description="Take the best of 27 fields on the val split, where that is not the one to score: "
        "bilateral_weight, bilateral_grey and smooth_weight at half, once and twice the value here. Best by Dice of "
        "the foreground of two classes, else by mIoU.",
    )
    iterations: Count = Field(default=5, description="Updates of all pixels.")
    radius: Annotated[int, Field(ge=1, le=64)] = Field(
        default=5, description="Pairs are within this distance on each axis, px (window)."
    )
    bilateral_weight: NonNegative = Field(default=4.0, description="Weight of nearness in place and color.")
    bilateral_px: Positive = Field(default=20.0, description="Its standard deviation in place, px.")
    bilateral_grey: Positive = Field(default=13.0, description="Its standard deviation in color, gray levels of 255.")
    smooth_weight: NonNegative = Field(default=1.0, description="Weight of nearness in place alone.")
    smooth_px: Positive = Field(default=1.5, description="Its standard deviation, px.")


class GuaranteeParams(Section):
    """A promise that the threshold of two classes is chosen to keep, by conformal risk control on the val split."""

    metric: Literal["miss_rate"] = Field(
        default="miss_rate",
        description="miss_rate: the share of an image's pixels of class 1 that are not predicted as such.",
    )
    at_most: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None, description="Its mean over new images, in expectation; null: nothing is promised."
    )


class EvaluateParams(Section):
    """Scoring of the trained model."""

    split: Literal["auto", "train", "val", "test"] = Field(
        default="auto",
        description="Split to score, here and in export; auto: test, or val where there is no test split.",
    )
    scale: Scale | Literal["model"] | None = Field(
        default="model",
        description="What images are scaled to here, in predict with this section and inside exported files; model: "
        "`model.test_scale`; two sides: as there, in its place; null: images keep their size.",
    )
    inference: Literal["whole", "slide"] = Field(default="whole", description="Whole images, or a sliding window.")
    window: Size = Field(default=(512, 512), description="Height and width of the window, px (slide).")
    stride: Size = Field(default=(341, 341), description="Step of the window, px (slide).")
    window_weights: Literal["uniform", "gaussian"] = Field(
        default="uniform", description="Windows count alike, or less towards their edges (slide)."
    )
    average: Literal["logits", "probabilities"] = Field(
        default="logits", description="What is averaged where windows overlap (slide)."
    )
    batch_size: Count = Field(default=1, description="Images, or windows, at a time.")
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="auto: cuda where there is one.")
    precision: Literal["fp32", "tf32", "bf16"] = Field(
        default="fp32",
        description="Of the network's forward pass. bf16 is some times faster where the hardware computes it, and may "
        "move scores in the fourth decimal. tf32: on a GPU convolutions and matrix products keep ten binary digits.",
    )
    tta: TtaParams = TtaParams()
    crf: CrfParams = CrfParams()
    threshold: Annotated[float, Field(gt=0, lt=1)] | Literal["tune"] | None = Field(
        default=None,
        description="Two-class sets: probability from which a pixel is foreground; tune: the one with the highest "
        "Dice on the val split, where that is not the one to score; null: the more likely class.",
    )
    guarantee: GuaranteeParams = GuaranteeParams()
    min_component_px: CountOrNone = Field(
        default=0, description="Components of fewer pixels go to the nearest class; class 0 keeps its own; 0: all stay."
    )
    max_hole_px: CountOrNone = Field(
        default=0, description="Holes of class 0 up to this size go to the nearest class; 0: all stay."
    )
    bootstrap: CountOrNone = Field(default=1000, description="Resamples behind each interval.")
    within_valid: bool = Field(default=False, description="Score only inside the valid-area mask.")
    metrics: Literal["short", "full"] = Field(
        default="short",
        description="What `dvc metrics` shows: four scores; full: IoU of each class too. All are in "
        "reports/evaluate/scores.csv, which `maskline metrics` prints.",
    )
    extra_metrics: tuple[MeasureName, ...] = Field(
        default=(),
        description="Measures beyond the confusion matrix. "
        + "; ".join(f"{name}: {text}" for name, text in MEASURES.items())
        + ".",
    )
    conventions: bool = Field(
        default=False,
        description="Score under every convention side by side, in reports/evaluate/conventions.csv and the report: "
        "the more likely class (threshold 0.5) and the one with the highest Dice on val (two classes), inside the "
        "valid area and whole images, "
        "pooled over pixels and mean over images; false: the evaluation's own way, pooled and mean.",
    )
    conventions_size: Size | None = Field(
        default=None,
        description="Height and width, px, that label maps and masks are resized to as well (conventions).",
    )
    boundary_px: Positive = Field(default=2.0, description="Tolerance of the boundary scores, px.")
    title: str | None = Field(
        default=None,
        description="Heading of the report page; null: network and data set. `maskline new` writes the project's name.",
    )
    gallery: Annotated[int, Field(ge=1, le=10)] = Field(default=3, description="Images of each of best, median, worst.")

    @model_validator(mode="after")
    def _check(self) -> "EvaluateParams":
        if any(step > length for step, length in zip(self.stride, self.window, strict=True)):
            raise ValueError("stride is larger than window: pixels between windows would never be seen")
        chosen = self.threshold is not None or self.min_component_px or self.max_hole_px
        if self.guarantee.at_most is not None and chosen:
            raise ValueError(
                "guarantee chooses the threshold and allows no clean-up after it: set threshold to null, "
                "min_component_px and max_hole_px to 0"
            )
        return self
