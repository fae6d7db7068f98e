"""Score the trained model: data/prepared + data/models -> reports/evaluate.

Run as ``python -m stages.evaluate``, or on several machines by ``torchrun ... -m stages.evaluate``.
"""

from pathlib import Path

import click

from maskline.cli.entry import PATH, OneLineCommand, arguments, log, params_option, stage


@click.command(cls=OneLineCommand)
@params_option
@click.option("--prepared", type=PATH, default="data/prepared", show_default=True, help="Prepared data set.")
@click.option("--model", type=PATH, default="data/models", show_default=True, help="Trained model.")
@click.option("--curves", type=PATH, default="reports/train/curves.csv", show_default=True, help="Training's scores.")
@click.option("--metrics", type=PATH, default="reports/evaluate/metrics.json", show_default=True, help="Main scores.")
@click.option("--scores", type=PATH, default="reports/evaluate/scores.csv", show_default=True, help="All scores.")
@click.option("--per-image", type=PATH, default="reports/evaluate/per_image.csv", show_default=True, help="By image.")
@click.option("--per-class", type=PATH, default="reports/evaluate/per_class.csv", show_default=True, help="By class.")
@click.option("--confusion", type=PATH, default="reports/evaluate/confusion.csv", show_default=True, help="Counts.")
@click.option(
    "--conventions", type=PATH, default="reports/evaluate/conventions.csv", show_default=True, help="Each way to score."
)
@click.option("--gallery", type=PATH, default="reports/evaluate/gallery", show_default=True, help="Pictures.")
@click.option("--report", type=PATH, default="reports/evaluate/report.html", show_default=True, help="The page.")
@stage
def main(*, params_path: Path, prepared: Path, model: Path, curves: Path, **outputs: Path) -> None:
    """Score a split at its images' own sizes; write tables, images and one page with everything."""
    from maskline.params.base.reading import load_sections
    from maskline.params.stages.evaluate import EvaluateStage
    from maskline.runtime.patches import memory
    from maskline.runtime.processes import waiting

    params = load_sections(params_path, EvaluateStage)
    memory.tune(enabled=params.machine.tuned_memory, huge_pages=False)
    waiting.tune(params.machine.wait)  # before torch is loaded
    from maskline.runtime.processes import gpus, launch, process_group

    section, devices = params.evaluate, params.machine.evaluate_devices
    gpus.take(devices, device=section.device)
    if devices > 1 and not process_group.is_member():
        launch.run(["-m", "stages.evaluate", *arguments()], devices=devices, stage="evaluate")
        return
    from maskline.builders.evaluate import evaluated  # which those need that are started
    from maskline.evaluation.evaluate import headline
    from maskline.evaluation.writing import Outputs, write_evaluation

    with process_group.joined(device=section.device, stage="evaluate", key="machine.evaluate_devices"):
        scored = evaluated(params, prepared, model)
    if scored.result is None:  # another process writes
        return
    write_evaluation(
        scored.result,
        scored.split,
        card=scored.card,
        params=section.model_dump(mode="json"),
        curves=curves,
        gallery_each=section.gallery,
        outputs=Outputs(**outputs),
    )
    log.info("evaluate: %s", headline(scored.result))


if __name__ == "__main__":
    main()
