"""The pipeline that the package brings: stages, dvc.yaml, params.yaml and recipes, from wheel or checkout.

A wheel carries them in ``maskline/project``; an editable install finds them at the top of its checkout.
"""

import atexit
import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent


def pipeline_folder() -> Path:
    """Return the folder with dvc.yaml, stages/ and recipes/."""
    carried = _PACKAGE / "project"
    return carried if carried.is_dir() else _PACKAGE.parent.parent


@functools.cache
def shipped_params() -> Path:
    """Return params.yaml as it is shipped.

    In a checkout that is the committed one: ``dvc exp run -S`` leaves its values in the one that lies there.
    """
    path = pipeline_folder() / "params.yaml"
    if not (path.parent / ".git").exists() or shutil.which("git") is None:
        return path
    shown = subprocess.run(["git", "-C", path.parent, "show", "HEAD:./params.yaml"], capture_output=True, check=False)
    if shown.returncode or shown.stdout == path.read_bytes():
        return path
    folder = Path(tempfile.mkdtemp(prefix="maskline-params-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    committed = folder / "params.yaml"
    committed.write_bytes(shown.stdout)
    return committed
