"""requirements.lock of a project of one's own: which maskline, and which packages, its results were made with.

The file is a dependency of every stage, so another maskline runs everything again. A checkout's own requirements.lock
names no maskline: there the code itself is a dependency.
"""

import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

from maskline import __version__
from maskline.core.code_hash import package_sha256
from maskline.core.errors import InputsChangedError

NAME = "requirements.lock"

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

    Raises:
        InputsChangedError: It names another one.
    """
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
            following = re.sub(r"[-_.]+", "-", need.name).lower()
            if _applies(need, extras) and not _OF_CUDA.fullmatch(following):
                waiting.append((following, frozenset(need.extras)))


def _applies(need: Requirement, extras: frozenset[str]) -> bool:
    return need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in extras or {""})
