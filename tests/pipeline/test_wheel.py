"""The wheel by itself, in an environment that has no checkout: commands, a new project, its first dvc repro."""

import json
import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from maskline.projects import recipes
from tools.trial import TINY, Project, copy_of, ran

pytestmark = pytest.mark.pipeline


@pytest.fixture(scope="module")
def wheel(root, tmp_path_factory):
    source = copy_of(root, tmp_path_factory.mktemp("source"), {}).folder
    pip("wheel", source, "--no-deps", "--no-build-isolation", "--wheel-dir", source.parent)
    (made,) = source.parent.glob("maskline-*.whl")
    return made


def pip(*arguments):
    subprocess.run([sys.executable, "-m", "pip", *map(str, arguments), "--quiet", "--no-index"], check=True)


@pytest.fixture(scope="module")
def outside(wheel, tmp_path_factory):
    """An empty folder, and an environment with the wheel; it borrows the installed packages, but not maskline."""
    base = tmp_path_factory.mktemp("outside")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", base / "venv"], check=True)
    python = base / "venv" / "bin" / "python"
    pip("--python", python, "install", "--no-deps", wheel)
    site = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    (Path(site) / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (base / "empty").mkdir()
    place = Project(base / "empty", base / "site")
    place.environment["PATH"] = f"{base / 'venv' / 'bin'}{os.pathsep}{place.environment['PATH']}"
    place.environment.pop("PYTHONPATH", None)
    found = place.run("python", "-c", "import maskline; print(maskline.__file__)").strip()
    assert Path(found) == Path(site) / "maskline" / "__init__.py"
    return place


def test_it_carries_the_pipeline_once(wheel, root):
    names = zipfile.ZipFile(wheel).namelist()
    assert len(names) == len(set(names))
    carried = {name.removeprefix("maskline/project/") for name in names if name.startswith("maskline/project/")}
    for name in ("dvc.yaml", "params.yaml", "params.schema.json", "stages/train.py", ".dvc/config", ".gitignore"):
        assert name in carried
    assert {f"recipes/{path.name}" for path in (root / "recipes").glob("*.yaml")} <= carried
    assert not [name for name in names if "__pycache__" in name or name.startswith(("tests/", "tools/", "stages/"))]


def test_commands_that_need_no_project(outside):
    assert "Make a project of one's own." in outside.run("maskline", "--help")
    listed = outside.run("maskline", "recipe", "list", "--all").splitlines()
    assert [line.split()[0] for line in listed] == recipes.names()
    for name in (next(iter(recipes.files())), "mask2former_r50_8xb2-90k_cityscapes-512x1024"):
        assert outside.run("maskline", "recipe", "show", name) == recipes.find(name).read_text(encoding="utf-8")
    assert "multiply-adds" in outside.run("maskline", "summary", "fcn_r18-d8_1xb8-80k_cityscapes-512x1024")
    assert outside.run("maskline", "docs", "--print", "resume").startswith("# Go on after a stop")


@pytest.mark.parametrize("command", ["name", "explain optimizer", "sweep-seeds 2", "compare HEAD workspace"])
def test_commands_that_need_a_project_say_so_in_one_line(outside, command):
    printed = outside.run("maskline", *command.split(), code=2)
    assert printed.startswith("error: ")
    assert printed.count("\n") == 1


def test_doctor_finds_no_project(outside):
    report = json.loads(outside.run("maskline", "doctor", "--json", code=1))
    states = {check["check"]: check for check in report["checks"]}
    assert states["settings"]["state"] == "fault"
    assert "maskline new" in states["settings"]["remedy"]


@pytest.fixture(scope="module")
def demo(outside):
    """The project of maskline new, after its first dvc repro."""
    settings = [f"{key}={str(value).replace(' ', '')}" for key, value in TINY.items()]
    outside.run("maskline", "new", "demo", *[part for setting in settings for part in ("-S", setting)])
    project = Project(outside.folder / "demo", outside.folder.parent / "site")
    project.environment = outside.environment
    project.printed = project.run("dvc", "repro")
    return project


def test_the_first_repro_is_green(demo):
    assert len(ran(demo.printed)) == 6
    assert ran(demo.run("dvc", "repro")) == []
    assert 0 <= json.loads(demo.read("reports/evaluate/metrics.json"))["mDice"] <= 1
    assert json.loads(demo.run("maskline", "doctor", "--json"))["ok"]


def test_a_change_is_an_experiment(demo):
    demo.commit("run")
    for override in ("optimizer.lr=0.01", "schedule.power=1.0", "++optimizer.eps=1e-6"):
        key, value = override.strip("+").split("=")
        assert ran(demo.run("dvc", "exp", "run", "-S", override)) == ["train", "evaluate", "export"]
        assert re.search(rf"params.yaml +{key} .*{float(value):g}", demo.run("dvc", "params", "diff"))
        assert "reports/train/metrics.json" in demo.run("dvc", "metrics", "diff")


def test_another_maskline_runs_everything_again(demo):
    text = demo.read("requirements.lock").decode()
    path = demo.folder / "requirements.lock"
    path.write_text(text.replace("maskline==", "maskline==0.0.", 1))
    printed = demo.run("dvc", "repro", code=255)
    assert "run maskline new --upgrade" in printed
    demo.run("git", "checkout", "requirements.lock")


def test_prediction_far_from_any_project(demo, outside):
    picture = next((demo.folder / "reports" / "evaluate" / "gallery").glob("*.jpg"))
    outside.run("maskline", "predict", "demo/data/export/model.onnx", str(picture), "-o", "out")
    assert (outside.folder / "out" / "shares.csv").is_file()
