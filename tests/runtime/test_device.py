"""What a run chooses: determinism, rounding to tf32, the graph of a step."""

import subprocess
import sys

import pytest
import torch

from maskline.core.errors import ParamsError
from maskline.runtime import device


def test_products_are_rounded_where_tf32_is_chosen_alone():
    def flags():
        return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32

    torch.backends.cudnn.allow_tf32 = True  # as torch starts
    device.resolve(device="cpu", precision="fp32", channels_last=True)
    assert flags() == (False, False)
    with device.tf32(allowed=True):
        assert flags() == (True, True)
        with device.tf32(allowed=False):
            assert flags() == (False, False)
    assert flags() == (False, False)
    with pytest.raises(ParamsError, match=r"train.precision: tf32 trains on a GPU only; set train.precision to auto"):
        device.resolve(device="cpu", precision="tf32", channels_last=True)
    compute = device.Compute(device=torch.device("cpu"), precision="tf32", channels_last=True)
    with compute.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


@pytest.fixture
def _as_before():
    mode, cudnn = torch.get_deterministic_debug_mode(), torch.backends.cudnn
    flags = cudnn.deterministic, cudnn.benchmark
    yield
    torch.set_deterministic_debug_mode(mode)
    cudnn.deterministic, cudnn.benchmark = flags


@pytest.mark.usefixtures("_as_before")
def test_determinism_is_a_choice():
    chosen = []
    for enabled in (False, True):
        device.set_deterministic(torch.get_num_threads(), enabled=enabled)
        cudnn = torch.backends.cudnn
        chosen.append((torch.are_deterministic_algorithms_enabled(), cudnn.deterministic, cudnn.benchmark))
    assert chosen == [(False, False, True), (True, True, False)]


@pytest.mark.parametrize(
    ("wanted", "kind", "own_code", "expected"),
    [
        ("auto", "cuda", False, True),
        ("auto", "cuda", True, False),
        ("auto", "cpu", False, False),
        (True, "cuda", True, True),
        (False, "cuda", False, False),
    ],
)
def test_when_a_step_is_captured(wanted, kind, own_code, expected):
    assert device.resolve_graph(wanted, kind, own_code=own_code) is expected


LIMITED = """
import sys, torch
from maskline.runtime.device import TooManyValues, ValueLimit
with ValueLimit(10):
    torch.empty(10)
    try:
        torch.empty(1)
    except TooManyValues:
        sys.exit(3 * ("torch._dynamo" in sys.modules))
sys.exit(4)
"""


def test_a_limit_of_values_holds_and_loads_no_compiler():
    assert subprocess.run([sys.executable, "-c", LIMITED], check=False).returncode == 0
