"""data/models + data/prepared + scores -> data/export, reports/export: ``python -m stages.export``."""

import os
from pathlib import Path

import click

from maskline.cli.entry import PATH, OneLineCommand, log, params_option, stage


@click.command(cls=OneLineCommand)
@params_option
@click.option("--prepared", type=PATH, default="data/prepared", show_default=True, help="Prepared data.")
@click.option("--model", type=PATH, default="data/models", show_default=True, help="Trained model.")
@click.option("--scores", type=PATH, default="reports/evaluate/scores.csv", show_default=True, help="For the card.")
@click.option("--out", type=PATH, default="data/export", show_default=True, help="ONNX models, labels and card.")
@click.option(
    "--metrics", type=PATH, default="reports/export/metrics.json", show_default=True, help="The same as JSON."
)
@click.option("--agreement", type=PATH, default="reports/export/agreement.csv", show_default=True, help="With torch.")
@click.option("--latency", type=PATH, default="reports/export/latency.json", show_default=True, help="Times.")
@click.option("--times", type=PATH, default="reports/export/latency.csv", show_default=True, help="Times as a table.")
@stage
def main(*, params_path: Path, prepared: Path, model: Path, scores: Path, out: Path, **reports: Path) -> None:
    """Write ONNX files with pre-processing inside, after comparing each with torch on the split that was scored."""
    from maskline.builders.export import build_trained, build_variants, export_model, measure_latency
    from maskline.core.files import write_json, write_text
    from maskline.data.dataset import PreparedSplit
    from maskline.data.manifest import scored_split
    from maskline.export import card, package, timing
    from maskline.params.base.reading import load_sections
    from maskline.params.stages.export import ExportStage
    from maskline.runtime.processes import gpus

    params = load_sections(params_path, ExportStage)
    gpus.take(1, device=params.export.device)
    section, threads, data_set = params.export, params.train.threads, params.data.name
    known = card.read_scores(scores)
    trained = build_trained(section, model, threshold=known.get("threshold"), scale=params.evaluate.scale)
    name = scored_split(prepared, params.evaluate.split)
    split = PreparedSplit.open(prepared, name, cache="stream")
    mirror = os.environ.get("MASKLINE_MIRROR")
    variants = build_variants(section, trained, prepared, threads=threads, mirror=Path(mirror) if mirror else None)
    agreement = export_model(section, trained, split, name=name, out=out, threads=threads, variants=variants)
    card.write(
        out, trained, agreement, variants=variants, data_set=data_set, split=name, images=len(split), scores=known
    )
    measured = measure_latency(section, trained, variants, out, threads=threads)
    write_text(reports["agreement"], package.table(agreement, variants))
    write_json(reports["metrics"], agreement)
    write_json(reports["latency"], measured)
    write_text(reports["times"], timing.table(measured, sizes=package.sizes(agreement, variants)))
    outcome = timing.headline(agreement, measured, split=name, batch=section.latency_batches[0])
    log.info("export: %s, %s", out / "model.onnx", outcome)
    if "web" in section.variants:
        log.info("page: python -m http.server -d %s, then http://localhost:8000", out / "web")


if __name__ == "__main__":
    main()
