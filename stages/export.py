"""data/models + data/prepared -> data/export, reports/export: ``python -m stages.export``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from maskline.cli import PATH, log, params_option, stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from maskline.export.package import Limits, Variant
    from maskline.params import ExportLimits, ExportParams


@click.command()
@params_option
@click.option("--prepared", type=PATH, default="data/prepared", show_default=True, help="Prepared data.")
@click.option("--model", type=PATH, default="data/models", show_default=True, help="Trained model.")
@click.option("--out", type=PATH, default="data/export", show_default=True, help="ONNX models, labels and card.")
@click.option(
    "--metrics", type=PATH, default="reports/export/metrics.json", show_default=True, help="Agreement with torch."
)
@click.option(
    "--latency", type=PATH, default="reports/export/latency.json", show_default=True, help="Times beside torch."
)
@stage
def main(*, params_path: Path, prepared: Path, model: Path, out: Path, metrics: Path, latency: Path) -> None:
    """Write ONNX files with pre-processing inside, after comparing each with torch on the test split."""
    from maskline import build, params
    from maskline.data.dataset import PreparedSplit
    from maskline.engine.checkpoint import read_card
    from maskline.export import card, package, timing
    from maskline.files import write_json, write_text

    values = params.load(params_path)
    section = values.export
    trained = package.Trained.from_card(build.load_segmentor(model), read_card(model))
    split = PreparedSplit.open(prepared, "test", cache="stream")
    variants = _variants(section, prepared, threads=values.train.threads)
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
    about = card.card_text(trained, agreement, variants=variants, images=len(split))
    write_text(out / card.CARD_FILE, about)
    write_text(out / card.EXAMPLE_FILE, card.example_text())
    times = timing.latency(
        trained,
        {"fp32": out / package.MODEL_FILE, **{each.name: out / each.file for each in variants}},
        size=section.latency_size,
        batches=section.latency_batches,
        runs=section.latency_runs,
        threads=values.train.threads,
    )
    write_json(metrics, agreement)
    write_json(latency, times)
    log.info(
        "export: %s, %d of %d test pixels differ from torch, %.2f of its time",
        out / package.MODEL_FILE,
        agreement["test"]["differing_pixels"],
        agreement["test"]["pixels"],
        times[f"batch_{section.latency_batches[0]}"]["fp32"]["ratio"],
    )


def _variants(section: "ExportParams", prepared: Path, *, threads: int) -> "tuple[Variant, ...]":
    from maskline.export import precision
    from maskline.export.package import Variant

    found = {
        "fp16": Variant(name="fp16", convert=precision.to_fp16, limits=_limits(section.fp16, "export.fp16")),
        "int8": Variant(
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
    from maskline.export.package import Limits

    return Limits(max_disagreement=section.max_disagreement, max_metric_change=section.max_metric_change, section=name)


if __name__ == "__main__":
    main()
