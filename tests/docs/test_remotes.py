"""The page on remotes and the registry, followed line by line."""

import re
import shlex
import subprocess

import pytest

from tools.trial import Project, ran


@pytest.mark.pipeline
def test_the_page_is_true(finished_project, root, tmp_path):
    project = finished_project.duplicate(tmp_path)
    text = (root / "docs/how-to/remotes-and-models.md").read_text(encoding="utf-8")
    first, clone_block, register, artifacts, get = re.findall(r"^```bash\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)

    def follow(block, place):
        return "".join(
            place.run(*shlex.split(line.replace("/path/to/storage", str(tmp_path / "storage"))))
            for line in block.splitlines()
        )

    (tmp_path / "storage").mkdir()
    follow(first, project)
    subprocess.run(["git", "clone", "-q", project.folder, tmp_path / "clone"], check=True)
    clone = Project(tmp_path / "clone", tmp_path / "other-site")
    assert ran(follow(clone_block, clone)) == []
    weights = project.read("data/models/model.safetensors")
    assert clone.read("data/models/model.safetensors") == weights
    assert "prod" in follow(register, clone)
    follow(artifacts, clone)
    for name in ("newest.safetensors", "first.safetensors", "prod.safetensors"):
        assert clone.read(name) == weights
    follow(get, clone)
    assert clone.read("released/model.onnx") == project.read("data/export/model.onnx")
