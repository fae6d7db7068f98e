"""compare and sweep-seeds on a small git repository with committed evaluations."""

import csv
import io
import json
import subprocess

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from maskline.commands import compare, sweep_seeds
from maskline.commands.sweep_seeds import sweep
from maskline.core.errors import DataError

TABLE = "reports/evaluate/per_image.csv"
METRICS = "reports/evaluate/metrics.json"


def git(folder, *arguments):
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def table(hit_share, *, number=10, seed=0):
    generator = np.random.default_rng(seed)
    rows = []
    for i in range(number):
        own, others = 1000 + 10 * i, 9000
        hits, alarms = int(own * (hit_share + generator.uniform(0, 0.02))), 200 + i
        rows.append(
            {
                "id": f"image_{i}", "group": f"image_{i}",
                "hits_background": others - alarms, "labelled_background": others,
                "predicted_background": others - alarms + own - hits,
                "hits_vessel": hits, "labelled_vessel": own, "predicted_vessel": hits + alarms,
            }
        )  # fmt: skip
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """Commit ``first`` with Dice lower than the workspace's, experiment ``better`` in between."""
    (tmp_path / "reports" / "evaluate").mkdir(parents=True)
    git(tmp_path, "init", "-q", "-b", "main")

    def commit(share):
        (tmp_path / TABLE).write_text(table(share))
        (tmp_path / METRICS).write_text(json.dumps({"mIoU": share, "uncertainty_95": {"mIoU": {"low": 0, "high": 1}}}))
        git(tmp_path, "add", ".")
        git(tmp_path, "commit", "-q", "-m", "run")
        return git(tmp_path, "rev-parse", "HEAD")

    base = commit(0.7)
    git(tmp_path, "tag", "first")
    better = commit(0.75)
    git(tmp_path, "update-ref", f"refs/exps/{base[:2]}/{base[2:]}/better", better)
    git(tmp_path, "reset", "-q", "--hard", base)
    (tmp_path / TABLE).write_text(table(0.8))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(compare.main, [str(argument) for argument in arguments])


def test_revision_experiment_and_workspace(repository):
    for a, b, sign in (("first", "better", 1), ("workspace", "better", -1), ("HEAD", "workspace", 1)):
        result = run(a, b, "--json", "--resamples", 200)
        assert result.exit_code == 0, result.output
        found = json.loads(result.output)
        dice = {one["name"]: one for one in found["scores"]}["foreground.Dice"]
        assert np.sign(dice["difference"]) == sign
        assert dice["p"] < 0.05
        assert len(found["images"]) == 10


def test_no_difference_between_a_run_and_itself(repository):
    found = json.loads(run("first", "first", "--json", "--resamples", 100).output)
    for one in found["scores"] + found["image_means"]:
        assert (one["difference"], one["p"]) == (0, 1)


def test_tables_and_plot(repository):
    result = run("first", "workspace", "--resamples", 100, "--plot", repository / "plot.png")
    assert result.exit_code == 0, result.output
    assert "foreground.Dice" in result.output
    assert "Images that changed most" in result.output
    assert np.asarray(Image.open(repository / "plot.png")).std() > 5


def test_the_page_with_the_comparison_in_it(repository):
    page = "<nav><!-- link to the comparison --></nav><!-- comparison -->"
    (repository / "reports/evaluate/report.html").write_text(page)
    result = run("HEAD", "workspace", "--resamples", 100, "--page", repository / "compared.html")
    assert result.exit_code == 0, result.output
    made = (repository / "compared.html").read_text()
    assert '<a href="#comparison">Comparison</a>' in made
    assert "workspace minus HEAD, on the same 10 images" in made
    assert made.count("<tr") == 2 + 18 + 10
    assert (repository / "reports/evaluate/report.html").read_text() == page


def test_a_page_is_of_the_workspace_and_of_this_version(repository):
    other = run("workspace", "HEAD", "--page", repository / "compared.html")
    (repository / "reports/evaluate/report.html").write_text("<html></html>")
    old = run("HEAD", "workspace", "--resamples", 10, "--page", repository / "compared.html")
    for result, message in ((other, "name workspace second"), (old, "not a report page as evaluate writes it")):
        assert result.exit_code == 2
        assert message in result.output
        assert result.output.count("\n") == 1
    assert not (repository / "compared.html").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (table(0.7, number=9), "not the same images"),
        (table(0.7).replace(",9000,", ",8999,"), "not the same labels"),
        ("id,group\nimage_0,a\n", "no pixel counts"),
        ("id,group\nimage_0," + "a" * 200_000, "damaged table (field larger than field limit"),
    ],
)
def test_what_cannot_be_compared_is_one_line(repository, text, message):
    (repository / TABLE).write_text(text)
    result = run("first", "workspace")
    assert result.exit_code == 2
    assert message in result.output
    assert result.output.count("\n") == 1


def test_unknown_revision_is_one_line(repository):
    result = run("nowhere", "workspace")
    assert result.exit_code == 2
    assert "nowhere: no git revision and no DVC experiment" in result.output


def test_sweep_runs_what_is_missing_and_sums_up(repository):
    head, ran = git(repository, "rev-parse", "HEAD"), []

    def dvc(arguments):
        ran.append(arguments)
        seed = int(arguments[-1].removeprefix("train.seed="))
        (repository / METRICS).write_text(json.dumps({"mIoU": 0.5 + 0.1 * seed, "uncertainty_95": {"mIoU": 1}}))
        git(repository, "commit", "-q", "-a", "-m", "experiment")
        name = arguments[arguments.index("--name") + 1]
        git(repository, "update-ref", f"refs/exps/{head[:2]}/{head[2:]}/{name}", git(repository, "rev-parse", "HEAD"))
        git(repository, "reset", "-q", "--hard", head)
        return 0

    options = {"name": "seed", "metrics": repository.__class__(METRICS), "run": dvc}
    refs, found = sweep([1, 2], **options)
    assert list(refs) == ["seed-1", "seed-2"]
    assert found == {"mIoU": {"mean": 0.65, "std": pytest.approx(0.070711), "min": 0.6, "max": 0.7}}
    assert len(ran) == 2
    sweep([1, 2, 3], **options)
    assert [arguments[-1] for arguments in ran] == ["train.seed=1", "train.seed=2", "train.seed=3"]


def test_a_failed_experiment_ends_the_sweep(repository):
    started = []
    with pytest.raises(DataError, match="seed-0: the experiment failed"):
        sweep([0, 1], name="seed", metrics=repository / METRICS, run=lambda arguments: started.append(arguments) or 1)
    assert len(started) == 1


def test_sweep_prints_a_table(monkeypatch):
    monkeypatch.setattr(
        sweep_seeds, "sweep", lambda *_, **__: ({}, {"mIoU": {"mean": 0.5, "std": None, "min": 0.5, "max": 0.5}})
    )
    result = CliRunner().invoke(sweep_seeds.main, ["1"])
    assert result.exit_code == 0
    assert "mIoU" in result.output
    assert json.loads(CliRunner().invoke(sweep_seeds.main, ["2", "--first", "4", "--json"]).output)["seeds"] == [4, 5]


def test_an_ensemble_of_one_seed_is_refused_before_it_trains(monkeypatch):
    monkeypatch.setattr(sweep_seeds, "sweep", lambda *_, **__: pytest.fail("trained"))
    result = CliRunner().invoke(sweep_seeds.main, ["1", "--ensemble"])
    assert (result.exit_code, result.output) == (2, "error: sweep-seeds: N: 1 with --ensemble; give 2 or more\n")


def test_without_git_there_is_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")
    result = CliRunner().invoke(compare.main, ["HEAD", "workspace"])
    assert (result.exit_code, result.output.count("\n")) == (2, 1)
    assert result.output.startswith("error: git: does not run; install git")
