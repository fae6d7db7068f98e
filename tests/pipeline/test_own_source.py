"""A project on a folder of the user's own: what changes there is seen, and nothing else runs again."""

import os

import pytest

from maskline.data import manifest
from maskline.params.base.reading import read_yaml
from tests.sets import picture, save
from tools.trial import Project, copy_of, ran


def draw(folder, numbers):
    for number in numbers:
        save(picture(number, (32, 32)), folder / f"images/p{number:02d}.png")
        save(picture(number, (32, 32), "L").point(lambda v: 255 * (v > 99)), folder / f"masks/p{number:02d}.png")


@pytest.mark.pipeline
def test_what_changes_in_the_folder_is_converted_anew(root, tmp_path):
    clone = copy_of(root, tmp_path / "clone", {})
    place = Project(tmp_path, tmp_path / "site")
    place.environment["PYTHONPATH"] = str(clone.folder / "lib")
    draw(tmp_path / "set", range(12))
    place.run("maskline", "new", "demo", "--data", "set")
    project = Project(tmp_path / "demo", tmp_path / "site")
    project.environment |= {"PYTHONPATH": str(clone.folder / "lib")}
    assert read_yaml(project.folder / "dvc.yaml")["stages"]["download"]["always_changed"] is True
    assert "always_changed" not in clone.read("dvc.yaml").decode()

    def convert(*command):
        return ran(project.run(*(command or ("dvc", "repro", "convert"))))

    assert convert() == ["download", "convert"]
    assert sorted(path.name for path in (project.folder / "data/raw").iterdir()) == ["listing.csv", "source.json"]
    project.commit("twelve")
    assert convert() == ["download"], "nothing changed"
    assert project.run("git", "status", "--porcelain") == ""
    draw(tmp_path / "set", range(12, 15))
    assert convert() == ["download", "convert"]
    assert len(manifest.read(project.folder / "data/prepared")[0]) == 15
    os.replace(tmp_path / "set/masks/p00.png", tmp_path / "set/masks/p00.tmp.png")  # noqa: PTH105
    assert "p00.png: image without a mask" in project.run("dvc", "repro", "convert", code=255)
    os.replace(tmp_path / "set/masks/p00.tmp.png", tmp_path / "set/masks/p00.png")  # noqa: PTH105
    project.run("dvc", "repro", "convert")
    (project.folder / "splits").mkdir()
    (project.folder / "splits/val.txt").write_text("p00\n")
    project.edit({"data.split_lists": {"val": "splits/val.txt"}})
    project.commit("list")
    printed = project.run("dvc", "exp", "run", "--temp", "-S", "data.test_fraction=0.3", "convert")
    assert ran(printed) == ["download", "convert"], "../set is found from a copy of the project"
    assert convert() == ["download", "convert"]
    (project.folder / "splits/val.txt").write_text("p01\n")
    assert convert() == ["download", "convert"], "an edit of the list"
    frame, _ = manifest.read(project.folder / "data/prepared")
    assert list(frame[frame["split"] == "val"]["id"]) == ["p01"]
