"""``maskline summary``: how large a network is."""

import click

from maskline.cli import errors_to_exit_code


@click.command()
@click.argument("source", metavar="[PARAMS | RECIPE | MODEL]", default="params.yaml")
@click.option("--size", type=click.IntRange(16), nargs=2, help="Height and width; default: augment.crop_size.")
@click.option("--classes", type=click.IntRange(2), default=2, show_default=True, help="Number of classes.")
@errors_to_exit_code
def main(*, source: str, size: tuple[int, int] | None, classes: int) -> None:
    """Print parameters and multiply-adds of a network, whole and by part.

    The network is that of a params file, of a recipe by its name, or of a trained or imported model folder.
    Nothing is computed: only shapes are followed through the network.
    """
    from maskline.build_summary import describe

    for line in describe(source, size=size, classes=classes):
        click.echo(line)
