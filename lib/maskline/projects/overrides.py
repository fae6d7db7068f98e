"""KEY=VALUE on a params file, by the rules of ``dvc exp run -S``, keys that it leaves out included."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from maskline.core.errors import ParamsError
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
        path.write_text(text, encoding="utf-8")
        if overrides:
            _apply(path, overrides)
        text = path.read_text(encoding="utf-8")
        values = read_yaml(path)
    validate_params(values, place=place)
    return text


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
