"""What SMP, timm and the Hugging Face hub's client need before they are used.

**torchvision.** A wheel built for CUDA cannot load its operator library beside a CPU-only torch; importing it (as SMP,
timm and torchmetrics do) then stops at ``operator torchvision::nms does not exist``, because torchvision registers
shape functions for operators that it expects to exist. Declaring their signatures is enough: nothing in
segmentation calls them, and a call still fails with torch's own message. Call ``declare_missing_operators()`` before
the first import of any of these libraries.

**The hub.** Without a network its client tries six times for each file, 27 to 51 s before the error (huggingface_hub
2.4, a port that refuses), and has no setting for the number of tries. ``one_try`` asks once, shortly; where nothing
answers, the client is told that it is offline, so that it reads its cache or fails at once.
"""

import functools
import importlib.util
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import torch

TIMEOUT_S = 4.0  # of a try, the look-up of the name included

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


@contextmanager
def one_try() -> Iterator[None]:
    """Download from the hub inside the block: where it does not answer now, only its cache is read."""
    from huggingface_hub import constants

    before: bool = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not answers(constants.ENDPOINT)
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def answers(address: str) -> bool:
    """Tell whether a server answers within ``TIMEOUT_S``, whatever it says; proxies of the environment are used."""
    said: list[bool] = []
    # A thread, since the look-up of a name has no time limit of its own.
    trying = Thread(target=lambda: said.append(_answers(address)), daemon=True)
    trying.start()
    trying.join(TIMEOUT_S)
    return said == [True]


def _answers(address: str) -> bool:
    request = urllib.request.Request(address, method="HEAD")  # what HF_ENDPOINT says
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S):
            return True
    except urllib.error.HTTPError:
        return True
    except urllib.error.URLError as error:
        return isinstance(error.reason, ssl.SSLError)  # the hub's client has certificates of its own
    except OSError:
        return False
