"""From a folder, an exported file or a recipe with weights to a model in use."""

import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from maskline.core.errors import CheckpointError, ExportError, ParamsError
from maskline.data.reading_rule import UNKNOWN, ReadingRule
from maskline.predict.model import Model

if TYPE_CHECKING:
    from torch import Tensor

    from maskline.data.labels import LabelSet
    from maskline.params.data import DataParams
    from maskline.params.evaluate import EvaluateParams

LATENCY_FILE = Path("reports/export/latency.json")
"""Where the export stage leaves its times, from the project's folder."""

# Names that the last layer's weights have in the networks of this project and in those of SMP.
_CLASSIFIERS = ("decode_head.conv_seg.weight", "segmentation_head.0.weight")


@contextmanager
def as_folder(model: Path, weights: Path | None) -> Iterator[Path]:
    """Give a model folder for a recipe and its weights; without weights, ``model`` as it is.

    The classes are those of labels.json or model.json beside the weights; where neither lies there, they are numbered.
    Images are read as that model.json says; else as the recipe's section data does.

    Args:
        model: A model; or, with weights, a recipe's name or a params file.
        weights: A .safetensors file, or a folder with model.safetensors.

    Raises:
        ParamsError: No such recipe, or a wrong one.
        CheckpointError: Weights that cannot be read or are of another network.
    """
    if weights is None:
        yield model
        return
    from maskline.builders.inference import load_segmentor
    from maskline.builders.model import no_larger_than, segmentor, without_start_weights
    from maskline.params.whole import load_params
    from maskline.projects import recipes
    from maskline.runtime.checkpoint import check_values, save_model

    values = load_params(recipes.find(str(model)))
    mean, std = values.model.numbers()
    file = weights / "model.safetensors" if weights.is_dir() else weights
    tensors = _read(file)
    labels = _labels(file, tensors)
    with no_larger_than(tensors, place=model, remedy=f"name the recipe that {file} is of"):
        network = segmentor(without_start_weights(values.model), num_classes=labels.num_classes)
    check_values(file, tensors, network.state_dict())
    try:
        network.load_state_dict(dict(tensors))
    except RuntimeError as error:
        problem = str(error).strip().splitlines()[-1].strip()
        raise CheckpointError(file, f"not of the network of {model} ({problem})", "name the recipe it is of") from error
    card = {
        "params": values.model_dump(mode="json"),
        "labels": labels.to_dict(),
        "preprocessing": {"mean": list(mean), "std": list(std), "scale": 255},
        "reading": _reading(file, values.data).to_dict(),
        "receipt": {},
    }
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "model"
        save_model(written, weights=tensors, last=tensors, card=card)
        load_segmentor(written)
        yield written


def evaluate_section(
    folder: Path, *, params_path: Path | None, slide: bool, tta: bool, crf: bool
) -> "EvaluateParams | None":
    """Return how a trained model is to be used; None: on whole images of their own size, with nothing after it.

    Images are scaled as ``evaluate.scale`` says where there is a params file, else as the model does.

    Args:
        folder: The model.
        params_path: A params file; None: the settings of the steps asked for are those of the model's own params where
            they have them (a recipe with weights), else of params.yaml in the current folder: a model that was trained
            here knows only what training read.
        slide: By sliding window.
        tta: With test-time augmentation: the section's scales and flips; where it has none, mirrored as well.
        crf: With a dense CRF after it.

    Raises:
        ParamsError: The params file is wrong, there is none, or the model's own section is not of this version.
    """
    from maskline.builders.inference import scale_of_images
    from maskline.params.evaluate import EvaluateParams
    from maskline.params.whole import load_params
    from maskline.runtime.checkpoint import read_card

    if params_path is not None:
        values = load_params(params_path).evaluate.model_dump(mode="json")
    elif not (slide or tta or crf):
        scale = (read_card(folder)["params"].get("evaluate") or {}).get("scale", "model")
        if scale is None or (scale == "model" and scale_of_images("model", folder) is None):
            return None
        values = {"scale": scale}
    else:
        values = dict(read_card(folder)["params"].get("evaluate") or _evaluate_here(folder))
        values |= {"inference": "whole", "threshold": None, "min_component_px": 0, "max_hole_px": 0}
        values |= {"crf": {**values.get("crf", {}), "enabled": False, "tune": False}, "tta": values.get("tta", {})}
        values["tta"] = values["tta"] if tta else {"scales": [1.0], "flips": ["none"]}
    if slide:
        values["inference"] = "slide"
    if crf:
        values["crf"] = {**values["crf"], "enabled": True}
    if tta and values["tta"] == {"scales": [1.0], "flips": ["none"]}:
        values["tta"] = {"scales": [1.0], "flips": ["none", "horizontal"]}
    try:
        section = EvaluateParams.model_validate_json(json.dumps(values))  # lists become tuples
    except ValueError as error:
        raise ParamsError(
            f"{folder}: model.json", "its evaluate section is not of this version", "name a params file with --params"
        ) from error
    return section.model_copy(update={"scale": scale_of_images(section.scale, folder)})


def _evaluate_here(model: Path) -> dict[str, Any]:
    """Return the evaluate section of params.yaml in the current folder as plain types."""
    from maskline.params.whole import load_params

    file = Path("params.yaml")
    if not file.is_file():
        raise ParamsError(
            f"{model}: model.json",
            f"has no windows, scales or CRF, and there is no {file} here",
            "name a params file with --params, or go to the project's folder",
        )
    return load_params(file).evaluate.model_dump(mode="json")


def load(
    path: str | Path | Sequence[str | Path],
    *,
    weights: str | Path | None = None,
    params: str | Path | None = None,
    slide: bool = False,
    tta: bool = False,
    crf: bool = False,
    threads: int | None = None,
    fastest: bool = False,
) -> Model:
    """Load a model; the images it is then shown are read as those that it was trained on.

    Args:
        path: A folder that training or export wrote, or an .onnx file; with weights, a recipe's name or a params file.
            Several, as a list: the mean of their probabilities. All of them trained, they are one network, which
            windows, test-time augmentation, CRF and threshold follow.
        weights: A .safetensors file, or a folder with model.safetensors.
        params: A params file, whose evaluate section says how a trained model is used; None: on whole images, or by
            the steps named next, with the model's own settings or those of params.yaml in the current folder.
        slide: By sliding window.
        tta: With test-time augmentation: the section's scales and flips; where it has none, mirrored as well.
        crf: With a dense CRF after the network.
        threads: CPU threads; None: all cores. Torch has one number for the whole process.
        fastest: Of the .onnx files of an export folder, the one that took least time when they were exported, by
            reports/export/latency.json in the current folder; False: model.onnx.

    Raises:
        CheckpointError: Neither a model folder nor an ONNX file; or an ONNX file with steps around it.
        ParamsError: The params file, or the recipe, is wrong or not there.
        ExportError: An ONNX file that the export stage did not write.
    """
    if not isinstance(path, str | Path):
        if weights is not None:
            raise ParamsError("weights", "of several models", "name model folders, or one recipe with its weights")
        options = {"params": params, "slide": slide, "tta": tta, "crf": crf, "threads": threads, "fastest": fastest}
        return _load_several([Path(one) for one in path], options)
    count = threads or os.cpu_count() or 1
    params_path = None if params is None else Path(params)
    with as_folder(Path(path), None if weights is None else Path(weights)) as folder:
        if (folder / "model.json").is_file():
            if fastest:
                raise CheckpointError(folder, "a trained model is one file", "name the export folder, data/export")
            section = evaluate_section(folder, params_path=params_path, slide=slide, tta=tta, crf=crf)
            return _load_trained(folder, section, threads=count)
    name = fastest_file(LATENCY_FILE) if fastest else "model.onnx"
    file = folder / name if folder.is_dir() else folder
    if file.suffix != ".onnx" or not file.is_file():
        raise CheckpointError(folder, "no model", "name a folder with model.json or model.onnx, or an .onnx file")
    if params is not None or slide or tta or crf:
        remedy = "leave --params, --slide, --tta and --crf out, or name the trained folder"
        raise CheckpointError(file, "an exported model has no steps around it", remedy)
    return _load_exported(file, threads=count)


def fastest_file(latency: Path) -> str:
    """Return the name of the .onnx file that took least time when the export stage ran.

    Raises:
        ExportError: The times cannot be read, or are of an export that did not say.
    """
    try:
        times = json.loads(latency.read_text(encoding="utf-8"))
        return str(Path(times["fastest"]).name)
    except (OSError, ValueError, TypeError, KeyError) as error:
        problem = f"does not say which file is the fastest ({type(error).__name__})"
        raise ExportError(latency, problem, "go to the project's folder, and export: dvc repro -f export") from error


def _load_several(paths: Sequence[Path], options: Mapping[str, Any]) -> Model:
    if len(paths) == 1:
        return load(paths[0], **options)
    if paths and all((path / "model.json").is_file() for path in paths):
        from maskline.builders.ensemble import write_ensemble

        with tempfile.TemporaryDirectory() as folder:
            write_ensemble(paths, Path(folder) / "model")
            return load(Path(folder) / "model", **options)
    from maskline.predict.ensemble import averaged

    return averaged([load(path, **options) for path in paths], paths)


def reading_of(about: Mapping[str, Any], *, channels: int, place: Path) -> ReadingRule:
    """Return how the images of a model are read.

    Args:
        about: The content of model.json, or the metadata of an exported file.
        channels: What the network takes.
        place: For messages.

    Raises:
        DataError: The rule is of another version.
        CheckpointError: There is none, or one of other channels, for a model that does not take RGB.
    """
    rule = ReadingRule.from_dict(about["reading"], place=place) if "reading" in about else UNKNOWN
    if rule.num_channels != channels:
        problem = f"a model of {channels} channels that does not say which bands of an image they are"
        raise CheckpointError(place, problem, "train or export it again, so that it does (dvc repro)")
    return rule


def _load_trained(folder: Path, section: "EvaluateParams | None", *, threads: int) -> Model:
    from maskline.builders.inference import build_inference, load_segmentor
    from maskline.evaluation.tuning import with_threshold
    from maskline.export.package import Trained
    from maskline.predict.inference_model import InferenceModel, WholeOrWindows
    from maskline.predict.large_images import LONGEST, OVERLAP, WHOLE_PIXELS
    from maskline.runtime.checkpoint import read_card
    from maskline.runtime.device import resolve_kind

    card = read_card(folder)
    trained = Trained.from_card(load_segmentor(folder), card)
    rule = reading_of(card, channels=len(trained.mean), place=folder / "model.json")
    made_by: dict[str, Any] = {"weights_sha256": trained.weights_sha256, "runtime": "torch"}
    if section is None:
        kind = resolve_kind("auto", place="evaluate.device")
        whole = trained.runtime(threads=threads, device=kind)
        runtime = WholeOrWindows(whole, mean=trained.mean, std=trained.std)
        made_by |= {"above_px": WHOLE_PIXELS, "windows": [LONGEST, OVERLAP]}
        return Model(runtime, labels=trained.labels, reading=rule, made_by=made_by)
    if section.threshold == "tune":
        remedy = "write the number that evaluate chose, in reports/evaluate/scores.csv under threshold"
        raise ParamsError("evaluate.threshold", "there is nothing to tune it on here", remedy)
    if section.guarantee.at_most is not None:
        remedy = "write the number that evaluate chose, in scores.csv under threshold, without guarantee.at_most"
        raise ParamsError("evaluate.guarantee", "there is nothing to choose the threshold on here", remedy)
    if section.crf.enabled and section.crf.tune:
        remedy = (
            "write the numbers that evaluate chose, in reports/evaluate/scores.csv under tuned_crf, and tune: false"
        )
        raise ParamsError("evaluate.crf.tune", "there is nothing to tune it on here", remedy)
    inference = with_threshold(
        build_inference(section, folder),
        tune=False,
        num_classes=trained.labels.num_classes,
        validation=None,
        ignore_index=trained.labels.ignore_index,
        within_valid=False,
    )
    made_by |= {"evaluate": section.model_dump(mode="json")}
    return Model(InferenceModel(inference, threads=threads), labels=trained.labels, reading=rule, made_by=made_by)


def _load_exported(file: Path, *, threads: int) -> Model:
    from maskline.core.files import sha256_file
    from maskline.data.labels import LabelSet
    from maskline.predict.large_images import LONGEST, OVERLAP, WHOLE_PIXELS, LargeOnnxModel

    runtime = LargeOnnxModel(file, threads=threads)
    by_windows = {"above_px": WHOLE_PIXELS, "windows": [LONGEST, OVERLAP]}
    return Model(
        runtime,
        labels=LabelSet.from_dict(runtime.metadata, place=file),
        reading=reading_of(runtime.metadata, channels=len(runtime.metadata["mean"]), place=file),
        made_by={"onnx_sha256": sha256_file(file), "runtime": "onnxruntime", **by_windows},
    )


def _read(file: Path) -> "Mapping[str, Tensor]":
    from maskline.runtime.checkpoint import MOST_TENSORS, read_tensors

    remedy = "name a .safetensors file; maskline import-weights makes a model folder of others"
    try:
        return read_tensors(file, remedy=remedy, most=MOST_TENSORS)
    except OSError as error:
        raise CheckpointError(file, f"no weights ({error})", remedy) from error


def _reading(file: Path, params: "DataParams") -> ReadingRule:
    from maskline.runtime.checkpoint import read_card

    if (file.parent / "model.json").is_file() and "reading" in (card := read_card(file.parent)):
        return ReadingRule.from_dict(card["reading"], place=file.parent / "model.json")
    exif: Literal["apply", "ignore"] = "ignore" if params.exif == "ignore" else "apply"
    return ReadingRule(channels=params.channels, image_scale=params.image_scale, exif=exif)


def _labels(file: Path, tensors: "Mapping[str, Tensor]") -> "LabelSet":
    from maskline.data.labels import LabelSet, bit_palette
    from maskline.runtime.checkpoint import read_card

    if (file.parent / "model.json").is_file():
        return LabelSet.from_dict(read_card(file.parent)["labels"], place=file.parent / "model.json")
    if (file.parent / "labels.json").is_file():
        return LabelSet.read(file.parent / "labels.json")
    # One value a class at least: a shape with a side of 0 can declare any number of them.
    counts = {name: len(value) for name, value in tensors.items() if value.ndim and value.numel() >= len(value)}
    count = next((counts[name] for name in reversed(list(counts)) if name.endswith(_CLASSIFIERS)), None)
    count = count or next((number for name, number in counts.items() if name.endswith("conv_seg.weight")), None)
    if count is None:
        raise CheckpointError(file, "no tensor of a last layer", "put the labels.json of its classes beside it")
    if not 2 <= count <= 65535:
        raise CheckpointError(
            file, f"{count} classes by its last layer", "put the labels.json of its classes beside it"
        )
    return LabelSet(class_names=tuple(f"class {i}" for i in range(count)), palette=bit_palette(count))
