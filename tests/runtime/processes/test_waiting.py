"""How threads wait: chosen before torch is loaded, in processes of their own where torch is asked."""

import os
import subprocess
import sys

import pytest

from maskline.runtime.processes import waiting


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """None that says something of it; what a test sets goes with it."""
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "environ", dict(os.environ))


def machine(monkeypatch, *, load, running, cores=2):
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    monkeypatch.setattr(waiting, "_PAUSE", 0)
    monkeypatch.setattr(waiting, "_running", lambda: running)


@pytest.mark.parametrize(
    ("load", "running", "busy"),
    [(6.0, 5, True), (2.1, 1, False), (6.0, 2, False), (2.0, 9, False)],  # 2.1, 1: a training of two threads has ended
)
def test_auto_yields_where_others_want_the_processors(monkeypatch, load, running, busy):
    machine(monkeypatch, load=load, running=running)
    assert waiting.tune("auto") is busy
    assert os.environ.get("GOMP_SPINCOUNT") == ("0" if busy else None)


def test_what_is_asked_for_and_what_the_environment_says(monkeypatch):
    machine(monkeypatch, load=9.0, running=9)
    assert not waiting.tune("spin")
    os.environ["OMP_WAIT_POLICY"] = "active"
    assert not waiting.tune("yield")
    del os.environ["OMP_WAIT_POLICY"]
    machine(monkeypatch, load=0.0, running=1)
    assert waiting.tune("yield")
    assert not waiting.tune("yield"), "said already"


def test_a_system_that_does_not_tell(monkeypatch, tmp_path):
    monkeypatch.setattr(waiting, "_STAT", tmp_path / "none")
    monkeypatch.delattr(os, "getloadavg")
    assert not waiting.is_busy()
    assert waiting._running() == 1


@pytest.mark.skipif(sys.platform != "linux", reason="libgomp")
def test_libgomp_hears_of_it():
    """It says at its loading what it has read."""
    code = (
        "import sys\n"
        "from maskline.runtime.processes import waiting\n"
        "waiting.tune('yield')\n"
        "assert 'torch' not in sys.modules\n"
        "import torch\n"
    )
    environment = {**os.environ, "OMP_DISPLAY_ENV": "verbose"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    if "GOMP_SPINCOUNT" not in done.stderr:
        pytest.skip("torch has another OpenMP")
    assert "GOMP_SPINCOUNT = '0'" in done.stderr
