"""Recipes by name: files under recipes/ that say what differs from the defaults; MMSegmentation's configurations."""

import atexit
import difflib
import functools
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from maskline.core.errors import ParamsError
from maskline.params.base.reading import read_yaml
from maskline.projects.published import Published, published
from maskline.projects.resources import pipeline_folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What a list says of a recipe.

    Args:
        name: Its name.
        data: Its data set; empty: it says none.
        family: Folder of MMSegmentation's configuration; empty: it is none of these.
        published: Its published result; empty: none.
        file: Where it stands; None: in the package's table.
    """

    name: str
    data: str
    family: str
    published: str
    file: Path | None


def folders() -> list[Path]:
    """Return the folders that hold recipes: the current project's, then the package's; the first wins."""
    own = pipeline_folder() / "recipes"
    return [folder for folder in dict.fromkeys((Path.cwd() / "recipes", own)) if folder.is_dir()]


def files() -> dict[str, Path]:
    """Return the recipes that stand in files, by name, sorted."""
    there = {path.stem: path for folder in reversed(folders()) for path in folder.glob("*.yaml")}
    return dict(sorted(there.items()))


def names() -> list[str]:
    """Return the names of all recipes, sorted; one that stands in a file has the file's."""
    return sorted({*files(), *(one.shown_name for one in published().values())})


def listed(words: Sequence[str] = (), *, data: str = "", model: str = "") -> list[Recipe]:
    """Return the recipes that fit, sorted by name.

    Args:
        words: Parts of the name, all of which it has.
        data: Part of the data set's name; empty: any.
        model: Part of the family's name, or of the network in the name; empty: any.
    """
    theirs = {one.shown_name: one for one in published().values()}
    there = files()
    chosen = [_row(name, there.get(name), theirs.get(name)) for name in sorted({*there, *theirs})]
    return [
        one
        for one in chosen
        if all(word in one.name for word in words)
        and _plain(data) in _plain(one.data)
        and (_plain(model) in _plain(one.family) or _plain(model) in _plain(re.split(r"_\d+xb?\d", one.name)[0]))
    ]


def _row(name: str, file: Path | None, one: Published | None) -> Recipe:
    if one is not None:
        return Recipe(name=name, data=one.data, family=one.family, published=one.score, file=file)
    said = read_yaml(file).get("data", {}) if file else {}
    return Recipe(name=name, data=str(said.get("name", "")), family="", published="", file=file)


def find(name: str) -> Path:
    """Return the file of a recipe, or of a params file given by its path.

    One that stands in the package's table is written to a file, which goes when the process ends.

    Args:
        name: Of a recipe; MMSegmentation's name of the same configuration, also with the batch shared out to other
            numbers of devices, with .py and a path or without; or a path.

    Raises:
        ParamsError: There is none; the nearest names are told.
    """
    if name.endswith((".yaml", ".yml")) and Path(name).is_file():
        return Path(name)
    wanted = Path(name).stem if name.endswith(".py") else name
    there, theirs = files(), published()
    known = [*there, *theirs]
    for ours in (wanted, *(other for other in known if _by_batch(other) == _by_batch(wanted))):
        if ours in there:
            return there[ours]
        if ours in theirs:
            return there.get(theirs[ours].shown_name) or _written(ours)
    near = difflib.get_close_matches(wanted, there, n=3, cutoff=0.8) or difflib.get_close_matches(
        wanted, known, n=3, cutoff=0.4
    )
    raise ParamsError(
        f"recipe {name}", "no such recipe", f"did you mean {', '.join(near)}?" if near else "see maskline recipe list"
    )


@functools.cache
def _written(name: str) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="maskline-recipe-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = folder / f"{name}.yaml"
    path.write_text(published()[name].text(), encoding="utf-8")
    return path


def _plain(text: str) -> str:
    """Return a name as it is compared: ``chase_db1`` and ``CHASE-DB1`` are one."""
    return text.lower().replace("_", "-")


def _by_batch(name: str) -> str:
    """Return a name with the samples of all devices together: ``4xb2`` and ``1xb8`` are ``b8``."""
    return re.sub(r"_(\d+)xb(\d+)-", lambda match: f"_b{int(match[1]) * int(match[2])}-", name)


def head_result(name: str) -> str:
    """Return the published result that a recipe tells in its head; empty where it tells none.

    Raises:
        ParamsError: No such recipe.
    """
    lines = find(name).read_text(encoding="utf-8").splitlines()
    return next((line.removeprefix("# Published: ") for line in lines if line.startswith("# Published: ")), "")
