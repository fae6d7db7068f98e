"""KEY=VALUE on a params file, by the rules of ``dvc exp run -S``, keys that it leaves out included."""

import io
import re
import tempfile
from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from maskline.core import yaml_text
from maskline.core.errors import ParamsError
from maskline.core.files import storage_errors
from maskline.core.text import one_line
from maskline.params.base.reading import read_yaml
from maskline.params.whole import validate_params

_BARE_COLOR = re.compile(r"""(?<=[{,\s])#[0-9a-fA-F]{6}(?=\s*:)""")


def with_overrides(text: str, overrides: Sequence[str], *, place: str) -> str:
    """Return the params with values replaced; comments stay.

    Args:
        text: A whole params file.
        overrides: KEY=VALUE in Hydra's grammar, such as ``augment.crop_size=[256,256]``.
        place: What the file is called in an error.

    Raises:
        ParamsError: No KEY=VALUE, an unknown key, or a value that does not fit.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "params.yaml"
        with storage_errors(path):
            path.write_text(text, encoding="utf-8")
            if overrides:
                _apply(path, overrides)
        text = path.read_text(encoding="utf-8")
        values = read_yaml(path, place=place)
    validate_params(values, place=place)
    return text


def given(overrides: Sequence[str], key: str) -> Any:
    """Return the value that overrides give a key of a section; None: they say nothing of it.

    Args:
        overrides: KEY=VALUE.
        key: Such as ``data.mask_values``.

    Raises:
        ParamsError: A value that cannot be read.
    """
    words = [word for word in overrides if word.lstrip("+").startswith(f"{key}=")]
    if not words:
        return None
    section, _, name = key.partition(".")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "params.yaml"
        path.write_text(f"{section}: {{}}\n", encoding="utf-8")
        _apply(path, words)
        return read_yaml(path, place=f"-S {' '.join(words)}")[section][name]


def with_values(text: str, values: Mapping[str, Any]) -> str:
    """Return the params with values set as a person would set them; comments stay, nothing is checked.

    Args:
        text: A whole params file.
        values: Dotted key -> value of plain types.
    """
    yaml = YAML()
    yaml.width = 100
    content = yaml.load(text)
    for key, value in values.items():
        *above, last = key.split(".")
        section = content
        for part in above:
            section = section.setdefault(part, {})
        section[last] = value
    sink = io.StringIO()
    yaml.dump(content, sink)
    return sink.getvalue()


def _apply(path: Path, overrides: Sequence[str]) -> None:
    from dvc.exceptions import DvcException
    from dvc.utils.collections import merge_dicts
    from dvc.utils.hydra import apply_overrides
    from dvc.utils.serialize import modify_yaml

    mappings = {word: value for word in overrides if (value := _mapping(word)) is not None}
    # Hydra's ++: a key that the file leaves out comes into it. Whether there is such a key is checked after.
    others = [f"++{word}" if word[:1].isalpha() else word for word in overrides if word not in mappings]
    try:
        if others:
            apply_overrides(path, others)
    except DvcException as error:
        cause = one_line(str(error.__cause__ or error)).split(" See https")[0]
        form = "KEY={name: value, name: value}" if any("={" in word for word in others) else "KEY=VALUE"
        raise ParamsError(f"-S {' '.join(overrides)}", cause, f"give {form} with a key of params.yaml") from error
    for word, value in mappings.items():
        parts = word.lstrip("+").partition("=")[0].split(".")
        with modify_yaml(path) as content:
            merge_dicts(content, reduce(lambda inner, part: {part: inner}, reversed(parts), value))


def _mapping(word: str) -> Any:
    """Return the mapping that KEY=VALUE gives, with text for keys, where Hydra has other keys or none: 7, '#ff0000'.

    Keys of both kinds in one mapping cannot be read back from params.yaml.
    """
    from dvc.utils.hydra import to_hydra_overrides
    from hydra.errors import HydraException

    text = word.partition("=")[2].strip()
    if not text.startswith("{"):
        return None
    try:
        value = to_hydra_overrides([word])[0].value()
    except HydraException:
        try:
            value = yaml_text.load(_BARE_COLOR.sub(r"'\g<0>'", text), place=word, error=ParamsError)
        except ParamsError:
            return None  # Hydra's own complaint is the better one
        return _with_text_keys(value)
    plain = _with_text_keys(value)
    return None if plain == value else plain


def _with_text_keys(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_text_keys(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    texts = ((str(list(key)) if isinstance(key, tuple) else str(key), entry) for key, entry in value.items())
    return {key: _with_text_keys(entry) for key, entry in texts}
