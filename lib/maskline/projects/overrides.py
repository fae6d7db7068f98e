"""KEY=VALUE on a params file, by the rules of ``dvc exp run -S``, keys that it leaves out included."""

import io
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from maskline.core.errors import ParamsError
from maskline.core.files import storage_errors
from maskline.core.text import one_line
from maskline.params.base.reading import read_yaml
from maskline.params.whole import validate_params


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
        values = read_yaml(path)
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
        return read_yaml(path)[section][name]


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
    from dvc.utils.hydra import apply_overrides

    try:
        # Hydra's ++: a key that the file leaves out comes into it. Whether there is such a key is checked after.
        apply_overrides(path, [f"++{word}" if word[:1].isalpha() else word for word in overrides])
    except DvcException as error:
        cause = one_line(str(error.__cause__ or error)).split(" See https")[0]
        remedy = "give KEY=VALUE with a key of params.yaml"
        raise ParamsError(f"-S {' '.join(overrides)}", cause, remedy) from error
