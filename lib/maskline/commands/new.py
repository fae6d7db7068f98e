"""``maskline new``: a project of one's own, from the installed package."""

from pathlib import Path

import click

from maskline.cli.entry import PATH, errors_to_exit_code
from maskline.core.text import printable


@click.command()
@click.argument("folder", type=PATH, metavar="DIR")
@click.option(
    "--data", type=PATH, help="A folder, zip or tar with images and masks or annotations: the project's data."
)
@click.option("--format", "name", metavar="NAME", help="Format of --data, where it is not the one that is recognised.")
@click.option(
    "--class",
    "classes",
    multiple=True,
    metavar="NAME[=VALUE]",
    help="A class of --data: in the order of the values, or with its value or color (road=7, sky=0,0,255).",
)
@click.option(
    "--ignore", "ignored", multiple=True, metavar="VALUE", help="Value or color of the masks that never counts."
)
@click.option("--recipe", help="Put this recipe into the shipped params.yaml; its data section only without --data.")
@click.option("-S", "--set-param", "overrides", multiple=True, metavar="KEY=VALUE", help="Set a value in params.yaml.")
@click.option("--no-git", is_flag=True, help="No git repository; experiments (dvc exp) need one.")
@click.option("--upgrade", is_flag=True, help="Bring a project that is there to the installed maskline.")
@errors_to_exit_code
def main(
    *,
    folder: Path,
    data: Path | None,
    name: str | None,
    classes: tuple[str, ...],
    ignored: tuple[str, ...],
    recipe: str | None,
    overrides: tuple[str, ...],
    no_git: bool,
    upgrade: bool,
) -> None:
    """Make a project in DIR: params.yaml, dvc.yaml, stages, README, under git and DVC.

    As it stands it trains on a set that it draws itself, so that `dvc repro` can be seen to work. With --data it
    recognises the format, looks at every mask, prints what these hold and writes what that means into params.yaml. DIR
    must be empty or not there; --upgrade, for a project made by an earlier maskline, writes stages, dvc.yaml, the
    templates in .dvc/plots, .dvcignore, params.schema.json and requirements.lock anew and nothing else.
    """
    from maskline.projects import new_project

    if upgrade:
        if data or name or classes or ignored or recipe or overrides or no_git:
            raise click.UsageError("--upgrade takes no other option")
        for line in new_project.upgrade(folder):
            click.echo(line)
        return
    for option, value in (("--class", classes), ("--ignore", ignored), ("--format", name)):
        if value and not data:
            raise click.UsageError(f"{option} needs --data")
    own_data, files = None, {}
    if data is not None:
        from maskline.projects.new_data import describe
        from maskline.projects.overrides import given

        new_project.check_free(folder)
        mask_values = given(overrides, "data.mask_values")
        described = describe(
            data,
            project=folder,
            classes=classes,
            ignored=ignored,
            name=name,
            pair_names=_pair_names(overrides),
            mask_values=mask_values,
        )
        own_data = {f"data.{key}": value for key, value in described.params.items()}
        own_data |= {f"model.{key}": value for key, value in described.model.items()}
        files = described.files
        if "mask_values" in described.params:  # of the user's own, its keys as text
            overrides = tuple(word for word in overrides if not word.lstrip("+").startswith("data.mask_values="))
        for line in described.lines:
            click.echo(printable(line))
    new_project.create(folder, recipe=recipe, own_data=own_data, overrides=overrides, git=not no_git, files=files)
    click.echo(f"made {folder}: next, cd {folder} && maskline doctor && dvc repro")


def _pair_names(overrides: tuple[str, ...]) -> dict[str, str]:
    """Return those of the overrides that say how images and masks are called, without ``data.``."""
    given = dict(text.split("=", maxsplit=1) for text in overrides if "=" in text)
    ends = ("dir", "suffix", "prefix")
    keys = [f"{kind}_{end}" for kind in ("image", "mask") for end in ends]
    return {key: given[f"data.{key}"].strip("'\"") for key in keys if f"data.{key}" in given}
