"""Edits of a YAML file's lines: every line that no edit names stays as it is, comments above all."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode
from ruamel.yaml.representer import RoundTripRepresenter


class _Representer(RoundTripRepresenter):
    """Writes ``1.0e-08`` where YAML 1.2 allows ``1e-08``, which readers of YAML 1.1 take for text."""

    def represent_float(self, data: float) -> Any:
        """Return the number with a point."""
        node = super().represent_float(data)
        if "." not in node.value:
            node.value = node.value.replace("e", ".0e")
        return node


_Representer.add_representer(float, _Representer.represent_float)


def writer() -> YAML:
    """Return what writes YAML as params.yaml has it: lists in lines, no quotes without need, nothing for null."""
    yaml = YAML()
    yaml.Representer = _Representer
    return yaml


def dump(values: Mapping[str, Any], *, indent: int = 0) -> list[str]:
    """Return the lines of a mapping."""
    stream = io.StringIO()
    writer().dump(dict(values), stream)
    return [" " * indent + line for line in stream.getvalue().splitlines()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A key of a mapping, and its value.

    Args:
        key: The key.
        node: What ruamel found for its value.
        first: Line of the key, from 0.
        last: Last line of the value, comments after it not counted.
        end: Column behind it there.
        indent: Column of the key.
    """

    key: str
    node: Node
    first: int
    last: int
    end: int
    indent: int

    @property
    def in_lines(self) -> bool:
        """Whether the value is a mapping of one key a line, which stands here and is no alias."""
        node = self.node
        return isinstance(node, MappingNode) and not node.flow_style and node.start_mark.line > self.first

    def entries(self) -> list["Entry"]:
        """Return what the value holds, if it is a mapping in lines."""
        return _entries(self.node)


class Lines:
    """The lines of a YAML file, and what is to become of some of them.

    Args:
        text: Of a file that holds a mapping of one key a line.
    """

    def __init__(self, text: str) -> None:
        self._lines = text.removesuffix("\n").split("\n")
        self._edits: list[tuple[int, int, list[str]]] = []
        self.entries = _entries(YAML().compose(text))

    def has_comment(self, entry: Entry) -> bool:
        """Tell whether a comment stands above an entry, or in it."""
        within = range(entry.first, entry.last + 1)
        return self.is_comment(entry.first - 1) or any(self.is_comment(i) or " #" in self._lines[i] for i in within)

    def is_comment(self, number: int) -> bool:
        """Tell whether there is a line of this number, and nothing but a comment on it."""
        return 0 <= number < len(self._lines) and self._lines[number].lstrip().startswith("#")

    def drop(self, entry: Entry) -> None:
        """Take an entry out."""
        self._edits.append((entry.first, entry.last + 1, []))

    def replace(self, entry: Entry, value: Any) -> None:
        """Give an entry another value; a comment behind the old one stays."""
        new = dump({entry.key: value}, indent=entry.indent)
        if entry.first == entry.last:
            new[0] += self._lines[entry.first][entry.end :].rstrip()
        self._edits.append((entry.first, entry.last + 1, new))

    def insert(self, line: int, values: Mapping[str, Any], *, indent: int) -> None:
        """Put new entries before a line; those of one place stand in the order of the calls."""
        self._edits.append((line, line, dump(values, indent=indent)))

    def text(self) -> str:
        """Return the edited text."""
        lines: list[str] = []
        done = 0
        for first, stop, new in sorted(self._edits, key=lambda edit: edit[:2]):
            lines += [*self._lines[done:first], *new]
            done = max(done, stop)
        return "\n".join([*lines, *self._lines[done:]]) + "\n"


def _entries(node: Any) -> list[Entry]:
    entries = []
    for key, value in node.value:
        start, colon = key.start_mark, key.end_mark
        last, end = max((colon.line, colon.column + 1), _end(value))
        entries.append(Entry(key=str(key.value), node=value, first=start.line, last=last, end=end, indent=start.column))
    return entries


def _end(node: Any) -> tuple[int, int]:
    """Return line and column behind a value: of blocks and of nothing, ruamel names the start of what follows."""
    mark = node.end_mark
    if isinstance(node, ScalarNode) and node.start_mark.index == mark.index:
        return 0, 0
    if isinstance(node, ScalarNode) or node.flow_style or not node.value:
        return (mark.line - 1, 0) if mark.column == 0 and mark.line > node.start_mark.line else (mark.line, mark.column)
    last = node.value[-1]
    return max(map(_end, last)) if isinstance(last, tuple) else _end(last)
