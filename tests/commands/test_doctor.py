"""Every check with a fault of its own, and the command on a healthy and on a broken project."""

import fcntl
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys

import pytest
from click.testing import CliRunner
from dvc.fs import localfs
from dvc.rwlock import rwlock
from ruamel.yaml import YAML

from maskline.cli import kept_lock
from maskline.commands.doctor import main
from maskline.core.errors import ProjectBusyError
from maskline.doctor import machine, project
from maskline.doctor.findings import Finding
from maskline.doctor.fixing import fix
from maskline.params.whole import json_schema, load_params
from tools.trial import complete_params


@pytest.fixture
def folder(root, shipped_params, tmp_path, monkeypatch):
    """A project of its own: settings, schema, .dvc and one commit."""
    shutil.copy(shipped_params, tmp_path)
    (tmp_path / "dvc.yaml").write_text("stages: {a: {cmd: x, deps: [params.yaml], outs: [b]}, c: {cmd: x, deps: [b]}}")
    (tmp_path / "params.schema.json").write_text(json.dumps(json_schema()))
    (tmp_path / ".dvc" / "tmp").mkdir(parents=True)
    shutil.copy(root / ".dvc" / "config", tmp_path / ".dvc" / "config")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "--quiet", "--allow-empty", "-m", "first")
    monkeypatch.delenv("MASKLINE_MIRROR", raising=False)
    return tmp_path


def git(folder, *arguments):
    subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True)


def change(folder, section, **values):
    settings = complete_params(folder / "params.yaml")
    settings[section] |= values
    with (folder / "params.yaml").open("w") as stream:
        YAML().dump(settings, stream)


def examine(folder, *options):
    result = CliRunner().invoke(main, ["--params", str(folder / "params.yaml"), "--json", *options])
    report = json.loads(result.output)
    return result.exit_code, {check["check"]: check for check in report["checks"]}, report["ok"]


def test_a_healthy_project(folder):
    code, checks, well = examine(folder)
    assert (code, well) == (0, True), checks
    assert "fault" not in {check["state"] for check in checks.values()}
    assert {"python", "versions", "torch", "cpu", "gpu", "torchvision", "dvc lock", "dvc index", "disk"} <= set(checks)
    assert all(bool(check["remedy"]) == (check["state"] != "ok") for check in checks.values())


def test_table_for_people(folder, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    result = CliRunner().invoke(main, ["--params", str(folder / "params.yaml")])
    assert result.exit_code == 0
    assert "dvc repro can run here" in result.output
    assert "\x1b[32m" not in result.output


def test_wrong_settings(folder):
    change(folder, "train", threads=0)
    code, checks, well = examine(folder)
    assert (code, well) == (1, False)
    assert checks["settings"]["state"] == "fault"
    assert "train.threads" in checks["settings"]["found"]
    assert "data source" not in checks


def test_more_threads_than_cores_and_no_gpu():
    found = machine.cpu(capability="AVX2", bf16=False, cores=4, threads=16)
    assert (found.state, found.remedy) == (
        "warning",
        "set train.threads to 4; more threads than cores slow each other down",
    )
    assert "no native bf16" in found.found
    assert machine.cpu(capability="AVX2", bf16=True, cores=4, threads=4).state == "ok"
    assert machine.load(mean=2.0, processors=2).state == "ok"
    found = machine.load(mean=2.1, processors=2)
    assert (found.state, found.found) == ("warning", "2.1 processes at a time in the last minute, for 2 processors")
    gpu = {"seen": [], "built_for_cuda": False, "driver": False, "device": "auto"}
    assert machine.gpu(**gpu).state == "ok"
    assert machine.gpu(**gpu | {"device": "cuda"}).state == "fault"
    assert "torch for CUDA" in machine.gpu(**gpu | {"driver": True}).remedy
    assert "nvidia-smi" in machine.gpu(**gpu | {"driver": True, "built_for_cuda": True}).remedy
    assert machine.gpu(**gpu | {"seen": ["H100"], "device": "cuda"}).found == "H100"


def test_lock_file(tmp_path):
    lock = tmp_path / "requirements.lock"
    lock.write_text("# made\nclick==8.5.1\nRuamel.YAML==0.18\ntorch==2.13.0\nruff==0.1 ; extra\n")
    installed = {"click": "8.5.1", "ruamel-yaml": "0.18", "torch": "2.13.0+cpu", "ruff": "0.1"}

    def version(name):
        if name not in installed:
            raise importlib.metadata.PackageNotFoundError(name)
        return installed[name]

    def outcome():
        return list(machine.packages(lock, version=version))[-1]

    assert outcome() == Finding(check="lock", state="ok", found="all 4 packages as in requirements.lock")
    installed["torch"] = "2.11.0"
    assert (outcome().state, outcome().found) == ("warning", "1 of 4 differ: torch 2.11.0 for 2.13.0")
    del installed["ruff"]
    assert outcome().found == "2 of 4 differ: no ruff, torch 2.11.0 for 2.13.0"
    del installed["torch"]
    if machine.required_packages():
        assert (outcome().state, outcome().found) == ("fault", "missing: torch")
    lock.unlink()
    assert outcome().state == "ok"


def test_required_packages_are_those_of_the_pipeline():
    assert {"torch", "ruamel-yaml", "pandera"} <= machine.required_packages()
    assert not {"ruff", "pytest"} & machine.required_packages()


def test_disk_and_folders(tmp_path):
    assert machine.disk(tmp_path, free=50 << 30).state == "ok"
    assert machine.disk(tmp_path, free=1 << 30).state == "warning"
    assert machine.disk(tmp_path, free=1 << 20) == Finding(
        check="disk",
        state="fault",
        found="0.0 GiB free",
        remedy="free some space: dvc gc --workspace --all-experiments drops what no experiment uses",
    )
    assert machine.writable("x", tmp_path / "a" / "b", remedy="r").state == "ok"
    (tmp_path / "file").write_text("")
    assert machine.writable("x", tmp_path / "file" / "b", remedy="r").state == "fault"


def test_dvc_states(folder, tmp_path, monkeypatch):
    monkeypatch.delenv("DVC_NO_ANALYTICS", raising=False)
    assert [found.state for found in project.dvc(folder)] == ["ok", "ok", "ok"]
    (found,) = project.dvc(tmp_path / "elsewhere")
    assert (found.state, "dvc init" in found.remedy) == ("fault", True)
    (folder / ".dvc" / "config").write_text("[core]\n    autostage = true\n")
    assert next(project.dvc(folder)).remedy == "if you would rather not: dvc config core.analytics false"
    (folder / ".dvc" / "config.local").write_text("[core]\n    analytics = false\n    site_cache_dir = /there\n")
    assert next(project.dvc(folder)).state == "ok"
    monkeypatch.delenv("DVC_SITE_CACHE_DIR", raising=False)
    assert str(project.site_cache(folder / ".dvc")) == "/there"
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", "/mine")
    assert str(project.site_cache(folder / ".dvc")) == "/mine"


def test_pipeline_that_lacks_a_file(folder, root):
    assert project.pipeline(root / "dvc.yaml").found == "6 stages, with all files that they need"
    assert project.pipeline(folder / "dvc.yaml").state == "ok"
    (folder / "dvc.yaml").write_text("stages: {a: {cmd: x, deps: [stages/a.py]}}")
    found = project.pipeline(folder / "dvc.yaml")
    assert (found.state, found.remedy) == ("fault", "git checkout -- stages/a.py")
    (folder / "dvc.yaml").unlink()
    code, checks, _ = examine(folder)
    assert (code, checks["pipeline"]["state"]) == (1, "fault")
    assert "maskline new" in checks["pipeline"]["remedy"]


def test_without_dvc(folder, monkeypatch):
    monkeypatch.setattr(project, "find_spec", lambda _: None)
    assert [(found.state, found.found) for found in project.dvc(folder)] == [("fault", "not installed")]


def test_dvc_lock_held_by_another_process(folder):
    (folder / ".dvc" / "tmp" / "lock").write_text("")
    with (folder / ".dvc" / "tmp" / "lock").open() as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        assert project.dvc_lock(folder / ".dvc").found == "held by another process"
    assert project.dvc_lock(folder / ".dvc").state == "ok"
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    for pid, state in ((os.getpid(), "fault"), (gone.pid, "ok")):
        user = {"pid": pid, "cmd": "dvc repro"}
        for uses in (
            {"write": {"/x": user}},
            {"read": {"/y": [user]}},
            {"write": {"/x": user}, "read": {"/y": [user]}},
        ):
            (folder / ".dvc" / "tmp" / "rwlock").write_text(json.dumps(uses))
            assert project.dvc_lock(folder / ".dvc").state == state
    with rwlock(str(folder / ".dvc" / "tmp"), localfs, "dvc repro", ["read"], ["written"], False):
        assert project.dvc_lock(folder / ".dvc").found == f"held by process {os.getpid()}"
    assert project.dvc_lock(folder / ".dvc").state == "ok"
    for torn in ("", "{", "[]", '{"write": {"/x": {}}}', '{"read": 3}'):
        (folder / ".dvc" / "tmp" / "rwlock").write_text(torn)
        assert project.dvc_lock(folder / ".dvc").found.endswith("rwlock is torn")
    (folder / ".dvc" / "tmp" / "rwlock").write_text("{}")
    (folder / ".dvc" / "tmp" / "exps").mkdir()
    (folder / ".dvc" / "tmp" / "exps" / "rwlock").write_text("{")
    assert project.dvc_lock(folder / ".dvc").state == "warning", "dvc repro does not read it"


def test_a_torn_dvc_lock(committed, folder):
    assert project.recorded(folder / "dvc.lock").found == "none yet"
    whole = committed("dvc.lock").decode()
    (folder / "dvc.lock").write_text(whole)
    assert project.recorded(folder / "dvc.lock").state == "ok"
    in_a_key = [whole.index("    - path: ", start) + 8 for start in (3000, len(whole) // 2)]
    for end in (0, 9, 200, *in_a_key):
        (folder / "dvc.lock").write_text(whole[:end])
        dvc = subprocess.run(
            [sys.executable, "-m", "dvc", "status"], cwd=folder, capture_output=True, text=True, check=False
        )
        found = project.recorded(folder / "dvc.lock")
        assert (found.state == "fault") == ("'./dvc.lock' " in dvc.stderr), (end, dvc.stderr)
        assert found.state == "ok" or ("maskline doctor --fix" in found.remedy and "\n" not in found.found)
    (folder / "dvc.lock").write_text(whole.rstrip()[:-9])
    assert project.recorded(folder / "dvc.lock").found == "torn (its last line has no end)"
    (folder / "dvc.lock").write_text("<<<<<<< ours\n")
    assert "git checkout --ours" in project.recorded(folder / "dvc.lock").remedy
    assert list(fix(folder)) == []


def test_fix_mends_what_is_torn_and_nothing_else(root, folder):
    assert CliRunner().invoke(main, ["--params", str(folder / "params.yaml"), "--quiet"]).exit_code == 2
    assert examine(folder, "--fix", "--quiet")[::2] == (0, True)
    whole = (root / "dvc.lock").read_bytes()
    (folder / "dvc.lock").write_bytes(whole)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert list(fix(folder)) == []
    assert {path: path.read_bytes() for path in before} == before
    git(folder, "add", "dvc.lock")
    git(folder, "-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "--quiet", "-m", "run")
    (folder / ".dvc" / "tmp" / "exps").mkdir()
    torn = {
        folder / "dvc.lock": "dvc.lock.torn",
        folder / ".dvc" / "tmp" / "rwlock": "rwlock.torn",
        folder / ".dvc" / "tmp" / "exps" / "rwlock": "exps-rwlock.torn",
    }
    for path in torn:
        path.write_text("{" + path.name)
    result = CliRunner().invoke(main, ["--params", str(folder / "params.yaml"), "--fix"])
    lines = result.output.splitlines()
    assert (result.exit_code, "dvc repro can run here" in result.output) == (0, True)
    assert [line.split()[0] for line in lines[:3]] == ["dvc.lock", ".dvc/tmp/rwlock", ".dvc/tmp/exps/rwlock"]
    assert (folder / "dvc.lock").read_bytes() == whole
    for path, name in torn.items():
        assert (folder / ".maskline" / name).read_text() == "{" + path.name
    assert not (folder / ".dvc" / "tmp" / "rwlock").exists()
    assert list(fix(folder)) == []
    assert list(fix(folder / ".dvc")) == [], "no project"


def test_fix_puts_back_the_newest_whole_dvc_lock(folder):
    lock, copy = folder / "dvc.lock", kept_lock.kept_lock(folder)
    lock.write_text("sch")
    assert "removed" in next(fix(folder))
    assert not lock.exists()
    copy.parent.mkdir(parents=True)
    for content, put_back in (("schema: '2.0'\n", True), ("schema: '2", False)):
        copy.write_text(content)
        lock.write_text("")
        assert ("the stages' copy of 20" in next(fix(folder))) == put_back
        assert lock.exists() == put_back


def test_fix_waits_for_dvc(folder, monkeypatch):
    monkeypatch.setattr("dvc.lock.DEFAULT_TIMEOUT", 0.1)
    (folder / "dvc.lock").write_text("")
    (folder / ".dvc" / "tmp" / "lock").write_text("")
    with (folder / ".dvc" / "tmp" / "lock").open() as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        result = CliRunner().invoke(main, ["--params", str(folder / "params.yaml"), "--fix"])
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "a dvc command holds it; wait until it has ended" in result.stderr
    assert (folder / "dvc.lock").read_text() == ""


@pytest.mark.parametrize("how", ["stage", "command"])
def test_fix_leaves_the_list_of_users_of_a_running_dvc(folder, tmp_path_factory, how):
    users = folder / ".dvc" / "tmp" / "rwlock"
    users.write_text("{")
    program = ["-c", "input()"] + (["dvc"] if how == "command" else [])
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    running = subprocess.Popen(
        [sys.executable, *program],
        cwd=folder if how == "command" else elsewhere,
        env={**os.environ, **({"DVC_ROOT": str(folder)} if how == "stage" else {})},
        stdin=subprocess.PIPE,
    )
    try:
        assert project.dvc_processes(folder) == [running.pid]
        assert project.dvc_processes(elsewhere) == []
        with pytest.raises(ProjectBusyError, match=str(running.pid)):
            list(fix(folder))
        assert users.read_text() == "{"
    finally:
        running.communicate(b"\n")
    assert len(list(fix(folder))) == 1


def test_head_that_a_killed_experiment_took_off_its_branch(folder):
    def head(option="--symbolic-full-name"):
        command = ["git", "-C", str(folder), "rev-parse", option, "HEAD"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    commit = head("--verify")
    branch = head().removeprefix("refs/heads/")
    git(folder, "checkout", "--quiet", "--detach", commit)
    assert project.git(folder).state == "ok", "a person's doing"
    git(folder, "update-ref", "refs/exps/exec/EXEC_MERGE", "HEAD")
    assert project.git(folder).remedy.startswith(f"maskline doctor --fix, or git switch {branch}")
    (folder / "params.yaml").write_text("edited")
    assert [f"git is on {branch} again" in line for line in fix(folder)] == [True]
    assert head() == f"refs/heads/{branch}"
    assert (folder / "params.yaml").read_text() == "edited"
    git(folder, "checkout", "--quiet", "--detach", commit)
    git(folder, "-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "--quiet", "--allow-empty", "-m", "experiment")
    assert list(fix(folder)) == [], "it holds a commit that the branch does not have"


def test_git_states(folder, tmp_path_factory):
    assert project.git(folder).found == "a whole repository"
    shallow = tmp_path_factory.mktemp("clones") / "shallow"
    git(folder, "-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "--quiet", "--allow-empty", "-m", "second")
    git(folder, "clone", "--quiet", "--depth", "1", f"file://{folder}", str(shallow))
    assert "git fetch --unshallow" in project.git(shallow).remedy
    bare = tmp_path_factory.mktemp("bare")
    assert project.git(bare).state == "fault"
    git(bare, "init", "--quiet")
    assert project.git(bare).found == "no commit yet"


def test_schema(folder):
    assert project.schema(folder / "params.schema.json").found == "params.schema.json is the code's"
    (folder / "params.schema.json").write_text("{}")
    assert project.schema(folder / "params.schema.json").remedy.startswith("write it again: make schema")


def test_the_maskline_that_runs_is_the_projects(folder, root):
    assert project.package(folder).state == "ok"
    assert project.package(root).found == "the checkout's own"
    (folder / "requirements.lock").write_text("maskline==0.0.1  # code 00\n")
    found = project.package(folder)
    assert (found.state, "written for maskline 0.0.1" in found.found) == ("fault", True)
    assert "maskline new --upgrade" in found.remedy
    (folder / "lib" / "maskline").mkdir(parents=True)
    assert project.package(folder).state == "warning"


def test_data_source(folder, tmp_path):
    change(folder, "data", name="chase_db1")
    data = load_params(folder / "params.yaml").data

    def outcome(**environment):
        return project.source(data, root=folder, environment=environment, network=False)

    assert "(not asked; --network asks)" in outcome().found
    assert outcome(MASKLINE_MIRROR="/nowhere").state == "fault"
    (tmp_path / "CHASEDB1.zip").write_bytes(b"")
    assert outcome(MASKLINE_MIRROR=str(tmp_path)).found == "CHASEDB1.zip in MASKLINE_MIRROR"
    data = data.model_copy(update={"archive": "mine.zip"})
    assert outcome().found == "no mine.zip"


def test_an_address_that_does_not_answer(folder):
    change(folder, "data", name="chase_db1", url="http://127.0.0.1:9/none.zip")  # the discard port: refused at once
    code, checks, _ = examine(folder, "--network")
    assert code == 1
    assert "cannot be reached" in checks["data source"]["found"]
    assert "MASKLINE_MIRROR" in checks["data source"]["remedy"]
