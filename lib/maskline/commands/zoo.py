"""``maskline zoo``: MMSegmentation's published checkpoints by name."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from maskline.cli.entry import PATH, errors_to_exit_code, log

if TYPE_CHECKING:
    from maskline.weights.zoo import Checkpoint


@click.group()
def main() -> None:
    """MMSegmentation's published checkpoints: list them, show one, get one as a model folder."""


def _complete(_context: click.Context, _option: click.Parameter, start: str) -> list[str]:
    """Offer a shell the names of checkpoints."""
    from maskline.weights import zoo

    return [name for name in zoo.checkpoints() if name.startswith(start)]


@main.command("list")
@click.argument("words", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print JSON: all that is known of each.")
@errors_to_exit_code
def list_names(*, words: tuple[str, ...], as_json: bool) -> None:
    """Print the names of all checkpoints, or of those whose name or data set contain every one of WORDS."""
    from maskline.weights import zoo

    chosen = [
        one
        for one in zoo.checkpoints().values()
        if all(word.lower() in f"{one.name} {one.data_set}".lower() for word in words)
    ]
    if as_json:
        click.echo(json.dumps([_facts(one) for one in chosen], indent=2))
        return
    for one in chosen:
        click.echo(f"{one.name}  {one.data_set}  {one.scores}")


@main.command()
@click.argument("name", shell_complete=_complete)
@errors_to_exit_code
def show(*, name: str) -> None:
    """Print what is known of a checkpoint: data set, published score, address, hash, licence."""
    from maskline.weights import zoo

    for key, value in _facts(zoo.find(name)).items():
        click.echo(f"{key}: {value}")


@main.command()
@click.argument("name", shell_complete=_complete)
@click.option("-o", "--output", type=PATH, default=None, help="Folder of the model.  [default: models/NAME]")
@click.option("--image", type=PATH, default=None, help="Try it on this image; its overlay is written beside the model.")
@click.option("--base", default=None, help="Another address that serves the same paths.")
@errors_to_exit_code
def get(*, name: str, output: Path | None, image: Path | None, base: str | None) -> None:
    """Download a checkpoint, import it by its own configuration, and try it on an image.

    The file is taken from the folder that the environment variable MASKLINE_MIRROR names, where it lies there, else
    downloaded into .maskline/downloads: with progress, going on where it broke, checked by the hash in its name.
    Without --image it is tried on noise: what comes is no answer, but it shows that the network computes.
    """
    from maskline.weights import zoo
    from maskline.weights.importing import write_import

    one = zoo.find(name)
    folder = output or Path("models") / name
    mirror = os.environ.get("MASKLINE_MIRROR")
    log.info("zoo: licence: %s", one.licence)
    file = zoo.obtain(one, mirror=Path(mirror) if mirror else None, base=base or zoo.BASE)
    done = write_import(
        file,
        folder,
        recipe=None,
        mmseg_config=None,
        labels_path=None,
        allow_partial=False,
        origin={"name": one.name, "address": one.url, "licence": one.licence},
    )
    for note in done.notes:
        click.echo(f"note: {note}")
    click.echo(f"written: {folder}, {len(done.match.matched)} tensors; published: {one.scores} on {one.data_set}")
    _try(folder, image)


def _facts(one: "Checkpoint") -> dict[str, str]:
    return {
        "name": one.name,
        "family": one.family,
        "data set": one.data_set,
        "published": one.scores,
        "address": one.url,
        "sha256 begins with": one.sha256_start or "not known",
        "licence": one.licence,
    }


def _try(folder: Path, image: Path | None) -> None:
    """Segment one image and print the classes that come, most pixels first."""
    import numpy as np

    from maskline.predict.model_sources import load

    model = load(folder)
    if image is None:
        noise = np.random.default_rng(0).integers(0, 256, (128, 192, model.reading.num_channels), dtype=np.uint8)
        model.predict(noise)
        click.echo("tried: the network computes (on noise; --image tries it on an image)")
        return
    result = model.predict(image)
    shares = sorted(result.shares.items(), key=lambda item: -item[1])
    click.echo("tried: " + ", ".join(f"{name} {share:.1%}" for name, share in shares[:5] if share))
    overlay = folder.with_name(f"{folder.name}.jpg")
    result.overlay().save(overlay)
    click.echo(f"written: {overlay}")
