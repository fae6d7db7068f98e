"""Training and scoring from Python: the stages' objects, so the stages' numbers; the notebook of the documents."""

import json

import pytest
import torch

import maskline
from maskline.core.errors import CheckpointError
from maskline.metrics import scores_table
from maskline.runtime.checkpoint import read_weights


@pytest.mark.pipeline
def test_the_notebook_runs_and_gives_what_the_stages_give(root, finished_copy, monkeypatch, capsys):
    notebook = json.loads((root / "docs/how-to/python.ipynb").read_text(encoding="utf-8"))
    assert not any(cell.get("outputs") for cell in notebook["cells"])
    monkeypatch.chdir(finished_copy.folder)
    for name in ("DVC_STAGE", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)
    names: dict = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), "python.ipynb", "exec"), names)
    stages = scores_table.from_csv(finished_copy.read("reports/evaluate/scores.csv").decode(), place="scores.csv")
    again = maskline.evaluate("data/models", bootstrap=20)
    first, made = read_weights(finished_copy.folder / "runs/first"), read_weights(finished_copy.folder / "data/models")
    assert all(torch.equal(first[name], value) for name, value in made.items())
    assert first.keys() == made.keys()
    assert {name: value for name, value in again.metrics.items() if name != "valid_area"} == {
        name: value for name, value in stages.items() if name != "valid_area"
    }
    assert names["scores"].metrics["mIoU"] == stages["mIoU"]
    assert capsys.readouterr().out.count("images of test") == 2
    assert names["both"].made_by["weights_sha256"] != names["model"].made_by["weights_sha256"]
    finished_copy.run("git", "clean", "-q", "-d", "--force")
    assert (finished_copy.folder / "data/models").exists()


@pytest.mark.pipeline
def test_a_model_of_other_classes_is_not_scored(finished_copy, monkeypatch, tmp_path):
    monkeypatch.chdir(finished_copy.folder)
    model = maskline.load("data/models", threads=1)
    labels = json.loads(finished_copy.read("data/prepared/labels.json"))
    for name in ("manifest.csv", "reading.json"):
        if (finished_copy.folder / "data/prepared" / name).exists():
            (tmp_path / name).write_bytes(finished_copy.read(f"data/prepared/{name}"))
    (tmp_path / "labels.json").write_text(json.dumps({**labels, "class_names": ["background", "disc"]}))
    for shard in (finished_copy.folder / "data/prepared").glob("*"):
        if not (tmp_path / shard.name).exists():
            (tmp_path / shard.name).symlink_to(shard)
    with pytest.raises(CheckpointError, match="the prepared data has"):
        maskline.evaluate(model, tmp_path)
