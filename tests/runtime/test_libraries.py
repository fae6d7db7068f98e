"""Libraries beside any torch, and without a network: one short try, then the line of error."""

import socket
import subprocess
import sys
import time

import pytest

from maskline.core.errors import CheckpointError
from maskline.models.backbones.encoder import encoder, resolve_encoder
from maskline.models.smp import smp_segmentor
from maskline.runtime import libraries
from tests.server import serving

CLOSED = "http://127.0.0.1:9"


@pytest.fixture
def unreachable(monkeypatch, tmp_path):
    resolve_encoder("resnet18")  # loads the libraries
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", CLOSED)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    return constants


@pytest.mark.parametrize("name", ["resnet18", "tu-resnet10t"])
def test_weights_that_cannot_be_had_are_told_soon(unreachable, name):
    started = time.perf_counter()
    with pytest.raises(CheckpointError, match=f"encoder {name}: its pretrained weights cannot be downloaded"):
        encoder(name, in_channels=3, output_stride=32, pretrained=True)
    assert time.perf_counter() - started < 5
    assert not unreachable.HF_HUB_OFFLINE, "as it was"


def test_a_whole_architecture_too(unreachable):
    started = time.perf_counter()
    with pytest.raises(CheckpointError, match="its pretrained weights cannot be downloaded"):
        smp_segmentor("Unet", encoder="resnet18", in_channels=3, num_classes=2, pretrained=True, align_corners=False)
    assert time.perf_counter() - started < 5


def test_a_hub_that_answers_is_asked(monkeypatch):
    from huggingface_hub import constants

    with serving(b"hub") as server:  # it refuses HEAD, which is an answer too
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        with libraries.one_try():
            assert not constants.HF_HUB_OFFLINE
    with libraries.one_try():
        assert constants.HF_HUB_OFFLINE, "the server is gone"
    assert not constants.HF_HUB_OFFLINE


def test_a_server_that_says_nothing_is_waited_for_briefly(monkeypatch):
    monkeypatch.setattr(libraries, "TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.perf_counter()
        assert not libraries.answers(f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert time.perf_counter() - started < 2


def test_smp_imports_after_the_declaration():
    """In a fresh process."""
    code = (
        "from maskline.runtime.libraries import declare_missing_operators as declare\n"
        "first = declare()\n"
        "assert declare() == first\n"
        "import segmentation_models_pytorch\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=120)
