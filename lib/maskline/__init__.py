"""Semantic segmentation that can be reproduced. Importing this package loads nothing of it, see ``load``.

It turns telemetry off: onnxruntime, from 1.32, writes a device id and events under the home folder and calls its
maker's collector, unless it is told otherwise before it is imported. Whoever wants to send sets the variable to 0.
"""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maskline.api.evaluating import evaluate as evaluate
    from maskline.api.training import train as train
    from maskline.predict.model import Model as Model
    from maskline.predict.model_sources import load as load
    from maskline.predict.result import Result as Result

__version__ = "0.1.0"

__all__ = ["Model", "Result", "evaluate", "load", "train"]

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

_PLACES = {
    "Model": "predict.model",
    "Result": "predict.result",
    "evaluate": "api.evaluating",
    "load": "predict.model_sources",
    "train": "api.training",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for. By its name as text: no stage depends on what it does not use."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
