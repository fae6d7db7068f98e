"""MMSegmentation configurations as plain values: resolved JSON, or Python text that is parsed and never run."""

import ast
import json
from pathlib import Path
from typing import Any

from maskline.core.errors import CheckpointError
from maskline.core.files import read_plain

_MOST_CHARACTERS = 1 << 20  # of a text; the longest of MMSegmentation's own has some 40 000
_MOST_VALUES, _MOST_LEVELS = 100_000, 50
_TOLD = 200
_REMEDY = "give what MMSegmentation's print_config writes: every value resolved, no code"


def read_config(path: Path) -> dict[str, Any]:
    """Read a resolved configuration, ``.json`` or ``.py``.

    Raises:
        CheckpointError: No such file, not plain values, or more of them than a configuration has.
    """
    path = Path(path)
    try:
        text = read_plain(path, most_bytes=4 * _MOST_CHARACTERS, error=CheckpointError).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(path, f"cannot be read ({error})", "name a .json or .py file") from error
    if path.suffix != ".json":
        return parse_config(text, place=path)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(path, f"not JSON ({error})", _REMEDY) from error
    if not isinstance(value, dict):
        raise CheckpointError(path, "not a mapping", _REMEDY)
    _check_size(value, path)
    return value


def parse_config(text: str, *, place: object) -> dict[str, Any]:
    """Return the assignments of a configuration written as Python: literals, ``dict(...)``, earlier names.

    Raises:
        CheckpointError: Anything else in it, or more than a configuration has.
    """
    if len(text) > _MOST_CHARACTERS:
        raise CheckpointError(place, "too large for a configuration", _REMEDY)
    assigned = _Names()
    try:
        for line in ast.parse(text).body:
            match line:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    assigned[name] = _value(value, assigned)
                case ast.Expr(value=ast.Constant(value=str())):
                    continue
                case _:
                    raise _NotPlainError(line)
    except _NotPlainError as error:
        raise CheckpointError(place, f"line {error.line} is code ({error})", _REMEDY) from error
    except (SyntaxError, RecursionError, MemoryError, ValueError, TypeError) as error:
        told = str(error)[:_TOLD] or "too deep"
        raise CheckpointError(place, f"not a configuration ({told})", _REMEDY) from error
    if "_base_" in assigned:
        raise CheckpointError(place, "_base_ points to other files", _REMEDY)
    _check_size(assigned, place)
    return dict(assigned)


def _check_size(value: Any, place: object) -> None:
    """Refuse values whose text is huge or endlessly deep: a name can stand in many places, and double each time."""
    waiting, count = [(value, 0)], 0
    while waiting:
        one, depth = waiting.pop()
        inner = [*one, *one.values()] if isinstance(one, dict) else one if isinstance(one, list) else ()
        count += len(inner) + (len(one) >> 4 if isinstance(one, str | bytes) else 0)
        if count > _MOST_VALUES or depth > _MOST_LEVELS:
            raise CheckpointError(place, f"more than {_MOST_VALUES} values or {_MOST_LEVELS} levels", _REMEDY)
        waiting += [(each, depth + 1) for each in inner]


class _Names(dict[str, Any]):
    """What has been assigned, and how many values of it may still be copied."""

    left = _MOST_VALUES


class _NotPlainError(Exception):
    def __init__(self, node: ast.stmt | ast.expr) -> None:
        super().__init__(ast.unparse(node)[:60])
        self.line = node.lineno


def _value(node: ast.expr, names: _Names) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name) if name in names:
            return names[name]
        case ast.List(elts=items) | ast.Tuple(elts=items) | ast.Set(elts=items):
            return [_value(item, names) for item in items]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, names)
        case ast.Dict(keys=keys, values=values):
            pairs = zip(keys, values, strict=True)
            return {_value(_present(key, node), names): _value(value, names) for key, value in pairs}
        case ast.Call(func=ast.Name(id="dict"), args=[] | [ast.Dict()] as plain, keywords=keywords):
            mapping: dict[str, Any] = _value(plain[0], names) if plain else {}
            for keyword in keywords:
                value = _value(keyword.value, names)
                added = value if keyword.arg is None else {keyword.arg: value}
                mapping.update(added)
                names.left -= len(added)
                if names.left < 0:
                    raise ValueError(f"more than {_MOST_VALUES} values")
            return mapping
        case ast.Call(func=ast.Name(id="float"), args=[ast.Constant(value=str(text))], keywords=[]):
            return float(text)
        case _:
            raise _NotPlainError(node)


def _present(key: ast.expr | None, node: ast.expr) -> ast.expr:
    if key is None:
        raise _NotPlainError(node)
    return key
