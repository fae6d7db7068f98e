"""The section export of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field

from maskline.params.base.types import Count, Fraction, Section, Size


class ExportLimits(Section):
    """The gate of an exported file."""

    max_disagreement: Fraction = Field(
        default=0.0001, description="Share of test pixels that may get another class than in torch."
    )
    max_metric_change: Fraction = Field(default=0.0001, description="Largest difference in mIoU to torch.")


class Fp16Params(ExportLimits):
    """The gate of model-fp16.onnx."""

    max_disagreement: Fraction = Field(default=0.001, description="Share of test pixels that may differ from torch.")
    max_metric_change: Fraction = Field(default=0.001, description="Largest difference in mIoU to torch.")


class Int8Params(ExportLimits):
    """The gate of model-int8.onnx, and what its ranges come from."""

    max_disagreement: Fraction = Field(default=0.005, description="Share of test pixels that may differ from torch.")
    max_metric_change: Fraction = Field(default=0.005, description="Largest difference in mIoU to torch.")

    calibration_images: Count = Field(
        default=16, description="Train images, spread over the split, that set the ranges."
    )
    min_agreement: Fraction = Field(
        default=0.9993,
        description="Sensitive operations stay in float32 until this share of calibration pixels has float32's class.",
    )


class ExportParams(ExportLimits):
    """The ONNX model, its variants and their gates."""

    opset: Annotated[int, Field(ge=18, le=21)] = Field(default=18, description="ONNX operator set.")
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Of the network that the files are compared with. auto: cuda where there is one."
    )
    example_size: Size = Field(default=(128, 160), description="Height and width of the traced example.")
    outputs: tuple[Literal["argmax", "softmax", "sigmoid", "logits"], ...] = Field(
        default=("argmax", "softmax"),
        min_length=1,
        description="What a file gives: labels, probabilities, scores, logits.",
    )
    resize: Size | None = Field(
        default=None,
        description="Height and width that the network sees, the result being resized back; null: the image's own.",
    )
    pad_multiple: Count | None = Field(
        default=None,
        description="Sides are padded to a multiple of this; null: of the network's stride. Not read with resize.",
    )
    variants: tuple[Literal["fp16", "int8", "pt2", "openvino", "web"], ...] = Field(
        default=(),
        description="Further files beside model.onnx: model-fp16.onnx, model-int8.onnx, model.pt2, model.xml, web/.",
    )
    fp16: Fp16Params = Fp16Params()
    int8: Int8Params = Int8Params()
    pt2: ExportLimits = ExportLimits()
    openvino: ExportLimits = ExportLimits()
    latency_size: Size = Field(default=(256, 256), description="Height and width of the timed input.")
    latency_batches: tuple[Count, ...] = Field(
        default=(1,), min_length=1, description="Images a call; one row of times each."
    )
    latency_threads: tuple[Count, ...] = Field(
        default=(), description="Further numbers of threads beside train.threads."
    )
    latency_compiled: bool = Field(
        default=False, description="Time torch.compile beside eager torch; adds a minute or more."
    )
    latency_runs: Count = Field(default=10, description="Timed runs; the median counts.")
