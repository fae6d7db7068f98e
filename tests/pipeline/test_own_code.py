"""A head of the user's own in the pipeline: an edit trains again, and two versions of it are never mixed."""

import json
import sys

import pytest

from tools.trial import ran

HEAD = """from maskline.models.heads.base import Head


class Mine(Head):
    def __init__(self, **options):
        super().__init__(options)
        self.side = 1

    def forward(self, features, previous=None):
        return self.conv_seg(self.select(features))
"""
EDITED = HEAD.replace("return self.conv_seg(", "return 2 * self.conv_seg(")


@pytest.fixture(scope="module")
def project(finished_project, tmp_path_factory):
    """A finished run with a head of the user's own, on data that was converted before."""
    made = finished_project.duplicate(tmp_path_factory.mktemp("own"))
    made.environment["PYTHONPATH"] = str(made.folder / "lib")
    (made.folder / "own" / "mine.py").write_text(HEAD)
    made.edit({"model.decode_head.name": "own/mine.py:Mine", "model.decode_head.channels": 4})
    assert sorted(ran(made.run("dvc", "repro"))) == ["augment-preview", "evaluate", "export", "train"]
    made.commit("run")
    return made


def stage(project, name, *options, code=0):
    return project.run(sys.executable, "-m", f"stages.{name}", *options, code=code)


@pytest.mark.pipeline
def test_an_edit_trains_again_and_nothing_else_does(project, tmp_path):
    copy = project.duplicate(tmp_path)
    copy.environment["PYTHONPATH"] = str(copy.folder / "lib")
    assert ran(copy.run("dvc", "repro")) == []
    (copy.folder / "own" / "README.md").write_text("Notes.")
    (copy.folder / "own" / "notes.txt").write_text("Notes.")
    assert ran(copy.run("dvc", "repro")) == []
    before = copy.read("data/models/model.json")
    (copy.folder / "own" / "mine.py").write_text(EDITED)
    text = stage(copy, "evaluate", code=2)
    assert "model.json: own/mine.py: not what the model was trained with" in text
    assert ran(copy.run("dvc", "repro", "evaluate")) == ["train", "evaluate"]
    assert list(json.loads(copy.run("dvc", "status", "--json"))) == ["export"]
    assert copy.read("data/models/model.json") != before
    assert copy.run("git", "status", "--porcelain", "--untracked-files=all", "own").splitlines() == [
        " M own/README.md",
        " M own/mine.py",
        "?? own/notes.txt",
    ]


@pytest.mark.pipeline
def test_a_run_does_not_go_on_with_another_version(project, tmp_path):
    """The journal of a run has the hash of its receipt as its name."""
    copy = project.duplicate(tmp_path)
    copy.environment["PYTHONPATH"] = str(copy.folder / "lib")
    receipts = []
    for text in (HEAD, f"{HEAD}# another version\n"):
        (copy.folder / "own" / "mine.py").write_text(text)
        stage(copy, "train", "--stop-after", "2")
        receipts.append(json.loads(copy.read("data/models/model.json"))["receipt"])
    one, two = receipts
    assert {key for key in one if one[key] != two[key]} == {"own_code"}


@pytest.mark.pipeline
def test_a_file_that_is_no_dep_is_refused_until_it_is_one(project, tmp_path):
    copy = project.duplicate(tmp_path)
    copy.environment["PYTHONPATH"] = str(copy.folder / "lib")
    (copy.folder / "heads").mkdir()
    (copy.folder / "own" / "mine.py").rename(copy.folder / "heads" / "mine.py")
    copy.edit({"model.decode_head.name": "heads/mine.py:Mine"})
    text = copy.run("dvc", "repro", "train", code=255)
    assert (
        "error: params.yaml: model.decode_head.name: heads/mine.py: no dep of stage train, so that DVC would not see "
        "an edit of it; move it into the folder own, or in dvc.yaml, add '- heads/mine.py' to stages.train.deps"
    ) in text
    pipeline = copy.folder / "dvc.yaml"
    content = pipeline.read_text()
    place = content.index("  train:\n    desc:")
    first = content.index("    - data/prepared\n", place)
    pipeline.write_text(f"{content[:first]}    - heads/mine.py\n{content[first:]}")
    assert ran(copy.run("dvc", "repro", "train")) == ["train"]


@pytest.mark.pipeline
def test_predict_needs_the_file_and_the_exported_model_does_not(project, tmp_path):
    copy = project.duplicate(tmp_path)
    copy.environment["PYTHONPATH"] = str(copy.folder / "lib")
    images = str(copy.folder / "reports" / "evaluate" / "gallery")
    copy.run("maskline", "predict", "data/models", images, "--out", "trained")
    (copy.folder / "own" / "mine.py").unlink()
    text = copy.run("maskline", "predict", "data/models", images, "--out", "again", code=2)
    assert "model.json: own/mine.py: no such file, and the network is made of it" in text
    assert len(text.strip().splitlines()) == 1
    copy.run("maskline", "predict", "data/export", images, "--out", "exported")
