"""data/models + data/prepared + scores -> data/export, reports/export: ``python -m stages.export``."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maskline.cli import PATH, log, params_option, stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from maskline.export.package import Trained
    from maskline.export.parity import Model
    from maskline.export.variants import Limits, Variant
    from maskline.params import ExportLimits, ExportParams


@click.command()
@params_option
@click.option("--prepared", type=PATH, default="data/prepared", show_default=True, help="Prepared data.")
@click.option("--model", type=PATH, default="data/models", show_default=True, help="Trained model.")
@click.option(
    "--scores", type=PATH, default="reports/evaluate/metrics.json", show_default=True, help="Scores for the card."
)
@click.option("--out", type=PATH, default="data/export", show_default=True, help="ONNX models, labels and card.")
@click.option(
    "--metrics", type=PATH, default="reports/export/metrics.json", show_default=True, help="Agreement with torch."
)
@click.option(
    "--latency", type=PATH, default="reports/export/latency.json", show_default=True, help="Times beside torch."
)
@click.option(
    "--times",
    type=PATH,
    default="reports/export/latency.csv",
    show_default=True,
    help="The same as a table, with sizes.",
)
@stage
def main(
    *,
    params_path: Path,
    prepared: Path,
    model: Path,
    scores: Path,
    out: Path,
    metrics: Path,
    latency: Path,
    times: Path,
) -> None:
    """Write ONNX files with pre-processing inside, after comparing each with torch on the test split."""
    from maskline import params
    from maskline.data.dataset import PreparedSplit
    from maskline.export import card, package, timing
    from maskline.files import write_json, write_text

    values = params.load(params_path)
    section = values.export
    trained = _trained(section, model)
    found = _read_scores(scores)
    split = PreparedSplit.open(prepared, "test", cache="stream")
    variants = _variants(section, trained, prepared, threads=values.train.threads)
    agreement = package.export_model(
        trained,
        split,
        out=out,
        opset=section.opset,
        example_size=section.example_size,
        threads=values.train.threads,
        limits=_limits(section, "export"),
        variants=variants,
    )
    about = card.card_text(
        trained, agreement, variants=variants, data_set=values.data.name, images=len(split), scores=found
    )
    write_text(out / card.CARD_FILE, about)
    write_text(out / card.EXAMPLE_FILE, card.example_text())
    measured = _latency(section, trained, variants, out, threads=values.train.threads)
    sizes = {"fp32": agreement["bytes"], **{each.name: agreement[each.name]["bytes"] for each in variants}}
    write_json(metrics, agreement)
    write_json(latency, measured)
    write_text(times, timing.table(measured, sizes=sizes))
    log.info(
        "export: %s, %d of %d test pixels differ from torch, %.2f of its time",
        out / "model.onnx",
        agreement["test"]["differing_pixels"],
        agreement["test"]["pixels"],
        measured[f"batch_{section.latency_batches[0]}"]["fp32"]["ratio"],
    )


def _trained(section: "ExportParams", model: Path) -> "Trained":
    from maskline import build
    from maskline.engine.checkpoint import read_card
    from maskline.export.interface import Interface
    from maskline.export.package import Trained

    interface = Interface(
        outputs=tuple(dict.fromkeys(section.outputs)), resize=section.resize, pad_multiple=section.pad_multiple
    )
    return Trained.from_card(build.load_segmentor(model), read_card(model), interface=interface)


def _read_scores(path: Path) -> "dict[str, Any]":
    import json

    from maskline.errors import DataError

    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            path, f"cannot be read ({type(error).__name__})", "evaluate first: dvc repro evaluate"
        ) from error
    return found


def _latency(
    section: "ExportParams", trained: "Trained", variants: "tuple[Variant, ...]", out: Path, *, threads: int
) -> "dict[str, Any]":
    from maskline.export import timing
    from maskline.export.runtime_onnx import OnnxModel

    models: dict[str, Callable[[int], Model]] = {
        "fp32": lambda count: OnnxModel(out / "model.onnx", threads=count),
        **{each.name: partial(_opened, each, out) for each in variants},
    }
    return timing.latency(
        trained,
        models,
        size=section.latency_size,
        batches=section.latency_batches,
        runs=section.latency_runs,
        threads=tuple(dict.fromkeys((threads, *section.latency_threads))),
        compiled=section.latency_compiled,
    )


def _opened(variant: "Variant", out: Path, threads: int) -> "Model":
    return variant.open(out, threads=threads)


def _variants(section: "ExportParams", trained: "Trained", prepared: Path, *, threads: int) -> "tuple[Variant, ...]":
    from maskline.export import package, precision
    from maskline.export.openvino_ir import OpenVinoVariant
    from maskline.export.pt2 import Pt2Variant
    from maskline.export.variants import OnnxVariant

    about = package.describe(trained, example_size=section.example_size)
    found: dict[str, Variant] = {
        "fp16": OnnxVariant(name="fp16", convert=precision.to_fp16, limits=_limits(section.fp16, "export.fp16")),
        "pt2": Pt2Variant(
            metadata={**about, "output_names": trained.interface.names}, limits=_limits(section.pt2, "export.pt2")
        ),
        "openvino": OpenVinoVariant(
            num_classes=trained.labels.num_classes, limits=_limits(section.openvino, "export.openvino")
        ),
        "int8": OnnxVariant(
            name="int8",
            convert=lambda content: precision.to_int8(
                content,
                images=_calibration_images(prepared, section.int8.calibration_images),
                min_agreement=section.int8.min_agreement,
                threads=threads,
            ),
            limits=_limits(section.int8, "export.int8"),
        ),
    }
    return tuple(found[name] for name in dict.fromkeys(section.variants))


def _calibration_images(prepared: Path, count: int) -> "Iterator[NDArray[np.uint8]]":
    """Yield train images, spread evenly over the split."""
    from maskline.data.dataset import PreparedSplit

    train = PreparedSplit.open(prepared, "train", cache="stream")
    for i in range(0, len(train), -(-len(train) // count) or 1):
        yield train.sample(i).image


def _limits(section: "ExportLimits", name: str) -> "Limits":
    from maskline.export.variants import Limits

    return Limits(max_disagreement=section.max_disagreement, max_metric_change=section.max_metric_change, section=name)


if __name__ == "__main__":
    main()
