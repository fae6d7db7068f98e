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
    ours = _ours(folder)
    edited = [name for name in _uncommitted(folder) if _read(folder / name) != ours.get(name)]
    if edited:  # what an upgrade has written that then could not go on is as this one writes it
        problem = "edited and not committed"
        raise DataError(folder / edited[0], problem, "commit or undo it; an upgrade writes it anew")
    before = _read(folder / package_lock.NAME)
    with storage_errors(folder):
        _write_all(folder, ours)
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
    _write_all(folder, _ours(folder))
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


def _write_all(folder: Path, texts: Mapping[str, str]) -> None:
    for name, text in texts.items():
        write_text(folder / name, text)


def _ours(folder: Path) -> dict[str, str]:
    """Return what maskline writes into a project, by path in it; the lock, which says how far an upgrade came, last."""
    source = pipeline_folder()
    names = [f"stages/{path.name}" for path in sorted((source / "stages").glob("*.py")) if path.name != "__init__.py"]
    if not (folder / _OWN_CODE).exists():  # the user's; the dep of a stage must be there
        names.append(_OWN_CODE)
    names += [f".dvc/plots/{path.name}" for path in sorted((source / ".dvc" / "plots").glob("*.json"))]
    names += [".dvcignore", "dvc.yaml", "params.schema.json"]
    texts = {name: (source / name).read_text(encoding="utf-8") for name in names}
    own_source = read_yaml(folder / "params.yaml").get("data", {}).get("archive") is not None
    texts["dvc.yaml"] = _pipeline(texts["dvc.yaml"], own_source=own_source)
    texts["stages/__init__.py"] = '"""The six stages of the pipeline, one command each."""\n'
    return {**texts, package_lock.NAME: package_lock.text()}


def _uncommitted(folder: Path) -> list[str]:
    """Return those of maskline's files in the project that git has not as they are, by path in it."""
    arguments = ("--porcelain", "-z", "--no-renames", "--untracked-files=all")
    listed = _git(folder, "status", *arguments, "--", *_OURS) or ""
    above = (_git(folder, "rev-parse", "--show-prefix") or "").rstrip("\n")  # git's paths begin at the repository
    return [entry[3:].removeprefix(above) for entry in listed.split("\0") if entry]


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
    for arguments in (("add", "--all"), ("commit", "--quiet", "--message", "New maskline project")):
        done = _run_git(folder, *arguments)
        if done is None or done.returncode != 0:
            from maskline.cli.entry import log

            why = one_line(done.stderr.strip().rpartition("\n")[2]) if done is not None else "it does not run"
            log.warning('no first commit, git says "%s"; mend that, then git add --all && git commit', why)
            return


def _git(folder: Path, *arguments: str) -> str | None:
    """Return what git prints, None where it fails."""
    done = _run_git(folder, *arguments)
    return done.stdout if done is not None and done.returncode == 0 else None


def _run_git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str] | None:
    """Return how git ended, None where it does not run."""
    command = ["git", "-C", str(folder), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    except OSError:
        return None


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""
