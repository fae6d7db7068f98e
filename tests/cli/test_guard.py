import pytest

from maskline.cli.guard import snapshot, unchanged_inputs
from maskline.core.errors import InputsChangedError

PIPELINE = """
stages:
  train:
    cmd: python -m stages.train
    deps:
    - code.py
    - data
    - lib
    params:
    - optimizer.lr
    - train
  evaluate:
    cmd: python -m stages.evaluate
"""
PARAMS = "optimizer:\n  lr: 1e-3\n  name: sgd\ntrain:\n  seed: 0\n  threads: 2\n"


@pytest.fixture
def project(tmp_path, monkeypatch):
    (tmp_path / "dvc.yaml").write_text(PIPELINE)
    (tmp_path / "params.yaml").write_text(PARAMS)
    (tmp_path / "code.py").write_text("1")
    (tmp_path / "data" / "__pycache__").mkdir(parents=True)
    (tmp_path / "data" / "shard").write_text("1")
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "part.py").write_text("1")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_STAGE", "train")
    return tmp_path


def test_nothing_changed_nothing_happens(project):
    with unchanged_inputs():
        (project / "output.txt").write_text("made by the stage")


@pytest.mark.parametrize(
    ("name", "text", "named"),
    [
        ("code.py", "2", "code.py"),
        ("data/shard", "2", "data/shard"),
        ("data/another", "2", "data/another"),
        ("lib/part.py", "2", "lib/part.py"),
        ("lib/page.css", "2", "lib/page.css"),
        ("params.yaml", PARAMS.replace("1e-3", "2e-3"), "params.yaml: optimizer.lr"),
        ("params.yaml", PARAMS.replace("threads: 2", "threads: 3"), "params.yaml: train"),
    ],
)
def test_an_edit_during_the_run_is_named(project, name, text, named):
    with pytest.raises(InputsChangedError, match=f"^{named}: edited while stage train ran"), unchanged_inputs():
        (project / name).write_text(text)


def test_a_dep_that_vanishes_is_named(project):
    with pytest.raises(InputsChangedError, match=r"^code\.py"), unchanged_inputs():
        (project / "code.py").unlink()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("params.yaml", PARAMS.replace("sgd", "adamw")),  # not one of the stage's params
        ("params.yaml", PARAMS.replace("1e-3", "0.001")),  # the same number
        ("data/__pycache__/code.pyc", "2"),
        ("lib/.part.py.swp", "2"),  # nor does DVC hash it: .dvcignore
        ("lib/.DS_Store", "2"),
    ],
)
def test_what_the_stage_does_not_read_may_change(project, name, text):
    with unchanged_inputs():
        (project / name).write_text(text)


def test_outside_dvc_it_does_nothing(project, monkeypatch):
    monkeypatch.delenv("DVC_STAGE")
    with unchanged_inputs():
        (project / "code.py").write_text("2")


def test_the_stage_is_found_under_the_names_that_dvc_gives(project):
    assert snapshot("sub/dvc.yaml:train@fold-1") == snapshot("train")
    assert set(snapshot("train")) == {
        "code.py",
        "data/shard",
        "lib/part.py",
        "params.yaml: optimizer.lr",
        "params.yaml: train",
    }
    assert snapshot("evaluate") == {}


def test_an_error_of_the_stage_itself_is_not_hidden(project):
    with pytest.raises(RuntimeError, match="own"), unchanged_inputs():
        (project / "code.py").write_text("2")
        raise RuntimeError("own")
