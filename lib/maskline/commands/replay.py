"""``maskline replay``: one training sample again, to the last bit."""

import json
from pathlib import Path

import click

from maskline.cli.entry import PATH, errors_to_exit_code, log, params_option


@click.command()
@click.argument("iteration", type=click.IntRange(min=0))
@click.argument("position", type=click.IntRange(min=0))
@params_option
@click.option("--prepared", type=PATH, default="data/prepared", show_default=True, help="Prepared data set.")
@click.option("-o", "--out", type=PATH, default=None, help="Folder to write; default: replay-ITERATION-POSITION.")
@errors_to_exit_code
def main(*, iteration: int, position: int, params_path: Path, prepared: Path, out: Path | None) -> None:
    """Show one training sample: before, after, and what was drawn.

    ITERATION counts from 0, POSITION from 0 among the samples of the iteration, as in
    reports/augment_preview/params.json. The drawn parameters are printed as JSON; the folder gets the images, the
    masks and the network's input, bit by bit what training used.
    """
    from maskline.builders.augment import build_batches
    from maskline.builders.training import run_length
    from maskline.core.errors import ParamsError
    from maskline.core.files import storage_errors
    from maskline.data.dataset import PreparedSplit
    from maskline.params.whole import load_params
    from maskline.report import replay

    settings = load_params(params_path)
    split = PreparedSplit.open(prepared, "train", cache="stream")
    accumulate, size = settings.train.accumulate, settings.train.batch_size * settings.train.accumulate
    for name, value, count in (
        ("ITERATION", iteration, run_length(settings, split)),
        ("POSITION", position, size),
    ):
        if value >= count:
            raise ParamsError(f"replay: {name}", f"{value}, but there are {count}", f"give 0 to {count - 1}")
    batches = build_batches(split, augment=settings.augment, look=settings.model, train=settings.train)
    (sample,) = batches.augmented(iteration, [position], accumulate=accumulate)
    folder = out or Path(f"replay-{iteration}-{position}")
    with storage_errors(folder):
        replay.write(sample, split.labels, folder)
    click.echo(json.dumps(replay.entry(sample), indent=2))
    log.info("replay: %s in %s", sample.id, folder)


if __name__ == "__main__":
    main()
