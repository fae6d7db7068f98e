import os
import subprocess
import sys
import time

import pytest

from maskline.doctor import project
from maskline.doctor.left_runs import left_over, left_runs, remove_left_runs


@pytest.fixture
def copies(tmp_path):
    """A project's .dvc/tmp/exps as DVC has it: two copies, and what is none."""
    exps = tmp_path / ".dvc" / "tmp" / "exps"
    folders = [exps / "tmpab12cd_z", exps / "standalone" / "tmpzzzzzzz1"]
    for folder in folders:
        (folder / "data").mkdir(parents=True)
        (folder / "data" / "raw.bin").write_bytes(bytes(3_000_000))
        (folder / "data" / "raw.bin").chmod(0o444)
        (folder / "link").symlink_to(tmp_path)
    (exps / "run" / "0a1b").mkdir(parents=True)
    (exps / "celery" / "tmpabcdefgh").mkdir(parents=True)
    (exps / "rwlock").write_text("{}")
    (exps / "tmplinked1").symlink_to(tmp_path)
    for path in [*folders[0].rglob("*"), folders[0]]:
        os.utime(path, (0, time.time() - 3 * 86400), follow_symlinks=False)
    return folders


def test_they_are_named_and_removed_and_nothing_else(tmp_path, copies):
    assert left_over(tmp_path / "elsewhere").state == "ok"
    finding = left_over(tmp_path)
    assert finding.found.startswith(
        "2 folders of killed ones are left in .dvc/tmp/exps, 6.0 MB: tmpab12cd_z (3.0 MB, 3"
    )
    assert "3 days old), tmpzzzzzzz1" in finding.found
    assert finding.remedy.startswith("maskline doctor --fix")
    others = {path for path in tmp_path.rglob("*") if not any(path.is_relative_to(folder) for folder in copies)}
    lines = list(remove_left_runs(tmp_path))
    assert [line.split(",")[0] for line in lines] == [str(folder.relative_to(tmp_path)) for folder in copies]
    assert set(tmp_path.rglob("*")) == others
    assert left_over(tmp_path).state == "ok"
    assert list(remove_left_runs(tmp_path)) == []


@pytest.mark.parametrize("how", ["stage", "command", "worker"])
def test_nothing_is_removed_while_dvc_is_at_work_in_the_project(tmp_path, copies, tmp_path_factory, how):
    words = {"stage": [], "command": ["dvc"], "worker": ["/venv/site-packages/dvc/__main__.py", "exp", "queue-worker"]}
    running = subprocess.Popen(
        [sys.executable, "-c", "input()", *words[how]],
        cwd=tmp_path_factory.mktemp("other") if how == "stage" else tmp_path,
        env={**os.environ, **({"DVC_ROOT": str(tmp_path)} if how == "stage" else {})},
        stdin=subprocess.PIPE,
    )
    try:
        assert project.dvc_processes(tmp_path) == [running.pid]
        assert left_over(tmp_path).state == "ok"
        assert list(remove_left_runs(tmp_path)) == []
        assert all(folder.is_dir() for folder in copies)
    finally:
        running.communicate(b"\n")


def test_a_folder_in_which_someone_stands_stays(tmp_path, copies):
    running = subprocess.Popen([sys.executable, "-c", "input()"], cwd=copies[0] / "data", stdin=subprocess.PIPE)
    try:
        assert [run.folder for run in left_runs(tmp_path)] == copies[1:]
    finally:
        running.communicate(b"\n")
