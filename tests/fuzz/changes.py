"""Changes of a document: what stands in a corpus, and what hypothesis draws."""

import copy
import math
from typing import Any

from hypothesis import strategies as st

Change = tuple[int, str, Any]
"""Which of the document's places, what is done to it, and with what value."""

_MOST_SIZE = 4 << 20  # values and characters: writing more is the fuzz's own time and memory, not the reader's

_ODD = [
    *(None, True, False, 0, 1, -1, 2, 255, 256, 65536, 100_000, 2**31, 2**63, 10**30, -(10**30)),
    *(0.5, -0.5, 1e-320, 1e300, math.nan, math.inf, -math.inf),
    *(
        "",
        " ",
        "a",
        "0",
        "1e9",
        "nan",
        "-1",
        "..",
        "../../a",
        "/etc/passwd",
        "a/b",
        "a" * 300,
        "\x00",
        "\ud800",
        "é\u202e",
    ),
    *(
        "members",
        "origin",
        "threshold",
        "evaluate",
        "imageData",
        "mask",
        "rotation",
        "counts",
        "resize",
        "pad_multiple",
    ),
    *([], {}, [[]], [{}], {"name": None}, [0, 0], [None], [[0, 0], [5, 0]], [[[1]]], ["a", "A"], {"a": {"b": []}}),
]
_VALUES = st.one_of(
    st.sampled_from(_ODD),
    st.integers(),
    st.floats(),
    st.text(max_size=6),
    st.recursive(
        st.sampled_from([None, 0, 1.5, "a", True]),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=6,
    ),
)
_PLACES = st.integers(0, 10_000)
_OPERATIONS = ["set", "remove", "add", "twice", "wrap", "rename", "copy", "many"]

changes = st.lists(st.tuples(_PLACES, st.sampled_from(_OPERATIONS), _VALUES), min_size=1, max_size=4)
"""One to four changes."""

damage = st.tuples(_PLACES, st.integers(0, 3), st.text(max_size=3))
"""Of a text: where, how many characters go, and what comes instead."""


def changed(document: Any, listed: list[Change]) -> Any:
    """Return a changed copy; a change that fits nothing changes nothing, and neither does one that makes it huge."""
    whole = [copy.deepcopy(document)]
    for place, operation, value in listed:
        before = copy.deepcopy(whole)
        places = list(_places(whole))
        container, key = places[place % len(places)]
        _change(container, key, operation, copy.deepcopy(value), places)
        if not whole:
            whole.append(None)
        if _size(whole, {}) > _MOST_SIZE:
            whole = before
    return whole[0]


def damaged(text: str, place: int, count: int, instead: str) -> str:
    """Return a text with some of its characters replaced."""
    start = place % (len(text) + 1)
    return text[:start] + instead + text[start + count :]


def _size(value: Any, sizes: dict[int, int]) -> int:
    """Return the number of values and characters when written out; what stands in many places is counted once."""
    if not isinstance(value, dict | list):
        return 1 + len(str(value))
    if id(value) not in sizes:
        inner = [*value, *value.values()] if isinstance(value, dict) else value
        sizes[id(value)] = 1 + sum(_size(each, sizes) for each in inner)
    return sizes[id(value)]


def _places(value: Any) -> Any:
    """Yield (container, key) of all that a document holds."""
    pairs = list(value.items() if isinstance(value, dict) else enumerate(value))
    for key, entry in pairs:
        yield value, key
        if isinstance(entry, dict | list):
            yield from _places(entry)


def _change(container: Any, key: Any, operation: str, value: Any, places: list[Any]) -> None:
    old = container[key]
    match operation:
        case "set":
            container[key] = value
        case "remove":
            del container[key]
        case "add" if isinstance(old, list):
            old.append(value)
        case "add" if isinstance(old, dict):
            old[str(value)[:20]] = value
        case "twice" if isinstance(old, list) and old:
            old.append(copy.deepcopy(old[0]))
        case "wrap":
            container[key] = [old]
        case "rename" if isinstance(container, dict):
            container[str(value)[:20]] = container.pop(key)
        case "copy":
            other, name = places[value % len(places) if isinstance(value, int) else 0]
            container[key] = copy.deepcopy(other[name])
        case "many" if isinstance(old, str) and len(old) < 100:
            container[key] = old * 1000
        case "many" if isinstance(old, list) and len(old) < 100:
            container[key] = old * 100
