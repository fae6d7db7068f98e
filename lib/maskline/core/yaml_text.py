"""The one reader of YAML, 1.2 as DVC has it: what others wrote ends in values of a bounded size, or in one line."""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from maskline.core.errors import MasklineError
from maskline.core.text import one_line

_MOST_BYTES = 512 << 10  # the parser takes half a minute for 2 MiB
_MOST_VALUES, _MOST_LEVELS = 100_000, 50
# What the parser lets through from Python, such as of 2001-99-99, which looks like a date, or of an ordered map
# (!!omap) that has a key twice.
_OTHER_ERRORS = (
    *(ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError, RecursionError),
    AssertionError,
)


def read(path: Path, *, place: object, error: type[MasklineError], encoding: str = "utf-8") -> Any:
    """Return what a YAML file says.

    Args:
        path: The file.
        place: How errors call it.
        error: Class of what is raised.
        encoding: Of the file.

    Raises:
        MasklineError: Of the class ``error``: as of ``load``; also where the file is not of that encoding.
        OSError: It cannot be read.
    """
    if path.stat().st_size > _MOST_BYTES:
        raise _too_long(place, error)
    try:
        text = path.read_text(encoding=encoding)
    except UnicodeDecodeError as cause:
        raise error(place, f"cannot be read ({cause})", "give a UTF-8 text file") from cause
    return load(text, place=place, error=error)


def load(text: str, *, place: object, error: type[MasklineError]) -> Any:
    """Return what YAML text says, as plain types.

    Args:
        text: YAML 1.2: ``1e-3`` is a number, ``yes`` is a word.
        place: How errors call its origin.
        error: Class of what is raised.

    Raises:
        MasklineError: Of the class ``error``: more than 512 KiB, no YAML, or more values or levels, aliases
            (``*name``) unfolded, than anyone writes.
    """
    check_length(text, place=place, error=error)
    try:
        value = YAML(typ="safe", pure=True).load(text)
    except (YAMLError, *_OTHER_ERRORS) as cause:
        told = one_line(str(cause)) or type(cause).__name__
        problem = "too many levels" if isinstance(cause, RecursionError) else f"not YAML: {told}"
        raise error(place, problem, "fix the line it names") from cause
    _check_size(value, place, error)
    return value


def check_length(text: str, *, place: object, error: type[MasklineError]) -> None:
    """Raise where text is more YAML than is parsed."""
    if len(text) > _MOST_BYTES or len(text.encode(errors="surrogatepass")) > _MOST_BYTES:
        raise _too_long(place, error)


def _too_long(place: object, error: type[MasklineError]) -> MasklineError:
    return error(place, "more than 512 KiB of YAML", "shorten it")


def _check_size(value: Any, place: object, error: type[MasklineError]) -> None:
    """Refuse values that aliases make endless or huge, of which the text itself shows nothing."""
    waiting: list[tuple[Any, int]] = [(value, 0)]
    count = 0
    while waiting:
        one, depth = waiting.pop()
        if isinstance(one, dict | list):
            count += len(one)
            if count > _MOST_VALUES or depth > _MOST_LEVELS:
                problem = f"more than {_MOST_VALUES} values or {_MOST_LEVELS} levels, aliases unfolded"
                raise error(place, problem, "write values without aliases")
            waiting += [(each, depth + 1) for each in (one.values() if isinstance(one, dict) else one)]
