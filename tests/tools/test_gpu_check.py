"""The check of a GPU, on a CPU: what it measures, what it makes of a failure, what it judges."""

import json
import os
import subprocess
import sys
import time

import pytest

from tools import device_steps, gpu_check, gpu_report
from tools.gpu_report import Item, Report, Skip, derive, promises, run_all, table, verdict

HEAD = {"card": "NVIDIA H100 80GB HBM3", "torch": "2.11", "cores": 16, "commit": "abc"}
CUDA_ONLY = ("peak_mib", "waits", "wait_lines", "kernels", "kernel_ms", "busy", "top_kernels")


def test_a_tiny_run_on_a_cpu(root, tmp_path):
    """Every case and check goes through; what only CUDA can tell is null."""
    path = tmp_path / "result.json"
    command = [sys.executable, "-m", "tools.gpu_check", "--device", "cpu", "--tiny", "--json", str(path)]
    environment = {**os.environ, "PYTHONPATH": str(root / "lib"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "no GPU: no promise is judged"
    data = json.loads(path.read_text())
    rows = {f"{case}, {form}": row for case, forms in data["cases"].items() for form, row in forms.items()}
    rows |= data["checks"]
    reasons = {row["reason"] for row in rows.values() if row["outcome"] == "skipped"}
    assert {name: row["reason"] for name, row in rows.items() if row["outcome"] == "failed"} == {}
    assert all(reason == "not on a CPU" or reason.startswith("not there: ") for reason in reasons)
    for case, forms in data["cases"].items():
        for form in ("deterministic", "plain", "compute alone"):
            row = forms[form]
            assert row["step_ms"] > 0, (case, form)
            assert [row[key] for key in CUDA_ONLY] == [None] * len(CUDA_ONLY)
        assert forms["deterministic"]["ratio"] > 0
    assert list(data["cases"]) == ["unet-s5-d16", "smp-unet-r50", "segformer-b2", "vit-b-linear"]


def rows(*, ours, plain, alone, captured=None, graph=False):
    forms = {
        "deterministic": {"outcome": "ok", "step_ms": ours, "captured": graph},
        "plain": {"outcome": "ok", "step_ms": plain},
        "compute alone": {"outcome": "ok", "step_ms": alone},
    }
    if captured is not None:
        forms["compute alone, captured"] = {"outcome": "ok", "step_ms": captured}
    derive(forms)
    return forms


def judged(unet, *, card="NVIDIA H100 80GB HBM3", bits="ok"):
    checks = {name: {"outcome": bits} for name in gpu_report.BITS}
    return promises({"card": card, "cases": {"unet-s5-d16": unet}, "checks": checks})


UNET_MS, UNET_RATIO, UNET_OVERHEAD = (
    "unet-s5-d16: at most 12 ms a step",
    "unet-s5-d16: at least 1.5 of the plain loop",
    "unet-s5-d16: under 8% beside compute alone",
)


def test_promises_that_are_kept_and_broken():
    kept = judged(rows(ours=10, plain=20, alone=9.5))
    assert [kept[name] for name in (UNET_MS, UNET_RATIO, UNET_OVERHEAD)] == [True, True, True]
    assert kept["the same bits twice"] is True
    broken = judged(rows(ours=13, plain=19, alone=11.9), bits="failed")
    assert [broken[name] for name in (UNET_MS, UNET_RATIO, UNET_OVERHEAD)] == [False, False, False]
    assert broken["the same bits after a stop"] is False
    assert judged(rows(ours=13, plain=20, alone=12), card="Tesla T4")[UNET_MS] is None
    assert judged(rows(ours=10, plain=None, alone=None))[UNET_RATIO] is None
    assert judged({"deterministic": {"outcome": "failed", "reason": "x"}})[UNET_MS] is False
    assert set(judged(rows(ours=13, plain=20, alone=12), card="CPU").values()) == {None}


def test_a_captured_step_is_beside_captured_compute():
    assert rows(ours=10, plain=20, alone=30, captured=9, graph=True)["deterministic"]["overhead"] == 0.1
    assert rows(ours=40, plain=20, alone=30, captured=9)["deterministic"]["overhead"] == 0.25


def test_the_verdict_names_what_is_broken():
    data = {"card": HEAD["card"], "promises": {"a": True, "b": None}}
    assert verdict(data) == ("kept; not measured: b", 0)
    assert verdict({**data, "promises": {"a": True, "b": False, "c": False}}) == ("broken: b; c", 1)


def item(name, run, *, seconds=0.0):
    return Item(section="checks", name=name, form="", seconds=seconds, run=run)


def test_a_failure_ends_nothing_and_the_file_is_written_each_time(tmp_path):
    report, seen = Report(tmp_path / "result.json", HEAD), []

    def fails():
        raise RuntimeError("CUDA error: no luck\nand more")

    def skips():
        raise Skip("not there")

    def looks():
        seen.append(json.loads(report.path.read_text())["checks"])
        return {"value": "fine"}

    items = [item("first", fails), item("second", skips), item("third", looks), item("last", looks, seconds=1e6)]
    run_all(items, report, until=time.monotonic() + 60, say=seen.append)
    assert seen[0] == "first: failed (RuntimeError: CUDA error: no luck)"
    assert list(seen[2]) == ["first", "second"]
    outcomes = {name: row["outcome"] for name, row in report.data["checks"].items()}
    assert outcomes == {"first": "failed", "second": "skipped", "third": "ok", "last": "skipped"}
    assert "left of 1000000" in report.data["checks"]["last"]["reason"]
    assert any("third" in line and "fine" in line for line in table(report.data))


def test_missing_packages_come_first(monkeypatch, capsys):
    monkeypatch.setattr(gpu_check, "_installed", lambda name: name not in {"kornia", "timm", "dvc"})
    assert gpu_check.main(["--device", "cpu"]) == 2
    said = capsys.readouterr().out
    assert "not needed here: dvc\n" in said
    assert "not installed: kornia, timm; bring them as wheels for Python 3" in said


def test_time_in_which_kernels_overlap_counts_once():
    assert device_steps._covered([(0, 4), (1, 2), (3, 6), (8, 9)]) == 7


@pytest.mark.parametrize(("inside", "place"), [("lib/maskline/engine/train.py", "lib/maskline/engine/train.py:7")])
def test_a_wait_is_named_by_its_line(root, inside, place):
    warning = type("Warning", (), {"filename": str(root / inside), "lineno": 7})
    assert device_steps._place(warning) == place
    assert device_steps._place(type("Warning", (), {"filename": "/opt/torch/x.py", "lineno": 1})) == "x.py:1"
