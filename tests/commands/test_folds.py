"""``maskline folds`` with DVC's own experiments, on a tiny project."""

import json
import re

import pytest

import maskline
from maskline.params.whole import load_params


@pytest.mark.pipeline
def test_a_model_a_fold_and_all_as_one(finished_copy, tmp_path):
    project, out = finished_copy, tmp_path / "folds"
    before = project.run("git", "status", "--porcelain")
    result = project.run("maskline", "folds", "--folds", "2", "-o", str(out), "--json")
    printed = json.loads(result[result.index("{\n") : result.rindex("}\n") + 2])
    assert json.loads((out / "scores.json").read_text()) == printed
    assert project.run("git", "status", "--porcelain") == before
    assert len(printed["folds"]) == len(printed["members"]) == 2
    # Each val image is scored by the one model that has not seen it.
    parts = [maskline.evaluate(next((out / "members").glob(f"fold-{i}-*/models")), path, split="val", bootstrap=0)
             for i, path in enumerate(sorted((out / "members").glob("*/prepared")))]  # fmt: skip
    ids = [score.id for part in parts for score in part.scores]
    assert len(ids) == len(set(ids)) == load_params(project.folder / "params.yaml").data.synthetic.num_train
    right = sum(int(score.confusion.trace()) for part in parts for score in part.scores)
    pixels = sum(int(score.confusion.sum()) for part in parts for score in part.scores)
    assert printed["out_of_fold"]["aAcc"] == pytest.approx(right / pixels, abs=1e-6)
    assert maskline.load(out / "export", threads=1).class_names == ("background", "vessel")
    assert "uncertainty_95" in printed["out_of_fold"]
    # The experiments are there: nothing is trained again. An experiment finds the soft labels from its own folder.
    again = project.run("maskline", "folds", "--folds", "2", "--soft-labels")
    assert "Running stage" not in again
    setting = re.search(r"-S (\+\+train.soft_labels=data/folds/soft_labels-[0-9a-f]{16})", again)[1]
    learned = project.run("dvc", "exp", "run", "--temp", "-S", setting, "train")
    assert re.search(r"train: (\d+) of \1 train images have soft labels, of weight 0.5", learned)
    assert project.run("git", "status", "--porcelain") == before


def test_no_folds_are_one_line(root, tmp_path, monkeypatch):
    from click.testing import CliRunner

    from maskline.commands.main import main

    result = CliRunner().invoke(main, ["folds", "--params", str(root / "params.yaml"), "-o", str(tmp_path / "o")])
    assert result.exit_code == 2
    assert "data.num_folds: 0, so there are no folds; set it to 2 or more" in result.stderr
    assert not (tmp_path / "o").exists()
