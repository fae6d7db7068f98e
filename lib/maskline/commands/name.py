"""``maskline name``: what an experiment is called."""

from pathlib import Path

import click

from maskline.cli.entry import PATH, errors_to_exit_code


@click.command()
@click.argument("params_path", metavar="[PARAMS]", type=PATH, default="params.yaml")
@errors_to_exit_code
def main(*, params_path: Path) -> None:
    """Print the name of the experiment that PARAMS (params.yaml) describes, by MMSegmentation's convention."""
    from maskline.params.whole import load_params
    from maskline.projects import naming

    click.echo(naming.name(load_params(params_path)))
