"""``maskline recipe``: ready params files."""

import difflib
import json
from pathlib import Path

import click

from maskline.cli.entry import PATH, errors_to_exit_code


@click.group()
def main() -> None:
    """Ready params files with published settings; each is named by what it does."""


def _complete(_context: click.Context, _option: click.Parameter, start: str) -> list[str]:
    """Offer a shell the names of recipes."""
    from maskline.projects import recipes

    return [name for name in recipes.names() if name.startswith(start)]


@main.command("list")
@click.argument("words", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print JSON: name, published result and file of each.")
@errors_to_exit_code
def list_names(*, words: tuple[str, ...], as_json: bool) -> None:
    """Print the names of all recipes, or of those that contain every one of WORDS."""
    from maskline.projects import recipes

    found = [name for name in recipes.names() if all(word in name for word in words)]
    if as_json:
        rows = [{"name": name, "published": recipes.published(name), "file": str(recipes.find(name))} for name in found]
        click.echo(json.dumps(rows, indent=2))
        return
    for name in found:
        click.echo(name)


@main.command()
@click.argument("name", shell_complete=_complete)
@errors_to_exit_code
def show(*, name: str) -> None:
    """Print a recipe, its published result first."""
    from maskline.projects import recipes

    click.echo(recipes.find(name).read_text(encoding="utf-8"), nl=False)


@main.command()
@click.argument("name", shell_complete=_complete)
@click.option("--params", "params_path", type=PATH, default="params.yaml", show_default=True, help="File to write.")
@click.option("-S", "--set-param", "overrides", multiple=True, metavar="KEY=VALUE", help="Set a value on top of it.")
@click.option("--yes", is_flag=True, help="Write without asking.")
@errors_to_exit_code
def use(*, name: str, params_path: Path, overrides: tuple[str, ...], yes: bool) -> None:
    """Make a recipe the project's params.yaml, after showing what changes.

    KEY=VALUE is written as for dvc exp run -S, such as augment.crop_size=[256,256].
    """
    from maskline.core.files import write_text
    from maskline.projects import recipes
    from maskline.projects.overrides import with_overrides

    source = recipes.find(name)
    text = source.read_text(encoding="utf-8").replace("$schema=../", "$schema=./", 1)
    text = with_overrides(text, overrides, place=str(source))
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
