"""Names that others chose, on their way to a terminal, a table, a page or a log.

A class, a file and an address are called whatever their makers liked. What reads our output must not take a part of
such a name for a command to itself.
"""

import re
import unicodedata
from urllib.parse import urlsplit

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_MARK = "'"  # spreadsheets take what is behind it for text


def printable(text: str) -> str:
    r"""Return the text with control characters, those that turn its direction too, as ``\x1b`` or ``\u202e``.

    So are surrogates, which no stream takes: Python has them for what is no UTF-8 in a file's name.
    Tabs and line feeds stay.
    """
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def composed(name: str) -> str:
    """Return a name with letters and their accents as one character (NFC); macOS has them apart in names of files."""
    return unicodedata.normalize("NFC", name)


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
    """Return an address for a log: without user, password and the values of its parameters, query and fragment.

    A password that was not quoted may hold what would end it (``/``, ``?``, ``#``): where the host looks like the
    beginning of one, all up to the last ``@`` is left out.
    """
    scheme = re.match(r"(?:[A-Za-z][A-Za-z0-9+.-]*://)?", address)[0]  # type: ignore[index]
    rest = address.removeprefix(scheme)
    begin = re.split(r"[/?#\\]", rest, maxsplit=1)[0]
    if "@" in begin or ("@" in rest and (":" in begin or "." not in begin)):
        rest = f"***@{rest.rpartition('@')[2]}"
    try:
        urlsplit(scheme + rest)
    except ValueError:
        return "an address that cannot be read"
    rest, fragment, _ = rest.partition("#")
    rest, query, _ = rest.partition("?")
    rest = re.sub(r";[^/]*", ";***", rest)
    return f"{scheme}{rest}{'?***' if query else ''}{'#***' if fragment else ''}"
