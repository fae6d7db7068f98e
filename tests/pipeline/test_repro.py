"""The line as a user runs it: dvc repro, one change, a copy elsewhere, the experiment's own code."""

import json
import shutil
import subprocess

import pytest

from maskline.params import read_yaml
from tools.trial import TINY, Project, copy_of, ran

pytestmark = pytest.mark.pipeline

NAMES = ["download", "convert", "augment-preview", "train", "evaluate", "export"]


@pytest.fixture(scope="module")
def project(root, tmp_path_factory):
    """A copy in which the whole pipeline has run once, committed as ``make commit`` would."""
    base = tmp_path_factory.mktemp("repro")
    made = copy_of(root, base, TINY)
    output = made.run("dvc", "repro")
    assert sorted(ran(output)) == sorted(NAMES)
    made.commit("run")
    return made


def test_every_output_is_there_and_finite(project):
    stages = read_yaml(project.folder / "dvc.yaml")["stages"]
    for stage in stages.values():
        for kind in ("outs", "metrics", "plots"):
            for entry in stage.get(kind, ()):
                path = project.folder / (next(iter(entry)) if isinstance(entry, dict) else entry)
                assert path.exists(), path
                if path.suffix == ".json":
                    json.loads(path.read_text(), parse_constant=pytest.fail)


def test_a_second_repro_does_nothing(project):
    before = project.read("dvc.lock")
    output = project.run("dvc", "repro")
    assert ran(output) == []
    assert "up to date" in output
    assert project.read("dvc.lock") == before
    assert project.run("git", "status", "--porcelain") == ""


def test_no_absolute_path_in_what_is_recorded(project):
    text = project.read("dvc.lock").decode() + "".join(
        path.read_text(encoding="utf-8")
        for path in (project.folder / "reports").rglob("*")
        if path.suffix in {".json", ".csv", ".html"}
    )
    assert str(project.folder) not in text
    assert str(project.folder) not in (project.folder / "data" / "models" / "model.json").read_text()


def test_another_clone_gives_the_same_bytes(project, tmp_path):
    subprocess.run(["git", "clone", "-q", project.folder, tmp_path / "clone"], check=True)
    other = Project(tmp_path / "clone", tmp_path / "site")
    output = other.run("dvc", "repro")
    assert sorted(ran(output)) == sorted(NAMES)
    assert other.read("dvc.lock") == project.read("dvc.lock")
    assert other.read("data/models/model.safetensors") == project.read("data/models/model.safetensors")
    assert other.run("git", "status", "--porcelain").split("\n")[:-1] in ([], changed_timing(other))


def changed_timing(project):
    """Timing stands beside the stages because it is never the same twice."""
    lines = project.run("git", "status", "--porcelain").split("\n")[:-1]
    names = {next(iter(e)) if isinstance(e, dict) else e for e in read_yaml(project.folder / "dvc.yaml")["metrics"]}
    return [line for line in lines if line[3:] in names]


def test_plots_open_without_the_internet(project):
    shutil.rmtree(project.folder / "reports" / "html", ignore_errors=True)
    project.run("python", "-m", "tools.plots_page")
    project.run("dvc", "plots", "show")
    page = (project.folder / "reports" / "html" / "index.html").read_text(encoding="utf-8")
    assert 'src="http' not in page
    assert "vegaEmbed" in page
    assert page.count("vegaEmbed('#") >= 4


def test_metrics_are_read_by_dvc(project):
    shown = json.loads(project.run("dvc", "metrics", "show", "--json"))
    values = next(iter(shown.values()))["data"]
    assert {"reports/train/timing.json", "reports/export/latency.json", "reports/evaluate/metrics.json"} <= set(values)
    evaluate = values["reports/evaluate/metrics.json"]["data"]
    assert 0 <= evaluate["mDice"] <= 1


def test_a_queued_kind_of_run_uses_the_experiments_own_code(project):
    path = project.folder / "stages" / "augment_preview.py"
    library = project.folder / "lib" / "maskline" / "report" / "preview.py"
    source = library.read_text(encoding="utf-8")
    assert (
        "lib/maskline/report/preview.py" in read_yaml(project.folder / "dvc.yaml")["stages"]["augment-preview"]["deps"]
    )
    try:
        library.write_text(source + '\nprint("the edited library of the experiment")\n', encoding="utf-8")
        output = project.run("dvc", "exp", "run", "--temp", "augment-preview")
    finally:
        library.write_text(source, encoding="utf-8")
    assert "the edited library of the experiment" in output
    assert ran(output) == ["augment-preview"]
    assert path.is_file()


def test_another_learning_rate_trains_again_and_converts_nothing(project):
    before = json.loads(project.read("reports/train/metrics.json"))
    output = project.run("dvc", "exp", "run", "-S", "optimizer.lr=0.01")
    assert ran(output) == ["train", "evaluate", "export"]
    assert json.loads(project.read("reports/train/metrics.json")) != before
    assert read_yaml(project.folder / "params.yaml")["optimizer"]["lr"] == 0.01
    project.run("dvc", "metrics", "diff")
