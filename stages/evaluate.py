"""Score the trained model: data/prepared + data/models -> reports/evaluate.

Run as ``python -m stages.evaluate``, or on several machines by ``torchrun ... -m stages.evaluate``.
"""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from maskline.cli.entry import PATH, arguments, log, params_option, stage

if TYPE_CHECKING:
    from maskline.params.stages.evaluate import EvaluateStage


@click.command()
@params_option
@click.option("--prepared", type=PATH, default="data/prepared", show_default=True, help="Prepared data set.")
@click.option("--model", type=PATH, default="data/models", show_default=True, help="Trained model.")
@click.option("--curves", type=PATH, default="reports/train/curves.csv", show_default=True, help="Training's scores.")
@click.option("--metrics", type=PATH, default="reports/evaluate/metrics.json", show_default=True, help="All scores.")
@click.option("--per-image", type=PATH, default="reports/evaluate/per_image.csv", show_default=True, help="By image.")
@click.option("--per-class", type=PATH, default="reports/evaluate/per_class.csv", show_default=True, help="By class.")
@click.option("--confusion", type=PATH, default="reports/evaluate/confusion.csv", show_default=True, help="Counts.")
@click.option("--gallery", type=PATH, default="reports/evaluate/gallery", show_default=True, help="Pictures.")
@click.option("--report", type=PATH, default="reports/evaluate/report.html", show_default=True, help="The page.")
@stage
def main(*, params_path: Path, prepared: Path, model: Path, curves: Path, **outputs: Path) -> None:
    """Score a split at its images' own sizes; write tables, images and one page with everything."""
    from maskline.params.base.reading import load_sections
    from maskline.params.stages.evaluate import EvaluateStage
    from maskline.runtime.patches import memory

    params = load_sections(params_path, EvaluateStage)
    memory.tune(enabled=params.machine.tuned_memory, huge_pages=False)
    from maskline.runtime import gpus, launch, process_group

    devices = params.machine.evaluate_devices
    gpus.take(devices, device=params.evaluate.device)
    if devices > 1 and not process_group.is_member():
        launch.run(["-m", "stages.evaluate", *arguments()], devices=devices, stage="evaluate")
        return
    with process_group.joined(device=params.evaluate.device, stage="evaluate", key="machine.evaluate_devices"):
        _score(params, prepared, model, curves, outputs)


def _score(params: "EvaluateStage", prepared: Path, model: Path, curves: Path, outputs: dict[str, Path]) -> None:
    from maskline.builders.evaluate import measures, tuned_inference
    from maskline.data.dataset import PreparedSplit
    from maskline.data.manifest import scored_split
    from maskline.evaluation import evaluate
    from maskline.evaluation.writing import Outputs, write_evaluation
    from maskline.runtime import checkpoint, device

    section = params.evaluate
    device.set_deterministic(params.train.threads)
    name = scored_split(prepared, section.split)
    split = PreparedSplit.open(prepared, name, cache="stream")
    card = checkpoint.read_card(model)
    evaluate.check_labels(split.labels, card, place=model / checkpoint.CARD_FILE)
    evaluate.check_reading(split.rule, card, place=model / checkpoint.CARD_FILE)
    validation = partial(PreparedSplit.open, prepared, "val", cache="stream")
    inference, tuned = tuned_inference(section, model, split, scored=name, validation=validation)
    result = evaluate.evaluate(
        inference,
        split,
        data_name=params.data.name,
        name=name,
        within_valid=section.within_valid,
        measures=measures(section),
        resamples=section.bootstrap,
        seed=params.train.seed,
        tuned_crf=tuned,
    )
    if result is None:
        return
    write_evaluation(
        result,
        split,
        card=card,
        params=section.model_dump(mode="json"),
        curves=curves,
        gallery_each=section.gallery,
        outputs=Outputs(**outputs),
    )
    log.info("evaluate: %s", evaluate.headline(result))


if __name__ == "__main__":
    main()
