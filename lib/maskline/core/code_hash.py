"""Hashes of maskline's own code: of the whole package, and of what a running process has loaded of it."""

import sys
from pathlib import Path

from maskline.core.files import sha256_file, sha256_json

_PACKAGE = Path(__file__).resolve().parent.parent
_CARRIED = "project/"  # a wheel's copy of the pipeline, which belongs to the project that is made of it
_SUFFIXES = {".py", ".html", ".css", ".js"}


def package_sha256() -> str:
    """Return one hash, 16 hex digits, over the package's Python files and pages."""
    files = {path.relative_to(_PACKAGE).as_posix(): path for path in sorted(_PACKAGE.rglob("*"))}
    own = {name: path for name, path in files.items() if path.suffix in _SUFFIXES and not name.startswith(_CARRIED)}
    return sha256_json({name: sha256_file(path) for name, path in own.items()})[:16]


def loaded_files() -> dict[str, str]:
    """Return module name -> SHA-256 of this package's files that the running process has loaded.

    Files that it has not loaded are no input of the run, and DVC would not see that they are in its output.
    """
    loaded = {name: module.__file__ for name, module in sorted(sys.modules.items()) if name.split(".")[0] == "maskline"}
    return {name: sha256_file(Path(file)) for name, file in loaded.items() if file}


def loaded_sha256() -> str:
    """Return one hash over ``loaded_files``."""
    return sha256_json(loaded_files())
