"""What the package brings, in a checkout that was worked in."""

import shutil
import subprocess

from maskline.projects import resources


def test_an_edited_params_file_of_a_checkout_is_not_what_is_shipped(tmp_path, monkeypatch):
    (tmp_path / "params.yaml").write_text("train: {iterations: 100}\n")
    git = ["git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=a@b.c"]
    for command in (["init", "-q"], ["add", "params.yaml"], ["commit", "-qm", "a"]):
        subprocess.run([*git, *command], check=True)
    monkeypatch.setattr(resources, "pipeline_folder", lambda: tmp_path)
    original = resources.shipped_params.__wrapped__
    assert original() == tmp_path / "params.yaml"
    (tmp_path / "params.yaml").write_text("train: {iterations: 7}\n")
    assert original().read_text() == "train: {iterations: 100}\n"
    shutil.rmtree(tmp_path / ".git")
    assert original() == tmp_path / "params.yaml"
