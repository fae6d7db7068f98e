"""Runs side by side take GPUs of their own."""

import os
import subprocess
import sys

import pytest

from maskline.runtime.processes import gpus

RUN = """
import sys
from maskline.runtime.processes import gpus
print(gpus.take(int(sys.argv[1]), device="auto", gpus=lambda: 4), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def free(monkeypatch, tmp_path):
    """A project without a run, and no word on GPUs in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in ("CUDA_VISIBLE_DEVICES", "WORLD_SIZE", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(gpus, "_held", [])
    yield tmp_path
    for descriptor in gpus._held:
        os.close(descriptor)
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)


def other(count):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", RUN, str(count)], **pipes)
    return process, process.stdout.readline().strip()


def test_each_run_has_its_own_and_a_dead_one_leaves_them(free):
    killed, first = other(3)
    try:
        assert first == "(0, 1, 2)"
        assert gpus.take(1, device="auto", gpus=lambda: 4) == (3,)
        assert os.environ.pop("CUDA_VISIBLE_DEVICES") == "3"
        # All are taken: those with the fewest runs are shared.
        assert gpus.take(2, device="cuda", gpus=lambda: 4) == (0, 1)
        assert os.environ.pop("CUDA_VISIBLE_DEVICES") == "0,1"
    finally:
        killed.kill()
        killed.communicate()
    assert gpus.take(2, device="auto", gpus=lambda: 4) == (0, 1)


@pytest.mark.parametrize(
    ("count", "device", "there", "given"),
    [
        (1, "cpu", 4, {}),
        (1, "auto", 4, {"CUDA_VISIBLE_DEVICES": "2"}),
        (1, "auto", 4, {"WORLD_SIZE": "2"}),
        (1, "auto", 1, {}),
        (8, "auto", 4, {}),
    ],
)
def test_nothing_is_taken_where_there_is_no_choice(free, monkeypatch, count, device, there, given):
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert gpus.take(count, device=device, gpus=lambda: there) == ()
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == given.get("CUDA_VISIBLE_DEVICES")
    assert not (free / ".maskline").exists()
