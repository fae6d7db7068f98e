"""Names that others chose, on their way to a terminal, a table, a page or a log.

A class, a file and an address are called whatever their makers liked. What reads our output must not take a part of
such a name for a command to itself.
"""

import re
from urllib.parse import urlsplit

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_MARK = "'"  # spreadsheets take what is behind it for text


def printable(text: str) -> str:
    r"""Return the text with control characters, those that turn its direction too, as ``\x1b`` or ``\u202e``.

    Tabs and line feeds stay.
    """
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def one_line(text: str) -> str:
    """Return printable text with every run of white space, line breaks included, as one space."""
    return printable(" ".join(text.split()))


def cell(text: str) -> str:
    """Return the text of a CSV's cell that no spreadsheet runs: a mark in front of what looks like a formula.

    Numbers stay as they are; ``from_cell`` gives back the text.
    """
    if not text.startswith((*_FORMULA, _MARK)):
        return text
    try:
        float(text)
    except ValueError:
        return _MARK + text
    return text


def from_cell(text: str) -> str:
    """Return what ``cell`` was given."""
    return text.removeprefix(_MARK)


def chart_cell(text: str) -> str:
    """Return ``cell`` for a table that ``dvc plots`` draws: it puts values into a script, which ``</script>`` ends."""
    return cell(printable(text).replace("<", "\N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}"))


def without_secrets(address: str) -> str:
    """Return an address for a log: without user, password and the values of its query."""
    try:
        parts = urlsplit(address)
        host = parts.netloc.rpartition("@")
    except ValueError:
        return "an address that cannot be read"
    if not host[1] and not parts.query:
        return address
    known = parts._replace(netloc=f"***@{host[2]}" if host[1] else host[2], query="***" if parts.query else "")
    return known.geturl()
