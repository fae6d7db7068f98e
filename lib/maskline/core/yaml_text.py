"""The one reader of YAML, 1.2 as DVC has it: what others wrote ends in values of a bounded size, or in one line."""

from io import BytesIO, TextIOWrapper
from itertools import chain
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode

from maskline.core.errors import MasklineError
from maskline.core.files import read_plain
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
        MasklineError: Of the class ``error``: as of ``load``; also no plain file, or not of that encoding.
        OSError: It cannot be read.
    """
    content = read_plain(path, most_bytes=_MOST_BYTES, place=place, error=error)
    try:
        text = TextIOWrapper(BytesIO(content), encoding=encoding).read()  # with line feeds alone
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
            (``*name``) and merge keys (``<<``) unfolded, than anyone writes.
    """
    check_length(text, place=place, error=error)
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor = _Constructor
    try:
        return yaml.load(text)
    except _TooMuchError as cause:
        problem = f"more than {_MOST_VALUES} values or {_MOST_LEVELS} levels, aliases and merge keys unfolded"
        raise error(place, problem, "write values without aliases") from cause
    except (YAMLError, *_OTHER_ERRORS) as cause:
        told = one_line(str(cause)) or type(cause).__name__
        problem = "too many levels" if isinstance(cause, RecursionError) else f"not YAML: {told}"
        raise error(place, problem, "fix the line it names") from cause


def check_length(text: str, *, place: object, error: type[MasklineError]) -> None:
    """Raise where text is more YAML than is parsed."""
    if len(text) > _MOST_BYTES or len(text.encode(errors="surrogatepass")) > _MOST_BYTES:
        raise _too_long(place, error)


def _too_long(place: object, error: type[MasklineError]) -> MasklineError:
    return error(place, "more than 512 KiB of YAML", "shorten it")


class _TooMuchError(Exception):
    """Aliases and merge keys make values endless or huge, of which the text itself shows nothing."""


class _Constructor(SafeConstructor):
    """Looks at the size of a document before any of its values is made."""

    def construct_document(self, node: Node) -> Any:
        values, _ = _size(node, 0, {})
        if values > _MOST_VALUES:
            raise _TooMuchError
        return super().construct_document(node)


def _size(node: Node, depth: int, known: dict[Node, tuple[int, int]]) -> tuple[int, int]:
    """Return how many values a node stands for, aliases and merge keys unfolded, and the levels below it.

    Long text counts as several values; what a node is told once is kept.
    """
    if isinstance(node, ScalarNode):
        return len(node.value) >> 4, 0
    levels = known[node][1] if node in known else 0
    if depth + levels > _MOST_LEVELS:
        raise _TooMuchError
    if node not in known:
        inner = chain.from_iterable(node.value) if isinstance(node, MappingNode) else node.value
        sizes = [_size(each, depth + 1, known) for each in inner]
        count = len(node.value) + sum(values for values, _ in sizes)
        known[node] = count, max((1 + below for _, below in sizes), default=0)
    return known[node]
