"""Which of the project's own files a stage imports, and dvc.yaml's deps made from that.

``python -m tools.closure`` rewrites the code deps of every stage in dvc.yaml; deps on data stay as they are.
"""

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from maskline.core.files import replace_file

ROOT = Path(__file__).resolve().parent.parent
SOURCES = {"maskline": Path("lib"), "stages": Path()}
LOCK = "requirements.lock"
OWN = "own"  # the user's own heads, backbones and losses
SUFFIXES = {".py", ".html", ".css", ".js", ".md"}  # all that .dvcignore lets DVC see of a folder of code


def closure(module: str, *, root: Path = ROOT) -> list[str]:
    """Return the files that importing and running ``module`` can load, as paths from the root, sorted.

    Imports inside functions count, those for type checkers do not. Empty ``__init__.py`` files are left out. A
    package that is imported by its own name stands for all its modules: whoever does so looks them up by name. A
    file that is not Python counts where a module of its own folder names it.
    """
    loaded: set[Path] = set()
    waiting = [module]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        path = _file_of(name, root)
        if path is None:
            continue
        source = (root / path).read_text(encoding="utf-8")
        if source.strip():
            loaded.add(path)
        loaded.update(_data_files(path, source, root))
        for imported, alone in _imported(ast.parse(source)):
            waiting.append(imported)
            waiting += _modules_of(imported, root) if alone else []
        waiting.extend(name.rsplit(".", dots)[0] for dots in range(1, name.count(".") + 1))
    return sorted(path.as_posix() for path in loaded)


def folded(files: Sequence[str], *, root: Path = ROOT) -> list[str]:
    """Return the files, with a folder in place of its files where they are all that the folder has, sorted."""
    kept = set(files)
    folders = {parent.as_posix() for file in files for parent in Path(file).parents if parent != Path()}
    for folder in sorted(folders, key=lambda folder: folder.count("/")):
        own = {path.relative_to(root).as_posix() for path in (root / folder).rglob("*") if _is_source(path)}
        if own <= set(files) and any(file.startswith(f"{folder}/") for file in kept):
            kept = {file for file in kept if not file.startswith(f"{folder}/")} | {folder}
    return sorted(kept)


def stage_module(stage: dict[str, Any]) -> str:
    """Return the module of a stage in dvc.yaml: stages.train of ``python -m stages.train``."""
    python, flag, module = stage["cmd"].split()
    assert (python, flag) == ("python", "-m"), f"not one plain command: {stage['cmd']}"
    return str(module)


def code_deps(stage: dict[str, Any], *, root: Path = ROOT) -> list[str]:
    """Return the deps that a stage needs beside its data."""
    files = closure(stage_module(stage), root=root)
    own = [OWN] if "lib/maskline/builders/own.py" in files else []
    return [*folded(files, root=root), *own, LOCK]


def is_code(dep: str) -> bool:
    """Tell a code dep from a data dep."""
    return dep in {LOCK, OWN} or dep.split("/", maxsplit=1)[0] in {"lib", "stages"}


def _file_of(module: str, root: Path) -> Path | None:
    top = module.split(".", maxsplit=1)[0]
    if top not in SOURCES:
        return None
    base = SOURCES[top] / Path(*module.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if (root / path).is_file()), None)


def _modules_of(package: str, root: Path) -> list[str]:
    """Return the modules of a package; none where the name is no package."""
    path = _file_of(package, root)
    if path is None or path.name != "__init__.py":
        return []
    return [f"{package}.{file.stem}" for file in (root / path).parent.glob("*.py") if file.name != "__init__.py"]


def _is_source(path: Path) -> bool:
    return path.is_file() and path.suffix in SUFFIXES and path.stat().st_size > 0


def _imported(node: ast.AST) -> Iterator[tuple[str, bool]]:
    """Yield the names that are imported, and whether one is imported by itself, not to reach something inside of it."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            for other in child.orelse:
                yield from _imported(other)
        elif isinstance(child, ast.Import):
            yield from ((alias.name, True) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.module is not None, "imports are absolute here"
            assert child.level == 0, "imports are absolute here"
            yield child.module, False
            yield from ((f"{child.module}.{alias.name}", True) for alias in child.names)
        else:
            yield from _imported(child)


def _data_files(path: Path, source: str, root: Path) -> set[Path]:
    """Return the files beside ``path`` that its source names, and those that they name in turn."""
    others = [file for file in (root / path).parent.iterdir() if file.is_file() and file.suffix in SUFFIXES - {".py"}]
    named: set[Path] = set()
    texts = [source]
    while texts:
        text = texts.pop()
        for file in others:
            if file not in named and file.name in text:
                named.add(file)
                texts.append(file.read_text(encoding="utf-8", errors="ignore"))
    return {path.parent / file.name for file in named}


def main() -> None:
    """Rewrite the code deps in dvc.yaml; its comments and everything else stay."""
    yaml = YAML()
    yaml.width = 4096  # its own way of folding a line is hard to read
    path = ROOT / "dvc.yaml"
    pipeline = yaml.load(path)
    for stage in pipeline["stages"].values():
        data = [dep for dep in stage["deps"] if not is_code(dep)]
        stage["deps"] = [*data, *code_deps(stage)]
    with replace_file(path) as part:
        yaml.dump(pipeline, part)


if __name__ == "__main__":
    main()
