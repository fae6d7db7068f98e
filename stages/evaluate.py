"""Score the trained model: data/prepared + data/models -> reports/evaluate.

Run as ``python -m stages.evaluate``.
"""

from pathlib import Path

import click

from maskline import cli, memory


@click.command()
@cli.params_option
@click.option("--prepared", type=cli.PATH, default="data/prepared", show_default=True, help="Prepared data set.")
@click.option("--model", type=cli.PATH, default="data/models", show_default=True, help="Trained model.")
@click.option(
    "--curves", type=cli.PATH, default="reports/train/curves.csv", show_default=True, help="Training's scores."
)
@click.option(
    "--metrics", type=cli.PATH, default="reports/evaluate/metrics.json", show_default=True, help="All scores."
)
@click.option(
    "--per-image", type=cli.PATH, default="reports/evaluate/per_image.csv", show_default=True, help="By image."
)
@click.option(
    "--per-class", type=cli.PATH, default="reports/evaluate/per_class.csv", show_default=True, help="By class."
)
@click.option("--confusion", type=cli.PATH, default="reports/evaluate/confusion.csv", show_default=True, help="Counts.")
@click.option("--gallery", type=cli.PATH, default="reports/evaluate/gallery", show_default=True, help="Pictures.")
@click.option("--report", type=cli.PATH, default="reports/evaluate/report.html", show_default=True, help="The page.")
@cli.stage
def main(*, params_path: Path, prepared: Path, model: Path, curves: Path, **outputs: Path) -> None:
    """Score a split at its images' own sizes; write tables, pictures and one page with everything."""
    from maskline import build, params  # imports torch: not needed for --help
    from maskline.data.dataset import PreparedSplit
    from maskline.engine import checkpoint, device
    from maskline.inference import tuning
    from maskline.metrics.extra import Measures
    from maskline.report import evaluation

    memory.keep_freed()
    settings = params.load(params_path)
    section = settings.evaluate
    device.set_deterministic(settings.train.threads)
    split = PreparedSplit.open(prepared, section.split, cache="stream")
    card = checkpoint.read_card(model)
    evaluation.check_labels(split.labels, card, place=model / checkpoint.CARD_FILE)
    inference, tuned = build.inference(section, model), {}
    if section.crf.enabled and section.crf.tune:
        inference = tuning.with_crf(
            inference,
            PreparedSplit.open(prepared, "val", cache="stream"),
            ignore_index=split.labels.ignore_index,
            within_valid=section.within_valid,
        )
        tuned = tuning.tuned_values(inference)
    inference = tuning.with_threshold(
        inference,
        tune=section.threshold == "tune",
        num_classes=split.labels.num_classes,
        validation=lambda: PreparedSplit.open(prepared, "val", cache="stream"),
        ignore_index=split.labels.ignore_index,
        within_valid=section.within_valid,
    )
    result = evaluation.evaluate(
        inference,
        split,
        data_name=settings.data.name,
        name=section.split,
        within_valid=section.within_valid,
        measures=Measures(names=section.extra_metrics, boundary_px=section.boundary_px),
        resamples=section.bootstrap,
        seed=settings.train.seed,
        tuned_crf=tuned,
    )
    evaluation.write(
        result,
        split,
        card=card,
        curves=curves,
        gallery_each=section.gallery,
        outputs=evaluation.Outputs(**outputs),
    )
    cli.log.info("evaluate: %s", evaluation.headline(result))


if __name__ == "__main__":
    main()
