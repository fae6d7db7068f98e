"""From params.yaml to typed sections: the only reader of the file. A stage reads no more than its own sections.

The file is read as YAML 1.2, as DVC reads it: ``1e-3`` is a number, ``yes`` and ``no`` are words. A key that is left
out has the default of its section.
"""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from maskline.core import yaml_text
from maskline.core.errors import ParamsError
from maskline.params.base.complaints import params_error
from maskline.params.base.former import with_names_of_now
from maskline.params.base.types import Section
from maskline.params.base.variants import in_words, without_unread

S = TypeVar("S", bound=Section)

log = logging.getLogger("maskline")


def load_sections(path: Path, kind: type[S]) -> S:
    """Read some sections of a params file; the others are not looked at.

    Args:
        path: The file.
        kind: Its fields are the sections: see ``maskline.params.stages``.

    Raises:
        ParamsError: The file is missing, no YAML, or a value is wrong; names file, key, value and remedy.
    """
    values = with_names_of_now(read_yaml(path), place=path)
    return validated({name: value for name, value in values.items() if name in kind.model_fields}, kind, place=path)


def read_yaml(path: Path, *, place: object = None) -> dict[str, Any]:
    """Read a YAML 1.2 mapping, as DVC does.

    Args:
        path: The file.
        place: How errors call it; None: by its path.

    Raises:
        ParamsError: Missing file, no YAML or too much of it, or not a mapping.
    """
    place = place or path
    try:
        value = yaml_text.read(Path(path), place=place, error=ParamsError)
    except FileNotFoundError as error:
        remedy = "run from the project's folder, or name it with --params; maskline new makes a project"
        raise ParamsError(place, "no such file", remedy) from error
    except OSError as error:
        raise ParamsError(place, f"cannot be read ({error})", "give a UTF-8 text file") from error
    if not isinstance(value, dict):
        raise ParamsError(place, "not a mapping of sections", "restore it with git checkout params.yaml")
    _check_keys(value, place, "")
    return value


def _check_keys(value: Any, place: object, key: str) -> None:
    """Refuse keys that are lists, or numbers beside text: DVC cannot sort them, and says so after the stage."""
    if isinstance(value, list):
        for entry in value:
            _check_keys(entry, place, key)
    if not isinstance(value, dict):
        return
    others = [name for name in value if not isinstance(name, str)]
    if any(isinstance(name, tuple | frozenset) for name in others) or 0 < len(others) < len(value):
        remedy = "put all keys there into quotes, in the file itself: dvc exp run -S has none"
        raise ParamsError(f"{place}: {key}", f"the key {others[0]} beside text", remedy)
    for name, entry in value.items():
        _check_keys(entry, place, f"{key}.{name}".lstrip("."))


def validated(values: Mapping[str, Any], kind: type[S], *, place: object, tells: bool = True) -> S:
    """Check plain values; those that the chosen variants do not read are named in the log.

    Args:
        values: A section, or sections by name.
        kind: What they are to be.
        place: How errors call their origin.
        tells: Name the keys that are not read; a card of a model has all keys, whoever reads them.

    Raises:
        ParamsError: A value is wrong; names place, key, value and remedy.
    """
    read, unread = without_unread(with_names_of_now(values, place=place), kind)
    try:
        # JSON input mode: strict about types, yet lists become tuples.
        checked = kind.model_validate_json(json.dumps(read, default=str))
    except ValidationError as error:
        raise params_error(error, read, place, kind) from error
    except ValueError as error:  # NaN or infinity written in YAML
        raise ParamsError(place, str(error), "use finite numbers") from error
    if unread and tells:
        log.info("%s: not read: %s", place, in_words(unread))
    return checked
