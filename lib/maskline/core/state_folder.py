"""Where maskline keeps what is no output of a stage: ``.maskline`` in the main checkout.

DVC empties outs before each run, and runs an experiment in a copy of the project that it removes afterwards; it tells
the main checkout in ``DVC_ROOT``. Journals, unfinished downloads and caches outlive both there.
"""

import os
from pathlib import Path

NAME = ".maskline"


def state_folder(*parts: str) -> Path:
    """Return ``.maskline`` or a path below it; nothing is made."""
    return Path(os.environ.get("DVC_ROOT", ".")).joinpath(NAME, *parts)
