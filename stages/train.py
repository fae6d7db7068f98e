"""Train the network: data/prepared -> data/models, reports/train.

Run as ``python -m stages.train``, or on several machines by ``torchrun ... -m stages.train``. A run that is killed goes
on from its journal when it is started again.
"""

from pathlib import Path

import click

from maskline import cli, memory


@click.command()
@cli.params_option
@click.option("--prepared", type=cli.PATH, default="data/prepared", show_default=True, help="Prepared data set.")
@click.option("--model", type=cli.PATH, default="data/models", show_default=True, help="Model folder to write.")
@click.option("--metrics", type=cli.PATH, default="reports/train/metrics.json", show_default=True, help="Scores.")
@click.option("--curves", type=cli.PATH, default="reports/train/curves.csv", show_default=True, help="Validations.")
@click.option("--classes", type=cli.PATH, default="reports/train/classes.csv", show_default=True, help="By class.")
@click.option("--steps", type=cli.PATH, default="reports/train/steps.csv", show_default=True, help="Loss curve.")
@click.option("--timing", type=cli.PATH, default="reports/train/timing.json", show_default=True, help="Speed.")
@click.option("--stop-after", type=int, default=0, show_default=True, help="Only so many iterations; 0: all of them.")
@cli.stage
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
    memory.prefer_huge_pages()  # before torch takes any
    from maskline import build, params  # imports torch: not needed for --help
    from maskline.engine import member, run
    from maskline.engine.process import die_with_parent

    die_with_parent()
    settings = params.load(params_path)
    if settings.train.devices > 1 and not member.is_member():
        from maskline.engine import launch

        launch.run(["-m", "stages.train", *cli.arguments()], devices=settings.train.devices)
        return
    with member.joined(device=settings.train.device):
        job = build.training(settings, prepared)
        cli.log.info("train: %s", build.describe(settings, job))
        result = run.train(job, stop_after=stop_after)
        files = {"metrics": metrics, "curves": curves, "classes": classes, "steps": steps, "timing": timing}
        run.write(result, job, model=model, **files)
        cli.log.info("train: %s", result.outcome(job.loop.best_metric))


if __name__ == "__main__":
    main()
