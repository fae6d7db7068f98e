"""``maskline import-weights``: weights of other projects as a model folder."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from maskline.cli.entry import PATH, errors_to_exit_code
from maskline.core.text import one_line

if TYPE_CHECKING:
    from maskline.weights.matching import Match

_SHOWN = 8


@click.command()
@click.argument("checkpoint", type=PATH)
@click.option("-o", "--output", type=PATH, required=True, help="Folder for model.safetensors and model.json.")
@click.option("--recipe", help="Name of a recipe, or a params file, whose model section is the network.")
@click.option("--mmseg-config", type=PATH, help="Resolved MMSegmentation configuration, .json or .py.")
@click.option("--labels", "labels_path", type=PATH, help="labels.json whose class names and colors to write.")
@click.option(
    "--params",
    "params_path",
    type=PATH,
    help="Write the network and model.weights into this params file; its comments and other sections stay.",
)
@click.option("--allow-partial", is_flag=True, help="Take what fits where not everything does.")
@click.option("--verbose", is_flag=True, help="List every tensor.")
@errors_to_exit_code
def main(
    *,
    checkpoint: Path,
    output: Path,
    recipe: str | None,
    mmseg_config: Path | None,
    labels_path: Path | None,
    params_path: Path | None,
    allow_partial: bool,
    verbose: bool,
) -> None:
    """Turn CHECKPOINT into a model folder that evaluate, export, predict and model.weights take.

    CHECKPOINT is a .pth of MMSegmentation 0.x or 1.x, a state dict of segmentation-models-pytorch or timm, or a
    safetensors file. Nothing inside of it is run. The network is that of --recipe, of --mmseg-config, or of the
    configuration that MMSegmentation wrote into the checkpoint.
    """
    from maskline.weights.importing import write_import

    _only_one(recipe, mmseg_config)
    done = write_import(
        checkpoint,
        output,
        recipe=recipe,
        mmseg_config=mmseg_config,
        labels_path=labels_path,
        params_path=params_path,
        allow_partial=allow_partial,
    )
    _report(done.match, verbose=verbose)
    for note in done.notes:
        click.echo(one_line(f"note: {note}"))
    for section, values in done.sections.items():
        click.echo(one_line(f"{section}: " + ", ".join(f"{key} {value}" for key, value in values.items())))
    click.echo(f"written: {output}")
    if params_path is not None:
        click.echo(f"written: the section model of {params_path}; git diff shows it")


def _only_one(recipe: str | None, mmseg_config: Path | None) -> None:
    if recipe and mmseg_config:
        raise click.UsageError("give --recipe or --mmseg-config, not both")


def _report(match: "Match", *, verbose: bool) -> None:
    click.echo(f"names: {match.table}")
    for title, names in (
        ("matched", match.matched),
        ("reshaped", match.reshaped),
        ("missing", match.missing),
        ("left over", match.left_over),
        ("of another shape", match.unfit),
    ):
        click.echo(f"{title}: {len(names)}")
        shown = names if verbose else names[: _SHOWN if title != "matched" else 0]
        for name in shown:
            click.echo(f"  {one_line(name)}")
        if not verbose and title != "matched" and len(names) > len(shown):
            click.echo(f"  and {len(names) - len(shown)} more (--verbose lists all)")
