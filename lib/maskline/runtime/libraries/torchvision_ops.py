"""Stand-ins for torchvision's compiled operators, so that its import works beside a CPU-only torch.

A torchvision wheel built for CUDA cannot load its operator library beside a CPU torch; importing it (as SMP, timm
and torchmetrics do) then stops at ``operator torchvision::nms does not exist``, because torchvision registers
shape functions for operators that it expects to exist. Declaring their signatures is enough: nothing in
segmentation calls them, and a call still fails with torch's own message.

Call ``declare_missing_operators()`` before the first import of any of these libraries.
"""

import functools
import importlib.util
from pathlib import Path

import torch

_SIGNATURES = (
    "nms(Tensor boxes, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor boxes, Tensor scores, float iou_threshold) -> Tensor",
)

_library: torch.library.Library | None = None  # torch forgets a library's declarations when the object goes


@functools.cache
def declare_missing_operators() -> bool:
    """Declare torchvision's operators where its own library cannot load. Safe to call again.

    Returns:
        Whether torchvision works only thanks to this declaration.
    """
    global _library  # noqa: PLW0603
    if _operators_load():
        return False
    _library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for signature in _SIGNATURES:
        _library.define(signature)  # type: ignore[no-untyped-call]
    return True


def _operators_load() -> bool:
    """Whether importing torchvision registers ``nms``: tried with its operator library alone, without the package."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return True  # nothing to stand in for; the import itself will say that it is missing
    for library in sorted(Path(spec.origin).parent.glob("_C*.so")):
        try:
            torch.ops.load_library(str(library))  # type: ignore[no-untyped-call]
        except OSError:
            continue
    return hasattr(torch.ops.torchvision, "nms")
