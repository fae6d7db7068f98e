"""Code of the user's own: what ``path/to/file.py:Name`` names, relative to the project's folder and inside of it."""

import hashlib
import re
import sys
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any

from maskline.core.errors import ParamsError

FORM = "path/to/file.py:Name"

_REMEDY = f"give {FORM}, relative to the project's folder"
_PACKAGES = {"site-packages", "dist-packages", "maskline"}


def is_own(name: object) -> bool:
    """Tell a name of one's own code from a name that maskline knows."""
    return isinstance(name, str) and re.search(r"\.py(:|$)", name) is not None


def problem_of(text: str) -> str:
    """Return what is wrong with the form of a name; empty: nothing."""
    file, _, name = text.rpartition(":")
    if not file.endswith(".py") or not name.isidentifier():
        return f"not of the form {FORM}"
    path = PurePosixPath(file)
    return "outside of the project's folder" if path.is_absolute() or ".." in path.parts else ""


def file_of(text: str) -> Path:
    """Return the file that a name of one's own code is in."""
    return Path(text.rpartition(":")[0])


def load(text: str, *, place: str) -> Any:
    """Return what ``path/to/file.py:Name`` names; a file is run once a process for each content.

    Args:
        text: The name.
        place: What an error calls it: its key in params.yaml.

    Raises:
        ParamsError: Not of this form, no such file, a file that cannot be imported, or nothing of this name in it.
    """
    place, name = f"{place}: {text}", text.rpartition(":")[2]
    if problem := problem_of(text):
        raise ParamsError(place, problem, _REMEDY)
    module = _module(file_of(text), place)
    if not hasattr(module, name):
        raise ParamsError(place, f"nothing called {name} in it", _REMEDY)
    return getattr(module, name)


def hashes(names: Iterable[str], *, place: str) -> dict[str, str]:
    """Return file -> SHA-256 of the files that these names are in, sorted.

    Raises:
        ParamsError: No such file.
    """
    files = sorted({file_of(text).as_posix() for text in names})
    return {file: _sha256(_content(Path(file), place=f"{place}: {file}")) for file in files}


def _module(file: Path, place: str) -> ModuleType:
    """Return the module that the content of a file makes: what runs is what its hash is of, and no bytecode of then."""
    content = _content(file, place=place)
    name = f"own_code_{_sha256(str(file.resolve()).encode() + content)[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    module, before = ModuleType(name), set(sys.modules)
    module.__file__ = str(file.resolve())
    sys.modules[name] = module  # data classes and torch.compile look a function's module up
    try:
        exec(compile(content, module.__file__, "exec"), module.__dict__)
        _check_alone(set(sys.modules) - before - {name}, place)
    except ParamsError:
        del sys.modules[name]
        raise
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        del sys.modules[name]
        raise ParamsError(place, f"cannot be imported ({error!r})", "fix the file") from error
    return module


def _check_alone(imported: Iterable[str], place: str) -> None:
    """Refuse imports of other files of the project, whose edits neither DVC nor the receipt would see."""
    here = Path.cwd().resolve()
    for name in sorted(imported):
        file = Path(getattr(sys.modules.get(name), "__file__", None) or "/")
        if file.is_relative_to(here) and not _PACKAGES & set(file.relative_to(here).parts):
            problem = f"imports {file.relative_to(here)}, a file of the project whose edits would not be seen"
            raise ParamsError(place, problem, "put all of it into one file, or import an installed package")


def _content(file: Path, *, place: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        problem = "no such file" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
        raise ParamsError(place, problem, f"{_REMEDY}, and run there") from error


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
