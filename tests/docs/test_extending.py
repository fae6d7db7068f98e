"""The loss, head and measure that the how-to pages add, added: as a reader would, in a copy of the project."""

import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest

from maskline.metrics import scores_table
from maskline.params.base.reading import read_yaml
from tools.trial import TINY, copy_of, ran

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


def code_of(root, page):
    """The page's one file: its path in a project, and its text."""
    (block,) = blocks(root, page, "python")
    head, _, code = block.partition("\n")
    return head.removeprefix("# "), code


def write(project, path, code):
    (project.folder / path).write_text(code, encoding="utf-8")
    return path


def override(root, page):
    """What the page's first command gives -S."""
    words = shlex.split(blocks(root, page, "bash")[0])
    assert words[:-1] == ["dvc", "exp", "run", "-S"]
    return words[-1]


def example(root, page, tmp_path):
    """The decode head that the page's YAML shows."""
    (block,) = blocks(root, page, "yaml")
    (tmp_path / "example.yaml").write_text(block, encoding="utf-8")
    return read_yaml(tmp_path / "example.yaml")["decode_head"]


PAGES = ("own-head.md", "own-loss.md")


@pytest.mark.pipeline
def test_in_a_project_it_is_one_file_and_one_line(root, tmp_path):
    project = copy_of(root, tmp_path, TINY)
    project.environment["PYTHONPATH"] = str(project.folder / "lib")
    before = project.run("git", "status", "--porcelain")
    files = [write(project, *code_of(root, page)) for page in PAGES]
    for check in (["check"], ["format", "--check", "--diff"]):
        project.run(sys.executable, "-m", "ruff", *check, *files)
    given = [word for page in PAGES for word in ("-S", override(root, page))]
    printed = project.run("dvc", "exp", "run", *given, "train")
    assert "train: best" in printed
    changed = set(
        re.findall(r"\S+$", project.run("git", "status", "--porcelain", "own", "lib", "dvc.yaml"), re.MULTILINE)
    )
    assert (before, changed) == ("", set(files)), "nothing but the two new files"
    card = project.read("data/models/model.json").decode()
    assert '"name": "own/context.py:ContextHead"' in card
    assert '"name": "own/poly.py:poly"' in card
    head = example(root, "own-head.md", tmp_path) | example(root, "own-loss.md", tmp_path)
    project.edit({"model.decode_head": head})
    assert ran(project.run("dvc", "repro", "train")) == ["train"]
    assert "contexthead" in project.run("maskline", "name")
    assert '"kernel_size": 5' in project.read("data/models/model.json").decode()


@pytest.mark.pipeline
def test_in_a_clone_it_is_two_files(root, tmp_path):
    project = copy_of(root, tmp_path, TINY)
    project.environment["PYTHONPATH"] = str(project.folder / "lib")
    folders = {
        "own-head.md": "lib/maskline/models/heads",
        "own-loss.md": "lib/maskline/losses",
        "own-measure.md": "lib/maskline/metrics/measures",
    }
    for page, folder in folders.items():
        path, code = code_of(root, page)
        written = write(project, f"{folder}/{path.rsplit('/', maxsplit=1)[-1]}", code)
        assert written in (root / "docs/how-to" / page).read_text(encoding="utf-8")
        for block in blocks(root, page, "diff"):
            head, _, body = block.partition("\n")
            file = project.folder / head.removeprefix("--- ")
            file.write_text(change(file.read_text(encoding="utf-8"), body), encoding="utf-8")
    changed = project.run("git", "status", "--porcelain", "--untracked-files=all").splitlines()
    assert len(changed) == 6, "two files each"
    for command in ("tools.closure", "tools.reference"):
        project.run(sys.executable, "-m", command)
    project.run(sys.executable, "-m", "ruff", "check", *(line.split()[-1] for line in changed))
    project.run(sys.executable, "-m", "ruff", "format", "--check", "--diff", *(line.split()[-1] for line in changed))
    page = (project.folder / "docs/reference/params.md").read_text(encoding="utf-8")
    assert "`poly`" in page
    assert "`context`" in page
    assert "volume: volumetric similarity" in page
    given = ["-S", "model.decode_head.name=context", "-S", "model.decode_head.losses=[{name: poly}]"]
    given += ["-S", override(root, "own-measure.md")]
    assert "train: best" in project.run("dvc", "exp", "run", *given, "evaluate")
    card = project.read("data/models/model.json").decode()
    assert '"name": "context"' in card
    assert '"name": "poly"' in card
    text = project.read("reports/evaluate/scores.csv").decode()
    metrics = scores_table.from_csv(text, place="scores.csv")
    assert set(metrics["measures"]) == {"boundary_IoU", "boundary_F", "VS"}
    assert "Volumetric similarity" in project.read("reports/evaluate/report.html").decode()


LAYOUT = '''"""One image."""

def read(folder, settings):
    raise NotImplementedError
'''
TRY = """
import torch
from maskline.builders.augment import augmentation
from maskline.convert.layouts import layout
from maskline.data.labels import LabelSet
from maskline.params.whole import validate_params
from maskline.metrics import scores_table

params = validate_params({"data": {"name": "slides"}, "augment": {"invert": {"prob": 1.0}}})
assert layout(params.data.name).__module__ == "maskline.convert.formats.slides"
labels = LabelSet(class_names=("a", "b"), palette=((0, 0, 0), (255, 0, 0)))
built = augmentation(params.augment, labels, batch_size=2, mean=(1.0,) * 3, std=(1.0,) * 3)
assert built.pixel_ops.invert_prob == 1.0
print("both are there")
"""


def test_a_layout_is_one_file_and_an_operation_on_pixels_two(root, tmp_path):
    """The table of the architecture page: what is found by itself, in a copy of the library."""
    package = tmp_path / "lib" / "maskline"
    shutil.copytree(root / "lib" / "maskline", package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "convert" / "formats" / "slides.py").write_text(LAYOUT)
    operations, section = package / "augment" / "pixel_ops.py", package / "params" / "augment.py"
    operations.write_text(change(operations.read_text(), "     erase_prob: float\n+    invert_prob: float\n"))
    section.write_text(
        change(
            section.read_text(),
            "     channel_dropout: ChanceParams = ChanceParams()\n+    invert: ChanceParams = ChanceParams()\n",
        )
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "lib")}
    done = subprocess.run([sys.executable, "-c", TRY], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "both are there\n", done.stderr
