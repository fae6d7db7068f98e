"""sweep-seeds with DVC's own experiments, on a project of one small stage."""

import json
import subprocess
import sys

import pytest

DVC_YAML = """
stages:
  evaluate:
    cmd: python evaluate.py
    deps: [evaluate.py]
    params: [train.seed]
    metrics:
    - metrics.json: {cache: false}
"""
EVALUATE = """
import json, re
seed = int(re.search(r"seed: (\\d+)", open("params.yaml").read()).group(1))
json.dump({"mIoU": 0.5 + seed / 10, "uncertainty_95": {"mIoU": {"low": 0, "high": 1}}}, open("metrics.json", "w"))
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    folder = tmp_path / "project"
    folder.mkdir()
    for name in ("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"):
        monkeypatch.setenv(name, "test@example.invalid")
    for name in ("DVC_STAGE", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    monkeypatch.setenv("PATH", f"{sys.prefix}/bin:/usr/local/bin:/usr/bin:/bin")
    monkeypatch.chdir(folder)
    (folder / "dvc.yaml").write_text(DVC_YAML)
    (folder / "evaluate.py").write_text(EVALUATE)
    (folder / "params.yaml").write_text("train:\n  seed: 0\n")
    run("git", "init", "-q", "-b", "main")
    run(sys.executable, "-m", "dvc", "init", "-q")
    run(sys.executable, "-m", "dvc", "repro", "-q")
    run("git", "add", "-A")
    run("git", "commit", "-q", "-m", "a run")
    return folder


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def sweep(number):
    code = "from maskline.commands.sweep_seeds import main; main()"
    return json.loads(run(sys.executable, "-c", code, str(number), "--metrics", "metrics.json", "--json"))


@pytest.mark.pipeline
def test_seeds_run_as_experiments_and_the_workspace_stays(project):
    pytest.importorskip("dvc")
    before = run("git", "status", "--porcelain"), (project / "metrics.json").read_bytes()
    found = sweep(2)
    assert found["seeds"] == [0, 1]
    assert found["scores"] == {"mIoU": {"mean": 0.55, "std": pytest.approx(0.070711), "min": 0.5, "max": 0.6}}
    assert (run("git", "status", "--porcelain"), (project / "metrics.json").read_bytes()) == before
    names = run("git", "for-each-ref", "--format=%(refname:lstrip=-1)", "refs/exps").split()
    assert {"seed-0", "seed-1"} <= set(names)
    assert sweep(3)["scores"]["mIoU"]["max"] == 0.7  # and the first two are not run again
    assert run("git", "for-each-ref", "--format=%(refname:lstrip=-1)", "refs/exps").split().count("seed-0") == 1
