"""requirements.lock of a project of one's own: which maskline, and which packages, its results were made with.

The file is a dependency of every stage, so another maskline runs everything again. A checkout's own requirements.lock
names no maskline: there the code itself is a dependency.
"""

import logging
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

from maskline import __version__
from maskline.core.code_hash import package_sha256
from maskline.core.errors import InputsChangedError

log = logging.getLogger("maskline")

NAME = "requirements.lock"

_PIN = re.compile(r"([A-Za-z0-9][\w.-]*)==([^\s;#]+)")
_OWN = re.compile(r"^maskline==(\S+)\s+# code (\w+)$", re.MULTILINE)
# These follow from torch's own pins, and differ between a torch for CUDA and one for the CPU.
_OF_CUDA = re.compile(r"triton|nvidia-.+|cuda-.+")


def text() -> str:
    """Return the file's content for the installed packages: maskline and everything that it needs."""
    pins = dict(sorted(_pins()))
    lines = [f"{name}=={version}" for name, version in pins.items()]
    return "\n".join(
        [
            "# What the results of this project are made with; written by maskline new, and by maskline new --upgrade.",
            f"maskline=={__version__}  # code {package_sha256()}",
            *lines,
            "",
        ]
    )


def check(path: Path) -> None:
    """Check that the project's requirements.lock names the installed maskline, where it names one.

    Other packages that differ are a line in the log: what they compute goes into dvc.lock as if the file were right.

    Raises:
        InputsChangedError: It names another one.
    """
    if other := differences(path):
        more = f" and {len(other) - 3} more" if len(other) > 3 else ""
        told = "; ".join(other[:3]) + more
        log.warning("%s: installed is %s; pip install -r %s, or write it anew", path, told, path)
    try:
        match = _OWN.search(path.read_text(encoding="utf-8"))
    except OSError:
        return
    if match is None or (match[1] == __version__ and match[2] == package_sha256()):
        return
    what = f"maskline {match[1]}" if match[1] != __version__ else f"another build of maskline {__version__}"
    raise InputsChangedError(
        path, f"written for {what}; {__version__} is installed", "run maskline new --upgrade . (then dvc repro)"
    )


def differences(path: Path) -> list[str]:
    """Return ``name version, not the version of the file`` of each installed package that differs, sorted by name.

    Left out is what differs from machine to machine by design: local versions (``+cpu``, ``+cu130``), the packages of
    CUDA, and packages that are not installed. Installed versions are read from the names of folders, in milliseconds.

    Args:
        path: requirements.lock; nothing differs where there is none.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    installed = _installed()
    told = []
    for match in filter(None, map(_PIN.match, lines)):
        name, wanted = _normal(match[1]), match[2].partition("+")[0]
        there = installed.get(name, wanted).partition("+")[0]
        if there != wanted and name != "maskline" and not _OF_CUDA.fullmatch(name):
            told.append(f"{match[1]} {there}, not {wanted}")
    return sorted(told, key=str.lower)


def _installed() -> dict[str, str]:
    """Return normal name -> version; of two installations, the one that Python would import."""
    versions: dict[str, str] = {}
    for folder in map(Path, sys.path):
        with suppress(OSError):
            for entry in folder.glob("*.dist-info"):
                name, _, version = entry.name.removesuffix(".dist-info").partition("-")
                versions.setdefault(_normal(name), version)
    return versions


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _pins() -> Iterator[tuple[str, str]]:
    """Yield name and version of each installed package that maskline needs, directly or not."""
    waiting, seen = [("maskline", frozenset[str]())], set()
    while waiting:
        wanted = waiting.pop()
        if wanted in seen:
            continue
        seen.add(wanted)
        name, extras = wanted
        try:
            package = distribution(name)
        except PackageNotFoundError:  # optional on this platform
            continue
        if name != "maskline":
            yield name, package.version.partition("+")[0]
        for line in package.requires or []:
            need = Requirement(line)
            following = _normal(need.name)
            if _applies(need, extras) and not _OF_CUDA.fullmatch(following):
                waiting.append((following, frozenset(need.extras)))


def _applies(need: Requirement, extras: frozenset[str]) -> bool:
    return need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in extras or {""})
