"""``maskline new``: a project of one's own, from the installed package."""

from pathlib import Path

import click

from maskline.cli.entry import PATH, errors_to_exit_code


@click.command()
@click.argument("folder", type=PATH, metavar="DIR")
@click.option("--data", type=PATH, help="A folder, zip or tar with images/ and masks/: the project's data.")
@click.option("--class", "classes", multiple=True, metavar="NAME", help="Name of a class of --data, in the ids' order.")
@click.option("--recipe", help="Put this recipe into the shipped params.yaml; its data section only without --data.")
@click.option("-S", "--set-param", "overrides", multiple=True, metavar="KEY=VALUE", help="Set a value in params.yaml.")
@click.option("--no-git", is_flag=True, help="No git repository; experiments (dvc exp) need one.")
@click.option("--upgrade", is_flag=True, help="Bring a project that is there to the installed maskline.")
@errors_to_exit_code
def main(
    *,
    folder: Path,
    data: Path | None,
    classes: tuple[str, ...],
    recipe: str | None,
    overrides: tuple[str, ...],
    no_git: bool,
    upgrade: bool,
) -> None:
    """Make a project in DIR: params.yaml, dvc.yaml, stages, README, under git and DVC.

    As it stands it trains on a set that it draws itself, so that `dvc repro` can be seen to work. With --data it takes
    the masks' encoding and classes from the masks. DIR must be empty or not there; --upgrade, for a project made by an
    earlier maskline, writes stages, dvc.yaml, the templates in .dvc/plots, .dvcignore, params.schema.json and
    requirements.lock anew and nothing else.
    """
    from maskline.projects import new_project

    if upgrade:
        if data or classes or recipe or overrides or no_git:
            raise click.UsageError("--upgrade takes no other option")
        for line in new_project.upgrade(folder):
            click.echo(line)
        return
    if classes and not data:
        raise click.UsageError("--class needs --data")
    values = []
    if data is not None:
        from maskline.projects.new_data import describe

        values = describe(data, project=folder, names=classes)
    given = [*values, *overrides]
    new_project.create(folder, recipe=recipe, with_data=data is None, overrides=given, git=not no_git)
    click.echo(f"made {folder}: next, cd {folder} && maskline doctor && dvc repro")
