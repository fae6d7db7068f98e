"""The checks of a project's folder."""

import pytest

from maskline.doctor import project
from maskline.params.data import DataParams

STAGES = "stages:\n  download:\n    cmd: python -m stages.download\n{}    outs:\n    - data/raw\n"


@pytest.mark.parametrize(
    ("line", "state"),
    [("    always_changed: true\n", "ok"), ("", "warning"), ("    always_changed: false\n", "warning")],
)
def test_an_older_project_that_does_not_look_at_its_source(tmp_path, line, state):
    (tmp_path / "set").mkdir()
    (tmp_path / "dvc.yaml").write_text(STAGES.format(line))
    data = DataParams(name="folder", archive="set")
    finding = project.source(data, root=tmp_path, environment={}, network=False)
    assert finding.state == state
    if state == "warning":
        assert "a change is not seen" in finding.found
        assert "maskline new --upgrade ." in finding.remedy


def test_a_source_that_is_not_there(tmp_path):
    (tmp_path / "dvc.yaml").write_text(STAGES.format(""))
    data = DataParams(name="folder", archive="set")
    assert project.source(data, root=tmp_path, environment={}, network=False).state == "fault"
