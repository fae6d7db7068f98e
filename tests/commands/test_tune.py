"""``maskline tune``: a table, two files, and plain values in params.yaml, whose comments stay."""

import csv
import io
import json
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from maskline.analysis import tune as analysis
from maskline.analysis import tune_waits
from maskline.commands import tune
from maskline.params.whole import load_params
from maskline.runtime import device
from maskline.runtime.processes import waiting
from tools.trial import TINY, write_params

KEYS = ("channels_last", "precision", "compile", "threads")


@pytest.fixture(scope="module")
def prepared(shipped_params, tmp_path_factory):
    from stages import convert, download

    base = tmp_path_factory.mktemp("tune")
    settings = base / "params.yaml"
    settings.write_bytes((shipped_params).read_bytes())
    write_params(settings, TINY)
    shared = ["--params", str(settings), "--raw", str(base / "raw")]
    download.main(shared, standalone_mode=False)
    made = ["--prepared", str(base / "prepared")]
    for option in convert.main.params:  # the reports go beside
        if option.name not in {"params_path", "raw", "prepared"}:
            made += [option.opts[0], str(base / option.name)]
    convert.main([*shared, *made], standalone_mode=False)
    return base


@pytest.fixture
def project(prepared, tmp_path):
    (tmp_path / "params.yaml").write_bytes((prepared / "params.yaml").read_bytes())
    return tmp_path


@pytest.fixture
def run(project, prepared):
    def run(*options):
        given = ["--params", str(project / "params.yaml"), "--prepared", str(prepared / "prepared")]
        given += ["--reports", str(project / "reports"), "--steps", "2", "--threads", "1", "--no-compile"]
        return CliRunner().invoke(tune.main, [*given, *options])

    return run


def test_it_writes_plain_values_and_a_table(run, project):
    before = (project / "params.yaml").read_text()
    write_params(project / "params.yaml", {"train.precision": "auto", "train.threads": 1})
    result = run()
    assert result.exit_code == 0, result.output
    found = json.loads((project / "reports" / "tune.json").read_text())
    rows = list(csv.DictReader(io.StringIO((project / "reports" / "tune.csv").read_text())))
    assert len(rows) == len(found["measured"]) == 4
    train = load_params(project / "params.yaml").train
    assert {key: getattr(train, key) for key in KEYS} == found["chosen"]
    assert train.precision in {"fp32", "bf16"}
    after = (project / "params.yaml").read_text()
    comments = [line.strip() for line in before.splitlines() if line.strip().startswith("#")]
    assert [line.strip() for line in after.splitlines() if line.strip().startswith("#")] == comments
    changed = {line.split(":")[0].strip() for line in set(after.splitlines()) ^ set(before.splitlines())}
    assert changed <= set(KEYS)
    assert "chosen" in result.stdout


def test_a_dry_run_writes_nothing(run, project):
    before = (project / "params.yaml").read_bytes()
    result = run("--dry-run", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert {tuple(row[key] for key in KEYS) for row in found["measured"]} == {
        (last, precision, False, 1) for last in (False, True) for precision in ("fp32", "bf16")
    }
    assert found["iterations"] == TINY["train.iterations"]
    assert (project / "params.yaml").read_bytes() == before
    assert not (project / "reports").exists()


def test_ways_of_waiting(run, monkeypatch):
    """Each in processes that were told so; nothing where the environment says it, or one thread computes."""
    monkeypatch.setenv("PYTHONPATH", str(Path(tune.__file__).parents[2]))
    monkeypatch.setattr(tune_waits, "_ROUNDS", 1)
    started, run_child = [], subprocess.run

    def child(command, *, env, **options):
        started.append((command[command.index("--wait") + 1], "GOMP_SPINCOUNT" in env))
        return run_child(command, env=env, **options)

    monkeypatch.setattr(subprocess, "run", child)
    assert json.loads(run("--dry-run", "--json", "--threads", "2").stdout)["waits"] == {}, "GOMP_SPINCOUNT is set"
    monkeypatch.delenv("GOMP_SPINCOUNT")
    monkeypatch.setattr(waiting, "is_busy", lambda: False)  # else the first run says it for the next ones
    assert json.loads(run("--dry-run", "--json").stdout)["waits"] == {}, "one thread"
    assert started == []
    monkeypatch.setattr(analysis, "best", lambda measured, _: measured[-1].choice)
    result = run("--dry-run", "--json", "--threads", "2")
    assert started == [("spin", False), ("yield", False)]
    waits = json.loads(result.stdout)["waits"]
    assert list(waits) == ["spin", "yield"]
    assert all(0 < seconds < 60 for seconds in waits.values())
    monkeypatch.setattr(subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 2, "", "error: x"))
    assert json.loads(run("--dry-run", "--json", "--threads", "2").stdout)["waits"] == {}


def test_without_data(run, tmp_path):
    result = run("--prepared", str(tmp_path / "nowhere"))
    assert result.exit_code == 2
    assert "run the convert stage" in result.stderr


def test_compile_auto_is_for_gpus(monkeypatch):
    assert device.resolve_compile("auto", "cpu") is False
    assert device.resolve_compile(True, "cpu") is True
    assert device.resolve_compile(False, "cuda") is False
    monkeypatch.setattr(device, "find_spec", lambda name: name == "triton")
    monkeypatch.setattr(device.shutil, "which", lambda name: "/usr/bin/gcc" if name == "gcc" else None)
    assert device.resolve_compile("auto", "cuda") is True
    monkeypatch.setattr(device.shutil, "which", lambda _: None)
    assert device.resolve_compile("auto", "cuda") is False
