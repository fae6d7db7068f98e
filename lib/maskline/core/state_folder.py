"""Where maskline keeps what is no output of a stage, and where the user's own paths lead: by the main checkout.

DVC empties outs before each run, and runs an experiment in a copy of the project that it removes afterwards; it tells
the main checkout in ``DVC_ROOT``. Journals, unfinished downloads and caches outlive both there.
"""

import os
from pathlib import Path

NAME = ".maskline"


def state_folder(*parts: str) -> Path:
    """Return ``.maskline`` or a path below it; nothing is made."""
    return _root().joinpath(NAME, *parts)


def user_path(text: str) -> Path:
    """Return where a path of params.yaml leads, whichever copy of the project the stage runs in.

    A relative path that is there inside of the copy is the copy's own (git brought it); any other starts at the main
    checkout, as the user wrote it.
    """
    path = Path(text).expanduser()
    if path.is_absolute() or (".." not in path.parts and path.exists()):
        return path
    return Path(os.path.normpath(_root() / path))


def _root() -> Path:
    return Path(os.environ.get("DVC_ROOT", "."))
