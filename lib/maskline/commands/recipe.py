"""``maskline recipe``: ready params."""

import difflib
import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from maskline.cli.entry import PATH, errors_to_exit_code

if TYPE_CHECKING:
    from maskline.projects.recipes import Recipe


@click.group()
def main() -> None:
    """Ready params, published and our own; each is named by what it does.

    NAME may be MMSegmentation's of any configuration whose network is here, such as
    fcn_r50-d8_4xb2-80k_cityscapes-512x1024.
    """


def _complete(_context: click.Context, _option: click.Parameter, start: str) -> list[str]:
    """Offer a shell the names of recipes."""
    from maskline.projects import recipes

    return [name for name in recipes.names() if name.startswith(start)]


@main.command("list")
@click.argument("words", nargs=-1)
@click.option("--data", default="", metavar="NAME", help="Those of this data set, such as ade20k.")
@click.option("--model", default="", metavar="NAME", help="Those of this family or network, such as segformer or r50.")
@click.option("--all", "everything", is_flag=True, help="Print every name, where nothing else is said.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: name, data, family, published result, file.")
@errors_to_exit_code
def list_names(*, words: tuple[str, ...], data: str, model: str, everything: bool, as_json: bool) -> None:
    """Print recipes, each with its published result: those whose names contain every one of WORDS.

    Without WORDS and options: those of ours, and how many there are of each family of MMSegmentation's.
    """
    from maskline.projects import recipes

    chosen = recipes.listed(words, data=data, model=model)
    if as_json:
        rows = [{**asdict(one), "file": str(one.file) if one.file else None} for one in chosen]
        click.echo(json.dumps(rows, indent=2))
    elif words or data or model or everything:
        for one in chosen:
            click.echo(f"{one.name}  {one.published}".rstrip())
    else:
        _print_families(chosen)


def _print_families(chosen: "list[Recipe]") -> None:
    families: dict[str, Counter[str]] = {}
    for one in chosen:
        if one.family:
            families.setdefault(one.family, Counter())[one.data] += 1
        else:
            click.echo(one.name)
    published = sum(counts.total() for counts in families.values())
    click.echo(
        f"\nand {published} of MMSegmentation's configurations (maskline recipe list FAMILY, --data, --model, --all):"
    )
    for family, counts in sorted(families.items()):
        sets = ", ".join(f"{data} {count}" for data, count in sorted(counts.items()))
        click.echo(f"  {family:<14}{counts.total():>4}  {sets}")


@main.command()
@click.argument("name", shell_complete=_complete)
@click.option("--whole", is_flag=True, help="Print every key instead of what differs from the defaults.")
@errors_to_exit_code
def show(*, name: str, whole: bool) -> None:
    """Print a recipe, its published result first."""
    from maskline.projects import recipes, yaml_lines

    path = recipes.find(name)
    if whole:
        from maskline.params.whole import SECTIONS, load_params

        values = load_params(path).model_dump(mode="json")
        click.echo("\n".join(yaml_lines.dump({section: values[section] for section in SECTIONS})))
        return
    click.echo(path.read_text(encoding="utf-8"), nl=False)


@main.command()
@click.argument("name", shell_complete=_complete)
@click.option("--params", "params_path", type=PATH, default="params.yaml", show_default=True, help="File to write.")
@click.option("--with-data", is_flag=True, help="Take the recipe's section data too.")
@click.option("--only", metavar="GROUPS", help="Take these groups of keys only, with commas between.")
@click.option("-S", "--set-param", "overrides", multiple=True, metavar="KEY=VALUE", help="Set a value on top of it.")
@click.option("--yes", is_flag=True, help="Write without asking.")
@errors_to_exit_code
def use(
    *, name: str, params_path: Path, with_data: bool, only: str | None, overrides: tuple[str, ...], yes: bool
) -> None:
    """Put a recipe into params.yaml, after showing what changes.

    What the recipe does not say goes back to its default, but for the section data, which stays as it is, and for the
    sections machine, preview, predict and export. Comments stay. Where there is no file, the shipped one is taken, with
    the recipe's data.

    --only takes groups of keys, as MMSegmentation's _base_ folders have them, so that several recipes make one file:

    \b
    data      data, augment; evaluate's split, inference and windows
    model     model
    schedule  optimizer, schedule; train's length, batch and validation
    runtime   the rest of train and evaluate; machine, preview, predict, export

    KEY=VALUE is written as for dvc exp run -S, such as augment.crop_size=[256,256].
    """  # noqa: D301  (click wants the control character itself)
    from maskline.core.files import write_text
    from maskline.projects import recipe_merge, recipes
    from maskline.projects.overrides import with_overrides
    from maskline.projects.resources import shipped_params

    if with_data and only is not None:
        raise click.UsageError("--with-data goes without --only, whose group data has the section")
    source = recipes.find(name)
    groups = recipe_merge.groups(only)
    there = params_path.is_file()
    base = params_path if there else shipped_params()
    data = with_data or only is not None or not there
    text = recipe_merge.merged(base, source, only=groups, with_data=data)
    text = with_overrides(text, overrides, place=f"{params_path} with {source.stem}")
    if not _show(params_path, source.stem, text):
        return
    if not yes and not click.confirm(f"Write {params_path}?"):
        click.echo("nothing written")
        return
    write_text(params_path, text)
    click.echo(f"written: {params_path}; git diff shows it, git checkout {params_path} takes it back")


def _show(path: Path, name: str, text: str) -> bool:
    """Print what a new text changes in a file; tell whether it does."""
    former = path.read_text(encoding="utf-8") if path.is_file() else ""
    lines = list(difflib.unified_diff(former.splitlines(), text.splitlines(), str(path), name, lineterm="", n=1))
    click.echo("\n".join(lines or [f"{path} has {name} already"]))
    return bool(lines)
