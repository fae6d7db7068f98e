"""``maskline recipe``: ready params files."""

import difflib
from pathlib import Path

import click

from maskline.cli import PATH, errors_to_exit_code


@click.group()
def main() -> None:
    """Ready params files with published settings; each is named by what it does."""


@main.command("list")
@click.argument("words", nargs=-1)
@errors_to_exit_code
def list_names(*, words: tuple[str, ...]) -> None:
    """Print the names of all recipes, or of those that contain every one of WORDS."""
    from maskline import recipes

    for name in recipes.names():
        if all(word in name for word in words):
            click.echo(name)


@main.command()
@click.argument("name")
@errors_to_exit_code
def show(*, name: str) -> None:
    """Print a recipe, its published result first."""
    from maskline import recipes

    click.echo(recipes.find(name).read_text(encoding="utf-8"), nl=False)


@main.command()
@click.argument("name")
@click.option("--params", "params_path", type=PATH, default="params.yaml", show_default=True, help="File to write.")
@click.option("--yes", is_flag=True, help="Write without asking.")
@errors_to_exit_code
def use(*, name: str, params_path: Path, yes: bool) -> None:
    """Make a recipe the project's params.yaml, after showing what changes."""
    from maskline import params, recipes
    from maskline.files import write_text

    source = recipes.find(name)
    params.load(source)
    text = source.read_text(encoding="utf-8").replace("$schema=../", "$schema=./", 1)
    former = params_path.read_text(encoding="utf-8") if params_path.is_file() else ""
    lines = list(difflib.unified_diff(former.splitlines(), text.splitlines(), str(params_path), name, lineterm="", n=1))
    if not lines:
        click.echo(f"{params_path} is {name} already")
        return
    for line in lines:
        click.echo(line)
    if not yes and not click.confirm(f"Replace {params_path}?"):
        click.echo("nothing written")
        return
    write_text(params_path, text)
    click.echo(f"written: {params_path}; git diff shows it, git checkout {params_path} takes it back")
