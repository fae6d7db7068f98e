"""The pipeline that the package brings: stages, dvc.yaml, params.yaml and recipes, from wheel or checkout.

A wheel carries them in ``maskline/project``; an editable install finds them at the top of its checkout.
"""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent


def pipeline_folder() -> Path:
    """Return the folder with dvc.yaml, params.yaml, stages/ and recipes/."""
    carried = _PACKAGE / "project"
    return carried if carried.is_dir() else _PACKAGE.parent.parent
