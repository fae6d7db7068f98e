"""The files of a project of one's own, copied from the pipeline that the package brings."""

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from maskline.cli import package_lock
from maskline.core.errors import DataError, ParamsError
from maskline.core.files import storage_errors, write_text
from maskline.core.text import one_line
from maskline.params.base.reading import read_yaml
from maskline.params.whole import load_params
from maskline.projects import plots_page, recipes, yaml_lines
from maskline.projects.overrides import with_overrides, with_values
from maskline.projects.recipe_merge import merged
from maskline.projects.resources import pipeline_folder, shipped_params

_DVC_YAML_HEAD = """\
# The pipeline. Stages depend on their script, on data, on the listed keys of params.yaml, and on requirements.lock,
# which names the installed maskline: another maskline runs them again (maskline new --upgrade .).
"""
_LOOK = "    always_changed: true\n"  # of the download stage: it looks at data.archive before anything else runs
# What an upgrade writes anew.
_OURS = ("stages", "dvc.yaml", ".dvc/plots", ".dvcignore", "params.schema.json", package_lock.NAME)
_OWN_CODE = "own/README.md"
_README = Path(__file__).with_name("new_readme.md")


def check_free(folder: Path) -> None:
    """Check that a project can be made there.

    Raises:
        DataError: The folder has something in it.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(folder, "is there and not empty", "name a new folder, or see maskline new --help on --upgrade")


def create(
    folder: Path,
    *,
    recipe: str | None,
    own_data: Mapping[str, Any] | None,
    overrides: Sequence[str],
    git: bool,
    files: Mapping[str, str] | None = None,
) -> None:
    """Make the project, or leave nothing behind.

    Args:
        folder: Empty, or not there yet.
        recipe: Name of a recipe; None: the shipped params.
        own_data: Dotted keys of a set of the user's own, instead of the recipe's data section; None: there is none.
        overrides: KEY=VALUE as ``dvc exp run -S`` takes them.
        git: Whether to make a git repository and a first commit.
        files: More files: path in the project -> text.

    Raises:
        DataError: The folder has something in it.
        ParamsError: No such recipe, or an override that cannot be.
        StorageError: The disk is full or cannot be written.
    """
    check_free(folder)
    params = _titled(_params(recipe, overrides, own_data=own_data), folder.resolve().name)
    there = folder.is_dir()
    try:
        with storage_errors(folder):
            _write(folder, params, git=git, files=files or {})
    except BaseException:
        for entry in [*folder.iterdir()] if there else [folder]:  # nothing half made: it would refuse the next try
            _remove(entry)
        raise


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink() if path.is_file() else shutil.rmtree(path)


def upgrade(folder: Path) -> list[str]:
    """Write what maskline owns in the project anew, add new sections to params.yaml; return what to do next.

    Raises:
        DataError: No such project, or edits in these files that git does not have yet.
        ParamsError: params.yaml does not fit the installed maskline; the others are written all the same.
    """
    if not (folder / "dvc.yaml").is_file() or (folder / "lib" / "maskline").is_dir():
        raise DataError(folder, "not a project that maskline new made", "name the folder with its dvc.yaml")
    edited = _git(folder, "status", "--porcelain", "--", *_OURS)
    if edited:
        first = edited.splitlines()[0].split()[-1]
        raise DataError(folder / first, "edited and not committed", "commit or undo it; an upgrade writes it anew")
    before = _read(folder / package_lock.NAME)
    _write_ours(folder)
    added = _add_sections(folder / "params.yaml")
    if _read(folder / package_lock.NAME) == before and not added:
        return ["the project is at the installed maskline already; stages and dvc.yaml are as it brings them"]
    lines = [f"params.yaml: new sections {', '.join(added)}"] if added else []
    return [*lines, "written: " + ", ".join(_OURS), "git diff shows what changed; dvc repro runs the stages again"]


def _add_sections(path: Path) -> list[str]:
    """Add the sections that a params file of an earlier maskline lacks, since dvc.yaml lists them; return their names.

    They hold the keys that the shipped file has, with the file's own values where these stood elsewhere before.
    """
    resolved, own = load_params(path).model_dump(mode="json"), read_yaml(path)
    shipped = read_yaml(shipped_params())
    added = {
        name: {key: resolved[name][key] for key in section} for name, section in shipped.items() if name not in own
    }
    if added:
        write_text(path, "\n".join([path.read_text(encoding="utf-8").rstrip("\n"), *yaml_lines.dump(added), ""]))
    return list(added)


def _params(recipe: str | None, overrides: Sequence[str], *, own_data: Mapping[str, Any] | None) -> str:
    shipped = shipped_params()
    text = shipped.read_text(encoding="utf-8")
    if recipe:
        text = merged(shipped, recipes.find(recipe), with_data=own_data is None)
    if own_data:
        text = with_values(text, own_data)
    return with_overrides(text, overrides, place=f"recipe {recipe}" if recipe else "params.yaml")


def _titled(params: str, name: str) -> str:
    """Return params whose report is headed by the project's name, if they say nothing of it."""
    head = "evaluate:\n"
    if f"\n{head}" not in params or re.search(r"^evaluate:\n(?:[ #].*\n)*?  title:", params, flags=re.MULTILINE):
        return params
    (line,) = yaml_lines.dump({"title": one_line(name)[:60]})
    return params.replace(f"\n{head}", f"\n{head}  # Heading of the report page.\n  {line}\n", 1)


def _write(folder: Path, params: str, *, git: bool, files: Mapping[str, str]) -> None:
    source = pipeline_folder()
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "params.yaml", params)
    for name, text in files.items():
        write_text(folder / name, text)
    _write_ours(folder)
    for name in (".gitignore", ".dvc/.gitignore"):
        shutil.copyfile(source / name, folder / name)
    config = (source / ".dvc" / "config").read_text(encoding="utf-8")
    if plots_page.can_be_made():
        write_text(folder / ".dvc" / "plots_page.html", plots_page.page())
    else:  # DVC's own page, which loads Vega from the internet
        config = re.sub(r"^ *html_template = .*\n", "", config, flags=re.MULTILINE)
    if not git and _git(folder, "rev-parse", "--git-dir") is None:
        config = config.replace("[core]\n", "[core]\n    no_scm = true\n", 1)
    write_text(folder / ".dvc" / "config", config)
    write_text(folder / "README.md", _README.read_text(encoding="utf-8").replace("{name}", folder.resolve().name))
    if git:
        _first_commit(folder)


def _write_ours(folder: Path) -> None:
    source = pipeline_folder()
    for script in sorted((source / "stages").glob("*.py")):
        if script.name != "__init__.py":
            write_text(folder / "stages" / script.name, script.read_text(encoding="utf-8"))
    write_text(folder / "stages" / "__init__.py", '"""The six stages of the pipeline, one command each."""\n')
    if not (folder / _OWN_CODE).exists():  # the user's; the dep of a stage must be there
        write_text(folder / _OWN_CODE, (source / _OWN_CODE).read_text(encoding="utf-8"))
    for template in sorted((source / ".dvc" / "plots").glob("*.json")):  # copytree would hide that a disk is full
        write_text(folder / ".dvc" / "plots" / template.name, template.read_text(encoding="utf-8"))
    shutil.copyfile(source / ".dvcignore", folder / ".dvcignore")
    own_source = read_yaml(folder / "params.yaml").get("data", {}).get("archive") is not None
    pipeline = _pipeline((source / "dvc.yaml").read_text(encoding="utf-8"), own_source=own_source)
    write_text(folder / "dvc.yaml", pipeline)
    write_text(folder / "params.schema.json", (source / "params.schema.json").read_text(encoding="utf-8"))
    write_text(folder / package_lock.NAME, package_lock.text())


def _pipeline(text: str, *, own_source: bool) -> str:
    """Return dvc.yaml without the checkout's library files, for which requirements.lock stands.

    Args:
        text: The checkout's.
        own_source: The data is a file or folder of the user's, which DVC knows nothing of: the download stage then runs
            each time to look at it, and the others where it changed.
    """
    text = re.sub(r"\A(#.*\n)+", _DVC_YAML_HEAD, text)
    if own_source:
        text = text.replace("    cmd: python -m stages.download\n", f"    cmd: python -m stages.download\n{_LOOK}", 1)
    return re.sub(r"^ *- lib/.*\n", "", text, flags=re.MULTILINE)


def _first_commit(folder: Path) -> None:
    if _git(folder, "init", "--quiet", "--initial-branch=main") is None:
        raise ParamsError("git", "does not run", "install git, or give --no-git")
    _git(folder, "add", "--all")
    if _git(folder, "commit", "--quiet", "--message", "New maskline project") is None:
        from maskline.cli.entry import log

        log.warning("no first commit: git wants to know you (git config --global user.name, user.email); then commit")


def _git(folder: Path, *arguments: str) -> str | None:
    """Return what git prints, None where it fails."""
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""
