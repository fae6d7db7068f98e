"""Train the network: data/prepared -> data/models, reports/train.

Run as ``python -m stages.train``, or on several machines by ``torchrun ... -m stages.train``. A run that is killed goes
on from its journal when it is started again.
"""

from pathlib import Path

import click

from maskline.cli.entry import PATH, OneLineCommand, arguments, log, params_option, stage


@click.command(cls=OneLineCommand)
@params_option
@click.option("--prepared", type=PATH, default="data/prepared", show_default=True, help="Prepared data set.")
@click.option("--model", type=PATH, default="data/models", show_default=True, help="Model folder to write.")
@click.option("--metrics", type=PATH, default="reports/train/metrics.json", show_default=True, help="Best score.")
@click.option("--curves", type=PATH, default="reports/train/curves.csv", show_default=True, help="Validations.")
@click.option("--classes", type=PATH, default="reports/train/classes.csv", show_default=True, help="By class.")
@click.option("--steps", type=PATH, default="reports/train/steps.csv", show_default=True, help="Loss curve.")
@click.option("--timing", type=PATH, default="reports/train/timing.csv", show_default=True, help="Speed.")
@click.option("--stop-after", type=int, default=0, show_default=True, help="Only so many iterations; 0: all of them.")
@stage
def main(
    params_path: Path,
    prepared: Path,
    model: Path,
    metrics: Path,
    curves: Path,
    classes: Path,
    steps: Path,
    timing: Path,
    stop_after: int,
) -> None:
    """Train on the train split, validate on the val split, keep the best weights."""
    from maskline.params.base.reading import load_sections
    from maskline.params.stages.train import TrainStage
    from maskline.runtime.patches import memory
    from maskline.runtime.processes import waiting

    params = load_sections(params_path, TrainStage)
    # Both before torch is loaded.
    memory.tune(enabled=params.machine.tuned_memory, huge_pages=True)
    if waiting.tune(params.machine.wait):
        log.info("train: the machine is busy or machine.wait says so: threads wait asleep")
    from maskline.engine.process import die_with_parent
    from maskline.runtime.processes import gpus, launch, process_group

    die_with_parent()
    gpus.take(params.train.devices, device=params.train.device)
    if params.train.devices > 1 and not process_group.is_member():
        launch.run(["-m", "stages.train", *arguments()], devices=params.train.devices, stage="train")
        return
    from maskline.builders.training import build_training, describe_training  # which those need that are started
    from maskline.engine import run

    with process_group.joined(device=params.train.device, stage="train", key="train.devices"):
        job = build_training(params, prepared)
        log.info("train: %s", describe_training(job))
        result = run.train(job, stop_after=stop_after)
        files = {"metrics": metrics, "curves": curves, "classes": classes, "steps": steps, "timing": timing}
        run.write(result, job, model=model, **files)
        log.info("train: %s", result.outcome(job.loop.best_metric))


if __name__ == "__main__":
    main()
