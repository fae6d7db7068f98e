"""``maskline metrics`` on a run's tables."""

import json

import pytest
from click.testing import CliRunner

from maskline.commands.compare import main as compare
from maskline.commands.metrics import main
from maskline.metrics import scores_table

TREE = {
    "aAcc": 0.9,
    "mIoU": 0.8,
    "per_class": {"sky": {"IoU": 0.7, "Dice": 0.82}, "road": {"IoU": 0.9, "Dice": 0.95}},
    "steps": {"1_network": {"mIoU": 0.75}},
    "threshold": 0.4,
    "uncertainty_95": {"mIoU": {"low": 0.7, "high": 0.9}, "second_annotator": {"mIoU": {"low": 0.5, "high": 0.6}}},
    "second_annotator": {"mIoU": 0.55, "per_class": {"sky": {"IoU": 0.5}}},
}


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in {
        "evaluate/scores.csv": scores_table.to_csv(TREE),
        "train/curves.csv": "iteration,train_loss,mIoU\n10,0.5,0.6\n20,0.4,\n",
        "convert/summary.json": json.dumps({"splits": [{"split": "train", "images": 3, "groups": 2}]}),
    }.items():
        path = tmp_path / "reports" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_all_scores_are_printed(project):
    result = CliRunner().invoke(main)
    assert result.exit_code == 0, result.output
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in result.output.splitlines() if "│" in line]
    assert ["mIoU", "0.8000", "0.7000 to 0.9000", "0.5500"] in rows
    assert ["sky", "0.7000", "", "", "0.8200", "", "0.5000"] in rows
    assert ["1_network.mIoU", "0.7500", "", ""] in rows
    assert ["train", "3", "2"] in rows
    assert ["20", "0.4000", ""] in rows


def test_json_holds_the_tree(project):
    result = CliRunner().invoke(main, ["--json"])
    assert json.loads(result.stdout)["scores"] == TREE


def test_no_run_and_no_table_are_one_line(project):
    path = project / "reports" / "evaluate" / "scores.csv"
    path.write_text("image,score\na,1\n")
    result = CliRunner().invoke(main)
    assert result.exit_code == 2
    assert "scores.csv: not a table of scores (its columns are others); evaluate again" in result.stderr
    path.unlink()
    result = CliRunner().invoke(main)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "run dvc repro first" in result.stderr


def test_what_dvc_shows_is_short():
    assert list(scores_table.short(TREE, by_class=False)) == ["aAcc", "mIoU"]
    full = scores_table.short({**TREE, "mAcc": 0.5, "mDice": 0.6, "mRecall": 0.3}, by_class=True)
    assert list(full) == ["aAcc", "mIoU", "mDice", "mAcc", "per_class"]
    assert full["per_class"] == {"sky": {"IoU": 0.7}, "road": {"IoU": 0.9}}


def test_compare_is_not_cut_in_a_pipe(project):
    header = "id,group,hits_background,labelled_background,predicted_background,hits_a,labelled_a,predicted_a\n"
    (project / "a.csv").write_text(header + "".join(f"{i},{i},5,9,9,{i},9,9\n" for i in range(1, 4)))
    name = "an-experiment-with-a-name-that-is-longer-than-most"
    from maskline.projects import revisions

    before = revisions.read_at
    try:
        revisions.read_at = lambda revision, path: before(revisions.WORKSPACE, path)
        result = CliRunner().invoke(compare, [name, f"{name}-2", "--per-image", "a.csv", "--resamples", "5"])
    finally:
        revisions.read_at = before
    assert result.exit_code == 0, result.output
    assert f"│ {name} │ {name}-2 │" in result.output.replace("┃", "│")
