"""The loss and the head that the how-to pages add, added: as a reader would, in a copy of the project."""

import re
import sys

import pytest

from maskline.params.base.reading import read_yaml
from tools.trial import TINY, copy_of

FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(root, page, language):
    text = (root / "docs" / "how-to" / page).read_text(encoding="utf-8")
    return [block for kind, block in FENCE.findall(text) if kind == language]


def change(text, diff):
    """Apply a diff without line numbers: what it keeps and removes occurs once."""
    lines = diff.splitlines(keepends=True)
    before = "".join(line[1:] for line in lines if not line.startswith("+"))
    after = "".join(line[1:] for line in lines if not line.startswith("-"))
    assert text.count(before) == 1, before
    return text.replace(before, after)


def follow(root, page, project):
    """Do what the page says; return the paths of the new files."""
    made = []
    for block in blocks(root, page, "python"):
        head, _, code = block.partition("\n")
        made.append(head.removeprefix("# "))
        (project.folder / made[-1]).write_text(code, encoding="utf-8")
    for block in blocks(root, page, "diff"):
        head, _, body = block.partition("\n")
        path = project.folder / head.removeprefix("--- ")
        path.write_text(change(path.read_text(encoding="utf-8"), body), encoding="utf-8")
    return made


def example(root, page, tmp_path):
    """The decode head that the page's YAML shows."""
    (block,) = blocks(root, page, "yaml")
    (tmp_path / "example.yaml").write_text(block, encoding="utf-8")
    return read_yaml(tmp_path / "example.yaml")["decode_head"]


@pytest.mark.pipeline
def test_a_loss_and_a_head_of_ones_own_train(root, tmp_path):
    project = copy_of(root, tmp_path, TINY)
    project.environment["PYTHONPATH"] = str(project.folder / "lib")
    made = follow(root, "own-loss.md", project) + follow(root, "own-head.md", project)
    head = example(root, "own-head.md", tmp_path) | example(root, "own-loss.md", tmp_path)
    project.edit({"model.decode_head": head})
    for command in ("tools.closure", "tools.reference"):
        project.run(sys.executable, "-m", command)
    for check in (["check"], ["format", "--check", "--diff"]):
        project.run(sys.executable, "-m", "ruff", *check, *made)
    deps = read_yaml(project.folder / "dvc.yaml")["stages"]["train"]["deps"]
    assert set(made) <= set(deps)
    assert "`poly`" in (project.folder / "docs/reference/params.md").read_text(encoding="utf-8")
    assert "context" in project.run("maskline", "name")
    printed = project.run("dvc", "repro", "train")
    assert "train: best" in printed
    card = project.read("data/models/model.json").decode()
    assert '"name": "context"' in card
    assert '"name": "poly"' in card
