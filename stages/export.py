"""data/models + data/prepared -> data/export, reports/export: ``python -m stages.export``."""

from pathlib import Path

import click

from maskline.cli import PATH, log, params_option, stage


@click.command()
@params_option
@click.option("--prepared", type=PATH, default="data/prepared", show_default=True, help="Prepared data.")
@click.option("--model", type=PATH, default="data/models", show_default=True, help="Trained model.")
@click.option("--out", type=PATH, default="data/export", show_default=True, help="ONNX model and labels.")
@click.option(
    "--metrics", type=PATH, default="reports/export/metrics.json", show_default=True, help="Agreement with torch."
)
@click.option(
    "--latency", type=PATH, default="reports/export/latency.json", show_default=True, help="Times beside torch."
)
@stage
def main(*, params_path: Path, prepared: Path, model: Path, out: Path, metrics: Path, latency: Path) -> None:
    """Write one ONNX file with pre-processing inside, after comparing it with torch on the test split."""
    from maskline import build, params
    from maskline.data.dataset import PreparedSplit
    from maskline.engine.checkpoint import read_card
    from maskline.export import package
    from maskline.files import write_json

    values = params.load(params_path)
    section = values.export
    trained = package.Trained.from_card(build.load_segmentor(model), read_card(model))
    split = PreparedSplit.open(prepared, "test", cache="stream")
    agreement = package.export_model(
        trained,
        split,
        out=out,
        opset=section.opset,
        example_size=section.example_size,
        threads=values.train.threads,
        limits=package.Limits(max_disagreement=section.max_disagreement, max_metric_change=section.max_metric_change),
    )
    times = package.latency(
        trained,
        out / package.MODEL_FILE,
        size=section.latency_size,
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
        times["ratio"],
    )


if __name__ == "__main__":
    main()
