"""``maskline next N FOLDER``: which images to label next."""

from pathlib import Path

import click

from maskline.cli.entry import PATH, errors_to_exit_code, log, params_option

METHODS = ("entropy", "margin", "disagreement")


@click.command()
@click.argument("number", type=click.IntRange(1), metavar="N")
@click.argument("inputs", nargs=-1, required=True, metavar="FOLDER...")
@params_option
@click.option(
    "--model",
    "models",
    type=PATH,
    multiple=True,
    help="Trained model; give it once for each.  [default: those of maskline folds, else data/models]",
)
@click.option("--folds", type=PATH, default="data/folds", show_default=True, help="What maskline folds wrote.")
@click.option(
    "--method",
    type=click.Choice(METHODS),
    default=None,
    help="How unsure the models are.  [default: disagreement of several models, entropy of one]",
)
@click.option("-o", "--out", type=PATH, default="data/next.csv", show_default=True, help="Table of all images.")
@errors_to_exit_code
def main(
    *,
    number: int,
    inputs: tuple[str, ...],
    params_path: Path,
    models: tuple[Path, ...],
    folds: Path,
    method: str | None,
    out: Path,
) -> None:
    """Name N of the images in FOLDER to label next: those that the models are most unsure of, unlike each other.

    The most uncertain images, five for each that is asked for, are candidates; among them each next one is the
    farthest from all chosen so far, by the features of the first model's encoder. The same models and images give the
    same list. Files go to stdout, one a line; the table has the numbers of all images.
    """
    from maskline.analysis.next_images.choosing import load_models, next_images
    from maskline.core.errors import DataError, DataProblemsError
    from maskline.core.files import write_text
    from maskline.params.whole import load_params
    from maskline.predict.image_inputs import find_sources
    from maskline.runtime import device

    params = load_params(params_path)
    device.set_deterministic(params.train.threads)
    loaded = load_models(params.evaluate, list(models) or _usual_models(folds))
    sources = find_sources(inputs, out=out)
    if any(source.frame is not None for source in sources):
        raise DataError(inputs[0], "a video", "save the frames that could be labelled as images")
    files = {source.name: source.path for source in sources}
    done = next_images(loaded, files, number=number, method=method)
    write_text(out, done.table(files))
    for name in done.chosen:
        click.echo(files[name])
    log.info("next: %d of %d images by %s; table in %s", len(done.chosen), len(files), done.method, out)
    if done.problems:
        raise DataProblemsError("images", done.problems)


def _usual_models(folds: Path) -> list[Path]:
    """Return the models of a cross-validation, or that of the project."""
    from maskline.analysis.audit.members import of_folds
    from maskline.core.errors import DataError

    usual = Path("data/models")
    if any((folds / "members").glob("*")):
        return list(dict.fromkeys(model for part in of_folds(folds) for model in part.models))
    if not usual.is_dir():
        raise DataError(usual, "no model here", "train one (dvc repro train), or name it with --model")
    return [usual]
