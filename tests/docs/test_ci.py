"""The jobs on the page about pull requests are YAML of the right shape, and ask DVC for what it has."""

import re

import pytest
from ruamel.yaml import YAML


@pytest.fixture(scope="module")
def jobs(root):
    text = (root / "docs/how-to/ci.md").read_text(encoding="utf-8")
    return [
        YAML(typ="safe").load(block) for block in re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    ]


def test_github(jobs):
    steps = jobs[0]["jobs"]["scores"]["steps"]
    assert steps[0]["with"]["fetch-depth"] == 0, "a diff needs the other branch"
    assert jobs[0]["permissions"]["pull-requests"] == "write"
    script = next(step["run"] for step in steps if "metrics" in step.get("run", ""))
    assert re.findall(r"dvc (\w+ \w+ --md) ", script) == ["metrics diff --md", "params diff --md"]
    assert "comment.md" in steps[-1]["run"]


def test_gitlab(jobs):
    script = jobs[1]["scores"]["script"]
    assert [line.split(" FETCH_HEAD")[0] for line in script if line.startswith("dvc")] == [
        "dvc metrics diff --md",
        "dvc params diff --md",
    ]
    assert script[-1].startswith("curl --fail ")
