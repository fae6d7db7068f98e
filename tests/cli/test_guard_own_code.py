"""A stage refuses code of the user's own that DVC would not see edited."""

from pathlib import Path

import pytest

from maskline.cli.guard import check_listed, check_watched
from maskline.core.errors import ParamsError


@pytest.fixture
def running(tmp_path, monkeypatch):
    """Be a stage of a project."""
    (tmp_path / "dvc.yaml").write_text(
        "stages:\n  train: {cmd: x, deps: [own, nets/mine.py]}\n  convert: {cmd: x, deps: [data/raw]}\n"
    )
    monkeypatch.chdir(tmp_path)
    return lambda name: monkeypatch.setenv("DVC_STAGE", name)


@pytest.mark.parametrize("name", ["own/a.py:A", "own/deep/a.py:A", "nets/mine.py:Net"])
@pytest.mark.parametrize("stage", ["train", "dvc.yaml:train", "train@0"])
def test_what_lies_under_a_dep(running, stage, name):
    running(stage)
    check_listed({"model.decode_head.name": name})


@pytest.mark.parametrize(
    ("stage", "key", "name", "remedy"),
    [
        ("train", "model.backbone.name", "nets/other.py:Net", "move it into the folder own, or in dvc.yaml, add"),
        ("train", "model.decode_head.name", "owner/a.py:A", "add '- owner/a.py' to stages.train.deps"),
        ("convert", "data.layout", "layouts/a.py:read", "; in dvc.yaml, add '- layouts/a.py' to stages.convert.deps"),
    ],
)
def test_what_does_not(running, stage, key, name, remedy):
    running(stage)
    with pytest.raises(ParamsError) as caught:
        check_listed({key: name})
    assert str(caught.value).startswith(f"params.yaml: {key}: {name.split(':')[0]}: no dep of stage {stage}")
    assert remedy in str(caught.value)


def test_outside_of_dvc_nothing_is_asked(running, monkeypatch):
    monkeypatch.delenv("DVC_STAGE", raising=False)
    check_listed({"model.decode_head.name": "heads/a.py:A"})


@pytest.mark.parametrize(
    ("download", "deps", "seen"),
    [("always_changed: true", "x", True), ("cmd: y", "splits", True), ("cmd: y", "x", False)],
)
def test_lists_are_deps_or_looked_at_each_time(tmp_path, monkeypatch, download, deps, seen):
    text = f"stages:\n  download:\n    {download}\n  convert:\n    deps:\n    - {deps}\n"
    (tmp_path / "dvc.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_STAGE", "convert")
    if seen:
        check_watched({"data.split_lists.val": Path("splits/val.txt")})
    else:
        with pytest.raises(ParamsError, match=r"splits/val\.txt: no dep of stage convert.*or 'always_changed: true'"):
            check_watched({"data.split_lists.val": Path("splits/val.txt")})
