"""``maskline audit`` on two folds whose network reads the class off the image."""

import csv
import json
import os
import re
import shutil
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from maskline.analysis.audit import members
from maskline.commands.main import main
from maskline.core.files import write_json
from maskline.data.labels import LabelSet
from tests.analysis.audit.test_regions import OBJECT, mask
from tests.evaluation.browser import run_in_page
from tests.evaluation.conftest import Picture, Pictures, inference
from tests.evaluation.test_stage import write_prepared

# A name that is dangerous on a page, in a spreadsheet and in XML.
ODD = "=1+1 <b>&'\"</b>"
LABELS = LabelSet(class_names=("background", ODD), palette=((0, 0, 0), (230, 60, 60)))
TRUTH = mask(OBJECT)
ERRORS = {
    "b-2": (np.zeros_like(TRUTH), "missing object"),
    "a-1": (np.maximum(TRUTH, mask((1, 26, 4, 8, 8))), "superfluous object"),
    "b-4": (np.roll(TRUTH, (4, 3), axis=(0, 1)), "shifted"),
    "a-5": (1 - TRUTH, "inverted"),
}


def picture(name, column):
    truth = np.roll(TRUTH, column, axis=1)
    given = np.roll(ERRORS[name][0], column, axis=1) if name in ERRORS else truth
    image = (np.arange(3) == truth[..., None]).astype(np.uint8) * 3
    return Picture(name, name, image, given, np.ones(truth.shape, bool), given)


@pytest.fixture(scope="module")
def project(shipped_params, tmp_path_factory):
    """A folder with params.yaml and the results of two folds, and the model of a third, older one."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "params.yaml").write_bytes(shipped_params.read_bytes())
    for fold in ("a", "b"):
        member = folder / "folds" / "members" / f"fold-{fold}-0123abcd"
        write_json(member / "models" / "model.json", {"labels": LABELS.to_dict(), "preprocessing": {}, "receipt": {}})
        split = Pictures([picture(f"{fold}-{i}", i) for i in range(8)], LABELS)
        write_prepared(member / "prepared", split, splits=("val",))
    return folder


@pytest.fixture
def audited(project, tmp_path, monkeypatch):
    monkeypatch.setattr(members, "load_all", lambda params, models: [inference(LABELS) for _ in models])
    monkeypatch.setattr(members.checkpoint, "read_card", lambda path: json.loads((path / "model.json").read_text()))

    def run(*arguments):
        options = ["--params", project / "params.yaml", "--folds", project / "folds", "-o", tmp_path / "out"]
        return CliRunner().invoke(main, list(map(str, ["audit", *options, *arguments])))

    return run, tmp_path / "out"


def rows(path):
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_planted_errors_are_first_with_their_reasons(audited):
    run, out = audited
    result = run("--show", "5")
    assert result.exit_code == 0, result.output
    images = rows(out / "images.csv")
    assert len(images) == 16
    assert {row["id"]: row["reason"].split(":")[0] for row in images[:4]} == {
        name: reason for name, (_, reason) in ERRORS.items()
    }
    shifted = next(row for row in images if row["id"] == "b-4")
    assert (shifted["move_down_px"], shifted["move_right_px"]) == ("-4", "-3")
    missing = next(row for row in rows(out / "regions.csv") if row["id"] == "b-2")
    assert [missing[name] for name in ("left", "top", "right", "bottom", "area_px")] == ["10", "5", "22", "15", "120"]
    assert (missing["given"], missing["predicted"]) == ("background", "'" + ODD)  # no formula
    assert float(missing["confidence"]) == pytest.approx(np.e**3 / (np.e**3 + 1), abs=1e-3)


def test_lists_for_labelling_tools(audited):
    run, out = audited
    assert run("--show", "4").exit_code == 0
    assert sorted((out / "files.txt").read_text().split()) == sorted(f"{name}.png" for name in ERRORS)
    tasks = json.loads((out / "label_studio.json").read_text())
    task = next(task for task in tasks if task["data"]["id"] == "b-2")
    (box,) = task["predictions"][0]["result"]
    value = {"x": 25.0, "y": 12.5, "width": 30.0, "height": 25.0, "rotation": 0, "rectanglelabels": ["missing object"]}
    assert box["value"] == value
    view = ElementTree.fromstring((out / "label_studio.xml").read_text())
    labels = view.find("RectangleLabels")
    assert (labels.get("name"), labels.get("toName")) == (box["from_name"], box["to_name"])
    assert "missing object" in {label.get("value") for label in labels}
    image = next(
        image
        for image in ElementTree.fromstring((out / "cvat.xml").read_text()).iter("image")
        if image.get("name") == "b-2.png"
    )
    assert [image.find("box").get(name) for name in ("xtl", "ytl", "xbr", "ybr")] == ["10", "5", "22", "15"]


def test_the_page_runs_nothing_but_its_own(audited, tmp_path):
    run, out = audited
    assert run("--show", "5").exit_code == 0
    page = (out / "audit.html").read_text()
    assert "<b>&" not in page
    assert "=1+1 &lt;b&gt;&amp;" in page
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)[1]
    assert "unsafe" not in policy
    assert "style=" not in page  # the policy would stop it
    # The probe is inline, so it needs another policy than a reader's browser has.
    open_page = page.replace(policy, "default-src 'unsafe-inline' data:")
    script = """
      const press = (key) => document.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true}));
      const shown = () => [...document.querySelectorAll('article')].filter((one) => !one.hidden).map((one) => one.dataset.rank);
      document.querySelectorAll('*').forEach(() => 0);
      localStorage.clear();
      document.querySelector('#wrong').click(); document.querySelector('#next').click();
      const second = shown();
      document.querySelector('#right').click(); document.querySelector('#previous').click();
      document.querySelector('input[value=error]').click();
      let text = null;
      const kept = window.Blob; window.Blob = class extends kept { constructor(parts, options) { super(parts, options); text = parts[0]; } };
      HTMLAnchorElement.prototype.click = () => 0;
      document.querySelector('#download').click();
      document.body.dispatchEvent(new KeyboardEvent('keydown', {key: '3', bubbles: true}));
      return {second, first: shown(), layer: document.body.dataset.layer, text,
              counted: document.querySelector('#counted').textContent,
              kept: Object.values(localStorage)[0]};
    """  # noqa: E501
    seen = run_in_page(open_page, script, tmp_path)
    assert seen["second"] == ["2"]
    assert seen["first"] == ["1"]
    assert seen["layer"] == "prediction"
    assert seen["counted"] == "2 of 5 looked at, 1 wrong"
    lines = seen["text"].splitlines()
    assert (lines[0], len(lines)) == ("rank,id,verdict", 6)
    assert [line.rsplit(",", maxsplit=1)[1] for line in lines[1:]] == ["wrong", "right", "", "", ""]
    assert len(json.loads(seen["kept"])) == 2


def test_under_its_own_policy_the_script_runs(audited, tmp_path):
    import hashlib
    from base64 import b64encode

    run, out = audited
    assert run("--show", "1").exit_code == 0
    page = (out / "audit.html").read_text()
    for tag in ("style", "script"):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in page


def test_of_folds_that_judge_the_same_images_the_newest_counts(audited, project, tmp_path, caplog):
    run, out = audited
    folds = tmp_path / "folds"
    shutil.copytree(project / "folds", folds)
    older = folds / "members" / "fold-a-before"
    shutil.copytree(folds / "members" / "fold-a-0123abcd", older)
    os.utime(older, (0, 0))
    assert run("--folds", folds).exit_code == 0
    assert [record.getMessage() for record in caplog.records if "left out" in record.getMessage()] == [
        f"audit: {older} judges images that a newer fold judges; left out"
    ]
    assert len(rows(out / "images.csv")) == 16


def test_models_that_may_have_seen_the_labels_are_told(audited, project, caplog):
    run, out = audited
    member = project / "folds" / "members" / "fold-a-0123abcd"
    result = run(member / "models", "--prepared", member / "prepared")
    assert result.exit_code == 0, result.output
    assert "may have learned from the labels that they judge" in caplog.text
    assert "may have learned from the labels that they judge" in (out / "audit.html").read_text()
    assert len(rows(out / "images.csv")) == 8


def test_without_folds_it_says_how_to_get_them(audited, tmp_path):
    run, out = audited
    result = run("--folds", tmp_path / "none")
    assert result.exit_code == 2
    assert "0 models of folds, 2 are needed; train them (maskline folds --folds 5), or name" in result.stderr
    assert not out.exists()


def test_next_names_images_unlike_each_other(project, tmp_path, monkeypatch, trained_folder):
    folder = tmp_path / "photos"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for i in range(6):
        Image.fromarray(generator.integers(0, 256, (40, 44, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    (folder / "broken.png").write_bytes(b"no image")
    arguments = ["next", 3, folder, "--params", project / "params.yaml", "--model", trained_folder]
    arguments += ["-o", tmp_path / "next.csv"]
    results = [CliRunner().invoke(main, list(map(str, arguments))) for _ in range(2)]
    assert [result.exit_code for result in results] == [2, 2]  # the broken one is told after all others are done
    assert "broken.png" in results[0].stderr
    assert results[0].stdout == results[1].stdout
    table = rows(tmp_path / "next.csv")
    assert [row["file"] for row in table[:3]] == results[0].stdout.split()
    assert [row["order"] for row in table] == ["1", "2", "3", "", "", ""]
    best = max(table, key=lambda row: float(row["entropy"]))
    assert best["order"] == "1"


def test_next_without_a_model(project, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    result = CliRunner().invoke(main, ["next", "3", "photos", "--params", str(project / "params.yaml")])
    assert result.exit_code == 2
    assert "data/models: no model here; train one (dvc repro train), or name it with --model" in result.stderr
