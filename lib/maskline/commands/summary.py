"""``maskline summary``: how large a network is."""

import json
from dataclasses import asdict

import click

from maskline.cli.entry import errors_to_exit_code


@click.command()
@click.argument("source", metavar="[PARAMS | RECIPE | MODEL]", default="params.yaml")
@click.option("--size", type=click.IntRange(16), nargs=2, help="Height and width; default: augment.crop_size.")
@click.option("--classes", type=click.IntRange(2), default=2, show_default=True, help="Number of classes.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@errors_to_exit_code
def main(*, source: str, size: tuple[int, int] | None, classes: int, as_json: bool) -> None:
    """Print parameters and multiply-adds of a network, whole and by part.

    The network is that of a params file, of a recipe by its name, or of a trained or imported model folder.
    Nothing is computed: only shapes are followed through the network.
    """
    from maskline.analysis.network_size import describe

    described = describe(source, size=size, classes=classes)
    click.echo(json.dumps(asdict(described), indent=2) if as_json else "\n".join(described.lines()))
