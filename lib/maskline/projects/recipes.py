"""Recipes: files under recipes/ that say what differs from the defaults, found by name."""

import difflib
import re
from pathlib import Path

from maskline.core.errors import ParamsError
from maskline.projects.resources import pipeline_folder


def folders() -> list[Path]:
    """Return the folders that hold recipes: the current project's, then the package's; the first wins."""
    own = pipeline_folder() / "recipes"
    return [folder for folder in dict.fromkeys((Path.cwd() / "recipes", own)) if folder.is_dir()]


def names() -> list[str]:
    """Return the names of all recipes, sorted."""
    return sorted({path.stem for folder in folders() for path in folder.glob("*.yaml")})


def find(name: str) -> Path:
    """Return the file of a recipe, or of a params file given by its path.

    Args:
        name: Of a recipe; MMSegmentation's name of the same configuration, which shares the batch out to other numbers
            of devices, with .py and a path or without; or a path.

    Raises:
        ParamsError: There is none; the nearest names are told.
    """
    if name.endswith((".yaml", ".yml")) and Path(name).is_file():
        return Path(name)
    wanted = Path(name).stem if name.endswith(".py") else name
    for ours in (wanted, *(other for other in names() if _by_batch(other) == _by_batch(wanted))):
        for folder in folders():
            path = folder / f"{ours}.yaml"
            if path.is_file():
                return path
    near = difflib.get_close_matches(wanted, names(), n=3, cutoff=0.4)
    raise ParamsError(
        f"recipe {name}", "no such recipe", f"did you mean {', '.join(near)}?" if near else "see maskline recipe list"
    )


def _by_batch(name: str) -> str:
    """Return a name with the samples of all devices together: ``4xb2`` and ``1xb8`` are ``b8``."""
    return re.sub(r"_(\d+)xb(\d+)-", lambda match: f"_b{int(match[1]) * int(match[2])}-", name)


def published(name: str) -> str:
    """Return the published result that a recipe tells in its head; empty where it tells none.

    Raises:
        ParamsError: No such recipe.
    """
    lines = find(name).read_text(encoding="utf-8").splitlines()
    return next((line.removeprefix("# Published: ") for line in lines if line.startswith("# Published: ")), "")
