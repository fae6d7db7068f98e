"""Exported files from their section: what is traced, further variants, limits, and what is timed."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from maskline.builders.inference import load_segmentor, scale_of_images
from maskline.core.errors import ParamsError
from maskline.data.dataset import PreparedSplit
from maskline.export import package, precision, timing
from maskline.export.interface import Interface
from maskline.export.onnx_passes import phases
from maskline.export.openvino_ir import OpenVinoModel, OpenVinoVariant
from maskline.export.package import Trained
from maskline.export.parity import Model
from maskline.export.pt2 import Pt2Variant
from maskline.export.runtime_onnx import OnnxModel
from maskline.export.variants import Limits, OnnxVariant, Variant
from maskline.export.web import onnxruntime_web
from maskline.export.web.variant import WebVariant, check_readable
from maskline.params.base.types import Scale
from maskline.params.export import ExportLimits, ExportParams
from maskline.runtime import device
from maskline.runtime.checkpoint import read_card


def build_trained(
    params: ExportParams,
    model: Path,
    *,
    threshold: float | None = None,
    scale: Scale | Literal["model"] | None = "model",
) -> Trained:
    """Return what is exported.

    Args:
        params: The section.
        model: Folder of the trained model.
        threshold: That evaluation used, two classes; None: the more likely class.
        scale: That evaluation used, ``evaluate.scale``.

    Raises:
        CheckpointError: The model cannot be read.
        ParamsError: Images are to be scaled, and resized to one size as well.
    """
    key = "model.test_scale" if scale == "model" else "evaluate.scale"
    scale = scale_of_images(scale, model)
    if scale is not None and params.resize is not None:
        problem = f"{list(params.resize)}, beside {key} {list(scale)}: an image is resized once"
        raise ParamsError("export.resize", problem, "set it, or evaluate.scale, to null")
    interface = Interface(
        outputs=tuple(dict.fromkeys(params.outputs)),
        resize=params.resize,
        pad_multiple=params.pad_multiple,
        threshold=threshold,
        scale=scale,
    )
    return Trained.from_card(load_segmentor(model), read_card(model), interface=interface)


def build_limits(params: ExportLimits, name: str) -> Limits:
    """Return the gate of one file, whose section errors call ``name``."""
    return Limits(max_disagreement=params.max_disagreement, max_metric_change=params.max_metric_change, section=name)


def export_model(
    params: ExportParams,
    trained: Trained,
    split: PreparedSplit,
    *,
    name: str,
    out: Path,
    threads: int,
    variants: tuple[Variant, ...],
) -> dict[str, Any]:
    """Write the files after comparing each with torch, as the section says; see ``package.export_model``.

    Args:
        params: The section.
        trained: What is exported.
        split: Images to compare on.
        name: Of the split.
        out: Folder to write, replaced as a whole.
        threads: CPU threads.
        variants: Further files.

    Raises:
        ExportError: A file differs from torch by more than its limits.
        ParamsError: A device that is not there.
    """
    return package.export_model(
        trained,
        split,
        name=name,
        out=out,
        opset=params.opset,
        example_size=params.example_size,
        threads=threads,
        limits=build_limits(params, "export"),
        variants=variants,
        device=device.resolve_kind(params.device, place="export.device"),
    )


def build_variants(
    params: ExportParams, trained: Trained, prepared: Path, *, threads: int, mirror: Path | None = None
) -> tuple[Variant, ...]:
    """Return the further files that are asked for, in that order.

    Args:
        params: The section.
        trained: What is exported.
        prepared: Prepared data; int8 sets its ranges by images of the train split.
        threads: CPU threads.
        mirror: Folder of what would else be downloaded.

    Raises:
        ExportError: One of them cannot be made of this model.
        DataError: What one of them needs cannot be downloaded.
    """
    about = package.describe(trained, example_size=params.example_size)
    known: dict[str, Callable[[], Variant]] = {
        "fp16": partial(
            OnnxVariant, name="fp16", convert=precision.to_fp16, limits=build_limits(params.fp16, "export.fp16")
        ),
        "pt2": partial(
            Pt2Variant,
            metadata={**about, "output_names": trained.interface.names},
            limits=build_limits(params.pt2, "export.pt2"),
        ),
        "openvino": partial(
            OpenVinoVariant,
            num_classes=trained.labels.num_classes,
            limits=build_limits(params.openvino, "export.openvino"),
        ),
        "web": partial(_web, trained, limits=build_limits(params, "export"), mirror=mirror),
        "int8": partial(
            OnnxVariant,
            name="int8",
            convert=lambda content: precision.to_int8(
                content,
                images=_calibration_images(prepared, params.int8.calibration_images),
                min_agreement=params.int8.min_agreement,
                threads=threads,
                scale=trained.interface.scale,
            ),
            limits=build_limits(params.int8, "export.int8"),
        ),
    }
    return tuple(known[name]() for name in dict.fromkeys(params.variants))


def _web(trained: Trained, *, limits: Limits, mirror: Path | None) -> WebVariant:
    check_readable(trained.reading, channels=len(trained.mean))
    return WebVariant(package=onnxruntime_web.obtain(mirror=mirror), convert=phases.in_phases, limits=limits)


def measure_latency(
    params: ExportParams, trained: Trained, variants: tuple[Variant, ...], out: Path, *, threads: int
) -> dict[str, Any]:
    """Return the times of all files in ``out`` beside torch's.

    Where int8 and openvino are among the variants, those of model-int8.onnx in OpenVINO stand beside them.

    Args:
        params: The section.
        trained: The network.
        variants: Further files beside model.onnx.
        out: Folder of the files.
        threads: CPU threads, beside those that the section names.
    """
    models: dict[str, Callable[[int], Model]] = {
        "fp32": lambda count: OnnxModel(out / "model.onnx", threads=count),
        **{each.name: partial(_opened, each, out) for each in variants if each.timed},
    }
    if {"openvino", "int8"}.issubset(models):  # OpenVINO computes the .onnx file in eight bits as well
        path, classes = out / "model-int8.onnx", trained.labels.num_classes
        models["openvino_int8"] = lambda count: OpenVinoModel(path, threads=count, num_classes=classes)
    return timing.latency(
        trained,
        models,
        size=params.latency_size,
        batches=params.latency_batches,
        runs=params.latency_runs,
        threads=tuple(dict.fromkeys((threads, *params.latency_threads))),
        compiled=params.latency_compiled,
    )


def _opened(variant: Variant, out: Path, threads: int) -> Model:
    return variant.open(out, threads=threads)


def _calibration_images(prepared: Path, count: int) -> Iterator[NDArray[np.uint8]]:
    """Yield train images, spread evenly over the split."""
    train = PreparedSplit.open(prepared, "train", cache="stream")
    for i in range(0, len(train), -(-len(train) // count) or 1):
        yield train.sample(i).image
