"""From pydantic's errors to the one line that names key, value and remedy."""

import difflib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from maskline.core.errors import ParamsError
from maskline.params.base.types import Section
from maskline.params.base.variants import sections_in, tags


def params_error(error: ValidationError, values: Mapping[str, Any], place: object, kind: type[Section]) -> ParamsError:
    """Return the one line about what pydantic found, most of it about its first finding."""
    details = error.errors(include_url=False)
    # Of a union's errors on one text, the one that lists the words it could be.
    first = next((other for other in details if _is_word(other) and other["input"] == details[0]["input"]), details[0])
    key, problem, remedy = _explain(first, values, kind)
    keys = [_key(other["loc"], values, absent=other["type"] == "missing") or "the whole" for other in details[1:]]
    keys = [other for other in keys if not key.startswith(f"{other}.")]
    others = [other for other in dict.fromkeys(keys) if other != key]
    if others:
        remedy += f" (also wrong: {', '.join(others[:5])}{', ...' if len(others) > 5 else ''})"
    return ParamsError(f"{place}: {key}" if key else place, problem, remedy)


def _is_word(detail: ErrorDetails) -> bool:
    return detail["type"] == "literal_error" and isinstance(detail["input"], str)


def _explain(detail: ErrorDetails, values: Mapping[str, Any], kind: type[Section]) -> tuple[str, str, str]:
    """Return key, problem and remedy of one pydantic error."""
    loc = [part for part in detail["loc"] if not (isinstance(part, str) and part.startswith("function-"))]
    what, context = detail["type"], detail.get("ctx", {})
    key = _key(loc, values, absent=what == "missing")
    if what == "union_tag_invalid":
        tag, options = context["tag"], context["expected_tags"].replace("'", "").split(", ")
        return f"{key}.name", f"{json.dumps(tag)} is not one of {', '.join(options)}", _nearest(tag, options, "value")
    if what == "union_tag_not_found":
        return f"{key}.name", "missing", "add the key name to its section"
    if what == "extra_forbidden":
        known = _known_keys(loc[:-1], kind)
        return key, "unknown key", _nearest(str(loc[-1]), known, "key")
    if what == "missing":
        return key, "missing", f"add the key {loc[-1]} to its section"
    value = json.dumps(detail["input"], default=str)
    if what == "literal_error":
        options = [option.strip("'") for option in context["expected"].replace(" or ", ", ").split(", ")]
        return key, f"{value} is not one of {', '.join(options)}", _nearest(str(detail["input"]), options, "value")
    if what == "value_error":
        problem, _, own_remedy = str(context["error"]).partition("; ")
        return key, problem, own_remedy or "change one of the two"
    if isinstance(detail["input"], str) and _is_number(detail["input"]):
        return key, f"{value} is text", "write the number without quotes"
    message = detail["msg"].removeprefix("Input should be ").removeprefix("Input ")
    if len(value) > 80:
        value = value[:77] + "..."
    return key, f"{value} is wrong", f"give {message}"


def _key(loc: Iterable[str | int], values: Any, *, absent: bool) -> str:
    """Return the key as the file spells it: without the tags that pydantic adds for the variants of a union.

    Args:
        loc: Pydantic's path.
        values: What was checked.
        absent: The last part is a key that is not there.
    """
    key_parts: list[str] = []
    parts = tuple(loc)
    for position, part in enumerate(parts, start=1):
        try:
            values = values[part]
        except (KeyError, IndexError, TypeError):
            if not absent or position < len(parts):
                continue
        key_parts.append(str(part))
    return ".".join(key_parts)


def _known_keys(loc: Iterable[str | int], kind: type[Section]) -> list[str]:
    """Return the keys of the section that ``loc`` leads to."""
    sections: list[type[Section]] = [kind]
    for part in loc:
        if isinstance(part, int):
            continue
        fields = [field for section in sections if (field := section.model_fields.get(part))]
        # A part that is no field is the tag of a union, such as the name of a loss.
        tagged = [section for section in sections if part in tags(section)]
        sections = [section for field in fields for section in sections_in(field.annotation)] or tagged
    return list(dict.fromkeys(key for section in sections for key in section.model_fields))


def _nearest(word: str, known: list[str], what: str) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]}?"
    if what == "value":  # the problem lists them
        return "choose one of them"
    return f"valid keys: {', '.join(known)}" if known else "remove it"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
