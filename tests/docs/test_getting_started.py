"""The first page, followed line by line by somebody without data, with a short training."""

import re
import shlex

import pytest

from maskline.params.base.reading import read_yaml
from tools.trial import TINY, Project, copy_of, ran, write_params

FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHORT = {key: value for key, value in TINY.items() if not key.startswith("data.")}


@pytest.mark.pipeline
def test_the_page_is_true(root, tmp_path):
    blocks = FENCE.findall((root / "docs/getting-started.md").read_text(encoding="utf-8"))
    clone = copy_of(root, tmp_path / "clone", {})
    place = Project(tmp_path, tmp_path / "site")
    place.environment["PYTHONPATH"] = str(clone.folder / "lib")
    printed = {}
    for language, text in blocks:
        if language == "python":
            name, _, code = text.partition("\n")
            (place.folder / name.removeprefix("# ")).write_text(code, encoding="utf-8")
        if language == "yaml":
            (tmp_path / "told.yaml").write_text(text, encoding="utf-8")
        for line in text.splitlines() if language == "bash" else ():
            if line.startswith("cd "):
                environment, place = place.environment, Project(place.folder / line[3:], tmp_path / "site")
                place.environment = environment
                written = read_yaml(place.folder / "params.yaml")["data"]
                write_params(place.folder / "params.yaml", SHORT)
            elif not line.startswith(("make repro", "source ")):
                short = line.replace("train.iterations=2400", "train.iterations=6")
                printed[line] = place.run(*shlex.split(short))
    told = read_yaml(tmp_path / "told.yaml")["data"]
    assert told == {key: written[key] for key in told}
    # download looks at the set each time
    assert ran(printed["dvc repro"]) == ["download", "train", "evaluate", "export"]
    again = ["download", "augment-preview", "train", "evaluate", "export"]
    assert ran(printed["dvc exp run -S train.iterations=2400"]) == again
    assert "leaf.Dice" in printed["dvc metrics show"] or "foreground.Dice" in printed["dvc metrics show"]
    assert len(list((place.folder / "out" / "overlay").iterdir())) == 24
    assert place.run("git", "log", "--format=%s").splitlines() == ["First run", "New maskline project"]
