"""No library of maskline's calls home, and none leaves files in the home folder."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from tests.faults.offline import can_forbid

SECONDS = 20  # an import, or a session of 3 s, ends before onnxruntime looks its maker's collector up
KEPT = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG", "TMPDIR")


def identity(path):
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "identity", ends[:1], ends[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def hold(model, home, **variables):
    home.mkdir()
    # a person's environment: where a variable of a build service stands (CI, TF_BUILD...), onnxruntime calls nobody
    kept = {name: value for name, value in os.environ.items() if name in KEPT}
    environment = {**kept, "HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), **variables}
    command = [sys.executable, "-m", "tests.faults.offline", str(model), str(SECONDS)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.skipif(not can_forbid(), reason="sockets are watched by a filter of Linux on x86_64 or aarch64")
def test_a_session_calls_nobody_and_leaves_nothing(tmp_path):
    model = identity(tmp_path / "model.onnx")
    ours = hold(model, tmp_path / "home")
    theirs = hold(model, tmp_path / "other home", ORT_DISABLE_TELEMETRY="0")
    assert ours.communicate(timeout=120)[0] == "held\n"
    assert ours.returncode == 0
    assert not list((tmp_path / "home").iterdir())
    theirs.communicate(timeout=120)
    assert theirs.returncode == -signal.SIGSYS  # the watch works: without the variable there is a look-up
    assert list((tmp_path / "other home").iterdir())


@pytest.mark.parametrize("module", ["maskline", "stages.export", "maskline.commands.main"])
def test_every_way_in_turns_telemetry_off(module):
    kept = {name: value for name, value in os.environ.items() if "TELEMETRY" not in name}
    text = f"import {module}, os; print(os.environ['ORT_DISABLE_TELEMETRY'], os.environ['HF_HUB_DISABLE_TELEMETRY'])"
    assert subprocess.run([sys.executable, "-c", text], env=kept, capture_output=True, check=True).stdout == b"1 1\n"


def test_the_exported_example_turns_telemetry_off_before_the_import(root):
    text = (root / "lib/maskline/export/example.py").read_text(encoding="utf-8")
    assert 0 < text.index('"ORT_DISABLE_TELEMETRY", "1"') < text.index("import onnxruntime")


def test_onnxruntime_is_imported_behind_the_variable(root):
    """Only from inside of the package: its first import sets the variable."""
    outside = [
        file.relative_to(root).as_posix()
        for folder in ("stages", "tools")
        for file in Path(root, folder).rglob("*.py")
        if "import onnxruntime" in file.read_text(encoding="utf-8")
    ]
    assert not outside
