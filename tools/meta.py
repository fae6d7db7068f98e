"""Runs that are built on the meta device, as they would be on a GPU: shapes without values (``tools.device_watch``)."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from unittest.mock import patch

import torch
from torch.optim import optimizer
from torch.utils import _foreach_utils

from maskline.runtime import device, gpu_forms
from maskline.runtime.device import Compute


class MetaCompute(Compute):
    """float32 on the meta device, which knows no autocast."""

    __slots__ = ()

    def autocast(self) -> AbstractContextManager[None]:
        """Return a context that does nothing."""
        return nullcontext()

    def scaler(self) -> torch.amp.GradScaler:
        """Return a scaler that does nothing."""
        return torch.amp.GradScaler("cpu", enabled=False)


@contextmanager
def on_meta() -> Iterator[None]:
    """Build runs on the meta device inside the block, whatever their params say, in the forms that a GPU is given."""
    compute = MetaCompute(device=torch.device("meta"), precision="fp32", channels_last=True)
    fused = [*_foreach_utils._get_fused_kernels_supported_devices(), "meta"]
    with (
        patch.object(device, "resolve", lambda **_: compute),
        patch.object(torch, "autocast", lambda *_, **__: nullcontext()),
        gpu_forms.everywhere(),
        patch.object(optimizer, "_get_fused_kernels_supported_devices", lambda: fused),
    ):
        yield
