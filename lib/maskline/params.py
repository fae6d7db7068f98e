"""params.yaml as frozen, typed sections: the only reader of the file.

No field has a default: the file is complete, so that DVC sees every value. The file is read as YAML 1.2, as DVC
reads it: ``1e-3`` is a number, ``yes`` and ``no`` are words.
"""

import difflib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, ValidationError, model_validator
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from maskline.errors import ParamsError
from maskline.params_augment import AugmentParams
from maskline.params_data import DataParams
from maskline.params_model import ModelParams
from maskline.params_training import OptimizerParams, ScheduleParams, TrainParams
from maskline.params_types import Count, CountOrNone, Fraction, NonNegative, Positive, Section, Size


class TtaParams(Section):
    """Test-time augmentation: every scale with every flip, probabilities averaged."""

    scales: tuple[Positive, ...] = Field(min_length=1, description="Factors of the image's sides; `[1.0]`: none.")
    flips: tuple[Literal["none", "horizontal", "vertical", "both"], ...] = Field(
        min_length=1, description="Mirrorings of each scale; `[none]`: none."
    )


class CrfParams(Section):
    """Dense conditional random field after the network: mean field over pairs of pixels."""

    enabled: bool = Field(description="Whether it runs.")
    method: Literal["window", "full"] = Field(
        description="window: pairs within `radius`, exactly, on any device; full: all pairs, approximated, on the CPU, "
        "by the package pydensecrf2."
    )
    tune: bool = Field(
        description="Take the best on the val split of 27 fields: bilateral_weight, bilateral_grey and smooth_weight "
        "at half, once and twice the value here. Best by Dice of the foreground of two classes, else by mIoU."
    )
    iterations: Count = Field(description="Updates of all pixels.")
    radius: Annotated[int, Field(ge=1, le=64)] = Field(
        description="Pairs are within this distance on each axis, px (window)."
    )
    bilateral_weight: NonNegative = Field(description="Weight of nearness in place and colour.")
    bilateral_px: Positive = Field(description="Its standard deviation in place, px.")
    bilateral_grey: Positive = Field(description="Its standard deviation in colour, grey levels of 255.")
    smooth_weight: NonNegative = Field(description="Weight of nearness in place alone.")
    smooth_px: Positive = Field(description="Its standard deviation, px.")


class EvaluateParams(Section):
    """Scoring of the trained model."""

    split: Literal["train", "val", "test"] = Field(description="Split to score.")
    inference: Literal["whole", "slide"] = Field(description="Whole images, or a sliding window.")
    window: Size = Field(description="Height and width of the window, px (slide).")
    stride: Size = Field(description="Step of the window, px (slide).")
    window_weights: Literal["uniform", "gaussian"] = Field(
        description="Windows count alike, or less towards their edges (slide)."
    )
    average: Literal["logits", "probabilities"] = Field(description="What is averaged where windows overlap (slide).")
    batch_size: Count = Field(description="Images, or windows, at a time.")
    device: Literal["auto", "cpu", "cuda"] = Field(description="auto: cuda where there is one.")
    precision: Literal["fp32", "bf16"] = Field(
        description="Of the network's forward pass. bf16 is some times faster where the hardware computes it, and may "
        "move scores in the fourth decimal."
    )
    stream_mib: Count = Field(
        description="`maskline predict --stream`: sums of overlapping windows up to this size are held in memory, MiB; "
        "larger ones lie in a file beside the results."
    )
    tta: TtaParams
    crf: CrfParams
    threshold: Annotated[float, Field(gt=0, lt=1)] | Literal["tune"] | None = Field(
        description="Two-class sets: probability from which a pixel is foreground; tune: the one with the highest "
        "Dice on the val split; null: the more likely class."
    )
    min_component_px: CountOrNone = Field(
        description="Components of fewer pixels go to the nearest class; class 0 keeps its own; 0: all stay."
    )
    max_hole_px: CountOrNone = Field(
        description="Holes of class 0 up to this size go to the nearest class; 0: all stay."
    )
    bootstrap: CountOrNone = Field(description="Resamples behind each interval.")
    within_valid: bool = Field(description="Score only inside the valid-area mask.")
    extra_metrics: tuple[Literal["boundary", "surface", "cldice", "ranking", "calibration"], ...] = Field(
        description="Measures beyond the confusion matrix: boundary IoU and F; HD95 and average surface distance; "
        "clDice of thin structures; area under the ROC curve and average precision; expected calibration error."
    )
    boundary_px: Positive = Field(description="Tolerance of the boundary scores, px.")
    gallery: Annotated[int, Field(ge=1, le=10)] = Field(description="Pictures of each of best, median, worst.")

    @model_validator(mode="after")
    def _check(self) -> "EvaluateParams":
        if any(step > length for step, length in zip(self.stride, self.window, strict=True)):
            raise ValueError("stride is larger than window: pixels between windows would never be seen")
        return self


class ExportLimits(Section):
    """The gate of an exported file."""

    max_disagreement: Fraction = Field(description="Share of test pixels that may get another class than in torch.")
    max_metric_change: Fraction = Field(description="Largest difference in mIoU to torch.")


class Int8Params(ExportLimits):
    """The gate of model-int8.onnx, and what its ranges come from."""

    calibration_images: Count = Field(description="Train images, spread over the split, that set the ranges.")
    min_agreement: Fraction = Field(
        description="Sensitive operations stay in float32 until this share of calibration pixels has float32's class."
    )


class ExportParams(ExportLimits):
    """The ONNX model, its variants and their gates."""

    opset: Annotated[int, Field(ge=18, le=21)] = Field(description="ONNX operator set.")
    example_size: Size = Field(description="Height and width of the traced example.")
    outputs: tuple[Literal["argmax", "softmax", "sigmoid", "logits"], ...] = Field(
        min_length=1, description="What a file gives: labels, probabilities, scores, logits."
    )
    resize: Size | None = Field(
        description="Height and width that the network sees, the result being resized back; null: the picture's own."
    )
    pad_multiple: Count | None = Field(
        description="Sides are padded to a multiple of this; null: of the network's stride. Not read with resize."
    )
    variants: tuple[Literal["fp16", "int8", "pt2", "openvino"], ...] = Field(
        description="Further files beside model.onnx: model-fp16.onnx, model-int8.onnx, model.pt2, model.xml."
    )
    fp16: ExportLimits
    int8: Int8Params
    pt2: ExportLimits
    openvino: ExportLimits
    latency_size: Size = Field(description="Height and width of the timed input.")
    latency_batches: tuple[Count, ...] = Field(min_length=1, description="Images a call; one row of times each.")
    latency_threads: tuple[Count, ...] = Field(description="Further numbers of threads beside train.threads.")
    latency_compiled: bool = Field(description="Time torch.compile beside eager torch; adds a minute or more.")
    latency_runs: Count = Field(description="Timed runs; the median counts.")


class Params(Section):
    """The whole file."""

    data: DataParams
    augment: AugmentParams
    model: ModelParams
    optimizer: OptimizerParams
    schedule: ScheduleParams
    train: TrainParams
    evaluate: EvaluateParams
    export: ExportParams

    @model_validator(mode="after")
    def _check(self) -> "Params":
        warmup = self.schedule.warmup_length
        if self.schedule.unit == "iterations" and self.train.epochs is None and warmup >= self.train.iterations:
            raise ValueError(f"schedule.warmup_length {warmup:g} is not below train.iterations {self.train.iterations}")
        if self.data.name == "folder" and self.data.layout is None and len(self.data.classes) < 2:
            raise ValueError("data.classes needs at least two classes for data.name: folder")
        return self


def load(path: Path) -> Params:
    """Read and check a params file.

    Raises:
        ParamsError: The file is missing, no YAML, or a value is wrong; names file, key, value and remedy.
    """
    return validate(read_yaml(path), place=path)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML 1.2 mapping, as DVC does.

    Raises:
        ParamsError: Missing file, no YAML, or not a mapping.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        remedy = "run from the project's folder, or name it with --params; maskline new makes a project"
        raise ParamsError(path, "no such file", remedy) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ParamsError(path, f"cannot be read ({error})", "give a UTF-8 text file") from error
    try:
        value = YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise ParamsError(path, f"not YAML: {error}", "mend the line it names") from error
    if not isinstance(value, dict):
        raise ParamsError(path, "not a mapping of sections", "restore it with git checkout params.yaml")
    return value


def validate(values: Mapping[str, Any], *, place: object = "params") -> Params:
    """Check a mapping of plain values.

    Raises:
        ParamsError: As ``load``.
    """
    try:
        # JSON input mode: strict about types, yet lists become tuples.
        return Params.model_validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        raise _params_error(error, values, place) from error
    except ValueError as error:  # NaN or infinity written in YAML
        raise ParamsError(place, str(error), "use finite numbers") from error


def validate_model(values: Mapping[str, Any], *, place: object) -> ModelParams:
    """Check the model section alone, as a trained model's card holds it.

    Raises:
        ParamsError: As ``load``.
    """
    try:
        return ModelParams.model_validate_json(json.dumps(values))
    except ValidationError as error:
        raise _params_error(error, values, place) from error


def json_schema() -> dict[str, Any]:
    """Return the JSON schema that editors complete and check params.yaml with."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Params.model_json_schema()}


def _params_error(error: ValidationError, values: Mapping[str, Any], place: object) -> ParamsError:
    details = error.errors(include_url=False)
    # Of a union's errors on one text, the one that lists the words it could be.
    first = next((other for other in details if _is_word(other) and other["input"] == details[0]["input"]), details[0])
    key, problem, remedy = _explain(first, values)
    keys = [_key(other["loc"], values, absent=other["type"] == "missing") or "the whole" for other in details[1:]]
    keys = [other for other in keys if not key.startswith(f"{other}.")]
    others = [other for other in dict.fromkeys(keys) if other != key]
    if others:
        remedy += f" (also wrong: {', '.join(others[:5])}{', ...' if len(others) > 5 else ''})"
    return ParamsError(f"{place}: {key}" if key else place, problem, remedy)


def _is_word(detail: ErrorDetails) -> bool:
    return detail["type"] == "literal_error" and isinstance(detail["input"], str)


def _explain(detail: ErrorDetails, values: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return key, problem and remedy of one pydantic error."""
    loc = [part for part in detail["loc"] if not (isinstance(part, str) and part.startswith("function-"))]
    kind, context = detail["type"], detail.get("ctx", {})
    key = _key(loc, values, absent=kind == "missing")
    if kind == "union_tag_invalid":
        tag, options = context["tag"], context["expected_tags"].replace("'", "").split(", ")
        return f"{key}.name", f"{json.dumps(tag)} is not one of {', '.join(options)}", _nearest(tag, options, "value")
    if kind == "union_tag_not_found":
        return f"{key}.name", "missing", "add the key name to its section"
    if kind == "extra_forbidden":
        known = _known_keys(loc[:-1])
        return key, "unknown key", _nearest(str(loc[-1]), known, "key")
    if kind == "missing":
        return key, "missing", f"add the key {loc[-1]} to its section"
    value = json.dumps(detail["input"], default=str)
    if kind == "literal_error":
        options = [option.strip("'") for option in context["expected"].replace(" or ", ", ").split(", ")]
        return key, f"{value} is not one of {', '.join(options)}", _nearest(str(detail["input"]), options, "value")
    if kind == "value_error":
        return key, str(context["error"]), "change one of the two"
    if isinstance(detail["input"], str) and _is_number(detail["input"]):
        return key, f"{value} is text", "write the number without quotes"
    message = detail["msg"].removeprefix("Input should be ").removeprefix("Input ")
    if len(value) > 80:
        value = value[:77] + "..."
    return key, f"{value} is wrong", f"give {message}"


def _key(loc: Iterable[str | int], values: Any, *, absent: bool) -> str:
    """Return the key as the file spells it: without the tags that pydantic adds for the variants of a union.

    Args:
        loc: Pydantic's path.
        values: What was checked.
        absent: The last part is a key that is not there.
    """
    found: list[str] = []
    parts = tuple(loc)
    for position, part in enumerate(parts, start=1):
        try:
            values = values[part]
        except (KeyError, IndexError, TypeError):
            if not absent or position < len(parts):
                continue
        found.append(str(part))
    return ".".join(found)


def _known_keys(loc: Iterable[str | int]) -> list[str]:
    """Return the keys of the section that ``loc`` leads to."""
    sections: list[type[Section]] = [Params]
    for part in loc:
        if isinstance(part, int):
            continue
        fields = [field for section in sections if (field := section.model_fields.get(part))]
        # A part that is no field is the tag of a union, such as the name of a loss.
        tagged = [section for section in sections if part in get_args(_annotation(section, "name"))]
        sections = [found for field in fields for found in _sections_in(field.annotation)] or tagged
    return list(dict.fromkeys(key for section in sections for key in section.model_fields))


def _sections_in(annotation: Any) -> list[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [found for argument in get_args(annotation) for found in _sections_in(argument)]


def _annotation(section: type[Section], key: str) -> Any:
    field = section.model_fields.get(key)
    return field.annotation if field else None


def _nearest(word: str, known: list[str], what: str) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]}?"
    return f"valid {what}s: {', '.join(known)}" if known else f"remove the {what}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
