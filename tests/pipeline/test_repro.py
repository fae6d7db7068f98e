"""The line as a user runs it: dvc repro, one change, a copy elsewhere, the experiment's own code."""

import json
import re
import shlex
import shutil
import subprocess

import pytest
from dvc.repo import Repo
from dvc.utils.hydra import apply_overrides

from maskline.metrics.scores import flatten
from maskline.params.base.reading import read_yaml
from tools.trial import Project, ran

pytestmark = pytest.mark.pipeline

NAMES = ["download", "convert", "augment-preview", "train", "evaluate", "export"]


@pytest.fixture
def project(finished_copy):
    """A copy in which all has run; what a test changes in it is put back, so that no test needs another."""
    yield finished_copy
    put_back(finished_copy)


def put_back(project):
    if project.run("git", "status", "--porcelain"):
        project.run("git", "reset", "-q", "--hard")
        project.run("git", "clean", "-q", "-d", "--force")
        project.run("dvc", "checkout", "--force")


@pytest.fixture(scope="module")
def faster(finished_project, tmp_path_factory):
    """A copy in which the experiment ``faster`` has run, and is what the working tree shows."""
    project = finished_project.duplicate(tmp_path_factory.mktemp("faster"))
    project.printed = project.run("dvc", "exp", "run", "--name", "faster", "-S", "optimizer.lr=0.01")
    return project


def test_the_first_repro_runs_all_stages(finished_project):
    assert sorted(ran(finished_project.printed)) == sorted(NAMES)


def test_every_output_is_there_and_finite(project):
    stages = read_yaml(project.folder / "dvc.yaml")["stages"]
    for stage in stages.values():
        for kind in ("outs", "metrics", "plots"):
            for entry in stage.get(kind, ()):
                path = project.folder / (next(iter(entry)) if isinstance(entry, dict) else entry)
                assert path.exists(), path
                if path.suffix == ".json":
                    json.loads(path.read_text(), parse_constant=pytest.fail)


def test_what_comes_out_is_of_use(project, tmp_path):
    """The model knows only what training read: what else is said of it, or done with it, comes from params.yaml."""
    assert "Data set: synthetic_fundus; scores are of" in project.read("data/export/README.md").decode()
    steps = ("--slide", "--tta", "--crf", "--threads", "1")
    picture = "reports/augment_preview/grid.png"
    project.run("maskline", "predict", "data/models", picture, "-o", str(tmp_path / "out"), *steps)
    assert (tmp_path / "out" / "index" / "grid.png").is_file()


def test_a_second_repro_does_nothing(project):
    before = project.read("dvc.lock")
    output = project.run("dvc", "repro")
    assert ran(output) == []
    assert "up to date" in output
    assert project.read("dvc.lock") == before
    assert project.run("git", "status", "--porcelain") == ""


def tear(project, end):
    """Leave what a kill leaves while DVC writes dvc.lock: its beginning."""
    whole = project.read("dvc.lock")
    (project.folder / "dvc.lock").write_bytes(whole[:end])
    assert "maskline doctor --fix" in project.run("maskline", "doctor", "--json", code=1)


def mend(project):
    (line,) = project.run("maskline", "doctor", "--fix", "--quiet").splitlines()
    return line


@pytest.mark.parametrize("origin", ["git's HEAD", "the stages' copy", "removed"])
def test_a_torn_dvc_lock_costs_no_stage(project, tmp_path, origin):
    """Also where it ends within the last hash of train, which DVC reads without a word."""
    project = project.duplicate(tmp_path)
    whole = project.read("dvc.lock")
    if origin != "git's HEAD":
        project.run("git", "rm", "-q", "--cached", "dvc.lock")
        project.run("git", "commit", "-q", "-m", "none")
    if origin == "removed":
        shutil.rmtree(project.folder / ".maskline" / "locks")
    for end, stops in ((0, True), (whole.index(b"md5:") + 2, True), (whole.index(b"  evaluate:\n") - 40, False)):
        tear(project, end)
        if stops:
            assert "'./dvc.lock' " in project.run("dvc", "repro", code=255)
        assert origin in mend(project)
        assert project.read(".maskline/dvc.lock.torn") == whole[:end]
        assert ran(project.run("dvc", "repro")) == []
        assert project.read("dvc.lock") == whole


def test_a_torn_dvc_lock_that_was_not_made_here(project, tmp_path):
    """What was pulled and applied is in no commit and not in the cache of runs, but in the stages' copy."""
    project = project.duplicate(tmp_path)
    project.run("dvc", "exp", "run", "--name", "far", "-S", "optimizer.lr=0.03", "train")
    shutil.rmtree(project.folder / ".dvc" / "cache" / "runs")
    shutil.rmtree(project.folder / ".maskline")
    assert ran(project.run("dvc", "repro", "evaluate")) == ["evaluate"]
    whole = project.read("dvc.lock")
    tear(project, 0)
    assert "the stages' copy" in mend(project)
    assert ran(project.run("dvc", "repro", "evaluate")) == []
    assert project.read("dvc.lock") == whole


def test_no_absolute_path_in_what_is_recorded(project):
    text = project.read("dvc.lock").decode() + "".join(
        path.read_text(encoding="utf-8")
        for path in (project.folder / "reports").rglob("*")
        if path.suffix in {".json", ".csv", ".html"}
    )
    assert str(project.folder) not in text
    assert str(project.folder) not in (project.folder / "data" / "models" / "model.json").read_text()


def test_another_clone_gives_the_same_bytes(finished_project, tmp_path):
    project = finished_project
    subprocess.run(["git", "clone", "-q", project.folder, tmp_path / "clone"], check=True)
    other = Project(tmp_path / "clone", tmp_path / "site")
    output = other.run("dvc", "repro")
    # All that the preview makes is in git, and what it depends on comes out the same.
    assert ran(output) == [name for name in NAMES if name != "augment-preview"]
    assert other.read("dvc.lock") == project.read("dvc.lock")
    assert other.read("data/models/model.safetensors") == project.read("data/models/model.safetensors")
    assert other.run("git", "status", "--porcelain").split("\n")[:-1] in ([], changed_timing(other))


def changed_timing(project):
    """Timing stands beside the stages because it is never the same twice."""
    lines = project.run("git", "status", "--porcelain").split("\n")[:-1]
    pipeline = read_yaml(project.folder / "dvc.yaml")
    names = {path for plot in pipeline["plots"] for options in plot.values() for path in options["y"]}
    names |= {path.replace(".csv", ".json") for path in names}
    return [line for line in lines if line[3:] in names]


def test_plots_open_without_the_internet(project):
    project.run("dvc", "plots", "show")
    page = (project.folder / "reports" / "html" / "index.html").read_text(encoding="utf-8")
    assert 'src="http' not in page
    assert "vegaEmbed" in page
    assert page.count("vegaEmbed('#") >= 4


def test_metrics_are_read_by_dvc(project):
    shown = json.loads(project.run("dvc", "metrics", "show", "--json"))
    values = next(iter(shown.values()))["data"]
    evaluate = values["reports/evaluate/metrics.json"]["data"]
    assert 0 <= evaluate["mDice"] <= 1
    keys = [key for file in values.values() for key in flatten(file["data"])]
    assert keys == ["best.mDice", "best.val_loss", "aAcc", "mIoU", "mDice", "foreground.Dice"]
    assert max(map(len, project.run("dvc", "metrics", "show").splitlines())) <= 120
    page = (project.folder / "docs/how-to/experiments.md").read_text(encoding="utf-8")
    (line,) = [line for line in page.splitlines() if line.startswith("dvc exp show --drop")]
    table = project.run(*shlex.split(line)).splitlines()
    assert "Experiment" in table[1]
    assert max(map(len, table)) <= 120


PREVIEW, TRAIN, USE = "augment-preview", "train", ("evaluate", "export")


def concerned_stages(repo):
    """Stages that DVC would run now; what follows from one of them runs by its outputs."""
    changed = {key.split(":")[-1] for key in repo.status()}
    return [name for name in NAMES if name in changed]


def test_an_edit_runs_the_stages_that_it_concerns(project):
    """DVC's own answer, for one file of each kind and each section's; what follows from a stage runs by its outputs."""
    lib = "lib/maskline"
    concerned = {
        "core/errors.py": NAMES,
        "cli/guard.py": NAMES,
        "download/fetch.py": ["download"],
        "convert/formats/coco.py": ["convert"],
        "report/convert.py": ["convert"],
        "report/preview.py": [PREVIEW],
        "augment/warp.py": [PREVIEW, TRAIN],
        "engine/train.py": [TRAIN],
        "losses/pixel.py": [TRAIN],
        "optim/schedules.py": [TRAIN],
        "models/heads/psp.py": [TRAIN, *USE],
        "inference/crf.py": [*USE],
        "evaluation/page/tables.py": ["evaluate"],
        "evaluation/page/page.css": ["evaluate"],
        "export/card.py": ["export"],
        "analysis/tune.py": [],
        "commands/predict.py": [],
        "params/data.py": ["download", "convert", *USE],
        "params/augment.py": [PREVIEW, TRAIN],
        "params/extra.py": [PREVIEW, TRAIN],
        "params/preview.py": [PREVIEW],
        "params/input.py": [PREVIEW, TRAIN, *USE],
        "params/network/model.py": [TRAIN, *USE],
        "params/network/heads.py": [TRAIN, *USE],
        "params/network/necks.py": [TRAIN, *USE],
        "params/network/losses.py": [TRAIN, *USE],
        "params/optimizer.py": [TRAIN],
        "params/schedule.py": [TRAIN],
        "params/train.py": [PREVIEW, TRAIN, *USE],
        "params/evaluate.py": [*USE],
        "params/measures.py": [*USE],
        "params/export.py": ["export"],
        "params/machine.py": ["convert", TRAIN, "evaluate"],
        "params/predict.py": [],
        "params/whole.py": [],
        "core/.errors.py.swp": [],
        "core/.DS_Store": [],
        "models/heads/psp.py.orig": [],
    }
    sections = {f"params/{path.name}" for path in (project.folder / lib / "params").glob("*.py")}
    assert sections - {"params/__init__.py", "params/check.py"} <= concerned.keys()
    found = {}
    with Repo(project.folder) as repo:
        for name in concerned:
            path = project.folder / lib / name
            former = path.read_bytes() if path.exists() else None
            path.write_bytes((former or b"") + b"\n")
            found[name] = concerned_stages(repo)
            path.unlink() if former is None else path.write_bytes(former)
    assert found == concerned


def test_a_key_that_is_left_out_runs_the_stages_of_its_section(project):
    """One key of each section that has some; two plus signs add it, or replace it where it is there."""
    concerned = {
        "data.split_seed=3": [name for name in NAMES if name not in {PREVIEW, TRAIN}],
        "augment.blur.prob=0.5": [PREVIEW, TRAIN],
        "model.align_corners=true": [PREVIEW, TRAIN],
        "optimizer.eps=1e-6": [TRAIN],
        "schedule.power=1.5": [TRAIN],
        "train.ema_decay=0.9": [PREVIEW, TRAIN, *USE],
        "evaluate.bootstrap=7": [*USE],  # export scores the same split
        "export.opset=19": ["export"],
        "machine.journal_every=3": [],
        "predict.stream_mib=3": [],
    }
    path, found = project.folder / "params.yaml", {}
    former = path.read_bytes()
    with Repo(project.folder) as repo:
        for override in concerned:
            apply_overrides(path, [f"++{override}"])
            found[override] = concerned_stages(repo)
            path.write_bytes(former)
    assert found == concerned


LIBRARY = "lib/maskline/report/preview.py"


@pytest.fixture
def edited_library(project):
    """An edit of a file that only the augmentation preview imports, uncommitted."""
    path = project.folder / LIBRARY
    source = path.read_text(encoding="utf-8")
    stages = read_yaml(project.folder / "dvc.yaml")["stages"]
    assert [name for name in NAMES if LIBRARY in stages[name]["deps"]] == ["augment-preview"]
    path.write_text(
        source.replace("    save_png(image", "    entries = [{'edited': 1}]\n    save_png(image"), encoding="utf-8"
    )
    assert path.read_text(encoding="utf-8") != source
    yield
    path.write_text(source, encoding="utf-8")


def experiment_file(project, name, path):
    """A file of an experiment, as git keeps it."""
    reference = project.run("git", "for-each-ref", "--format=%(refname)", "refs/exps").split()
    (found,) = [entry for entry in reference if entry.endswith(f"/{name}")]
    return project.run("git", "show", f"{found}:{path}")


@pytest.mark.usefixtures("edited_library")
def test_a_run_in_a_copy_uses_the_experiments_own_code(project):
    output = project.run("dvc", "exp", "run", "--temp", "--name", "in-a-copy")
    assert ran(output) == ["augment-preview"]
    made = experiment_file(project, "in-a-copy", "reports/augment_preview/params.json")
    assert json.loads(made) == [{"edited": 1}]


@pytest.mark.usefixtures("edited_library")
def test_a_queue_uses_the_experiments_own_code(project):
    project.run("dvc", "exp", "run", "--queue", "--name", "queued", "-S", "preview.samples=1")
    project.run("dvc", "exp", "run", "--run-all", "-j", "1")
    made = experiment_file(project, "queued", "reports/augment_preview/params.json")
    assert json.loads(made) == [{"edited": 1}]
    assert "samples: 1\n" in experiment_file(project, "queued", "params.yaml")


def test_another_learning_rate_trains_again_and_converts_nothing(finished_project, faster):
    assert ran(faster.printed) == ["train", "evaluate", "export"]
    before = json.loads(finished_project.read("reports/train/metrics.json"))
    assert json.loads(faster.read("reports/train/metrics.json")) != before
    assert read_yaml(faster.folder / "params.yaml")["optimizer"]["lr"] == 0.01
    faster.run("dvc", "metrics", "diff")


@pytest.mark.parametrize("override", ["schedule.power=1.0", "++optimizer.weight_decay=0.5"])
def test_another_schedule_or_optimizer_is_an_experiment_of_three_stages(project, override):
    key, value = override.strip("+").split("=")
    assert ran(project.run("dvc", "exp", "run", "-S", override)) == [TRAIN, *USE]
    assert re.search(rf"params.yaml +{key} .* {value}", project.run("dvc", "params", "diff"))
    # So short a run may have the same best score; its curves are others.
    assert "reports/train/curves.csv" in project.run("git", "diff", "--name-only", "HEAD")


def test_another_optimizer_needs_no_other_key(project):
    names = ("-S", "optimizer.name=sgd", "-S", "optimizer.lr=0.05", "-S", "optimizer.betas=[0.8,0.9]")
    output = project.run("dvc", "exp", "run", *names, "train")
    assert ran(output) == ["train"]
    assert "optimizer.betas (by sgd)" in output
    assert json.loads(project.read("data/models/model.json"))["params"]["optimizer"]["name"] == "sgd"


def test_an_experiment_can_be_taken_back(faster):
    weights = faster.read("data/models/model.safetensors")
    put_back(faster)
    assert read_yaml(faster.folder / "params.yaml")["optimizer"]["lr"] != 0.01
    assert faster.read("data/models/model.safetensors") != weights
    faster.run("dvc", "exp", "apply", "faster")
    values = read_yaml(faster.folder / "params.yaml")["optimizer"]
    assert (values["name"], values["lr"]) == ("adamw", 0.01)
    assert ran(faster.run("dvc", "repro")) == []
    assert faster.read("data/models/model.safetensors") == weights
