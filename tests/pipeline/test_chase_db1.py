"""The line on real images: CHASE_DB1, 28 eyes of 14 children, each labelled by two people."""

import json

import pandas as pd
import pytest

from maskline.metrics import scores_table
from maskline.params.base.reading import read_yaml
from tools.closure import stage_module
from tools.trial import TINY, copy_of

pytestmark = pytest.mark.pipeline


@pytest.fixture(scope="module")
def project(root, shared_data, tmp_path_factory):
    """A copy in which every stage has run on the archive, one command after the other."""
    values = {
        **TINY,
        "data.name": "chase_db1",
        "data.archive": str(shared_data / "CHASEDB1.zip"),
        "data.val_fraction": 0.1,
        "evaluate.bootstrap": 50,
    }
    made = copy_of(root, tmp_path_factory.mktemp("chase"), values)
    for stage in read_yaml(root / "dvc.yaml")["stages"].values():
        made.run("python", "-m", stage_module(stage))
    return made


def test_the_split_is_the_fields_and_no_child_is_in_two(project):
    frame = pd.read_csv(project.folder / "data" / "prepared" / "manifest.csv")
    assert len(frame) == 28
    test = frame[frame["split"] == "test"]
    assert len(test) == 8
    assert sorted(test["id"])[0] > max(frame[frame["split"] != "test"]["id"])  # the last eight by name
    assert not set(test["group"]) & set(frame[frame["split"] != "test"]["group"])
    assert not set(frame[frame["split"] == "val"]["group"]) & set(frame[frame["split"] == "train"]["group"])
    assert set(zip(frame["height"], frame["width"], strict=True)) == {(960, 999)}
    assert (frame["second_bytes"] > 0).all()


def test_vessels_have_their_share(project):
    summary = json.loads(project.read("reports/convert/summary.json"))
    assert 0.05 < summary["class_share"]["vessel"] < 0.15
    assert summary["with_second_annotator"] == 28


def test_every_test_image_is_scored_and_the_second_annotator_with_it(project):
    text = project.read("reports/evaluate/scores.csv").decode()
    metrics = scores_table.from_csv(text, place="scores.csv")
    assert 0 <= metrics["foreground"]["Dice"] <= 1
    # Two people agree on thin vessels far better than by chance, and far from wholly.
    assert 0.72 < metrics["second_annotator"]["foreground"]["Dice"] < 0.85
    assert len(pd.read_csv(project.folder / "reports" / "evaluate" / "per_image.csv")) == 8


def test_the_exported_model_agrees_with_torch(project):
    table = pd.read_csv(project.folder / "reports" / "export" / "agreement.csv", index_col="images")
    assert table["cases"]["test"] == 8
    assert table["disagreement"]["test"] <= 0.0001
