"""From predictor and split to files."""

import csv
import io
import json

import pytest
from PIL import Image

from maskline.core.errors import CheckpointError
from maskline.data.labels import LabelSet
from maskline.evaluation import writing
from maskline.evaluation.evaluate import check_labels, headline
from maskline.evaluation.writing import Outputs, write_evaluation
from maskline.metrics import scores_table
from tests.evaluation.conftest import TWO, draw, scored


def outputs(folder):
    return Outputs(
        metrics=folder / "metrics.json",
        scores=folder / "scores.csv",
        per_image=folder / "per_image.csv",
        per_class=folder / "per_class.csv",
        confusion=folder / "confusion.csv",
        conventions=folder / "conventions.csv",
        gallery=folder / "gallery",
        report=folder / "report.html",
    )


def written(folder, made, card, *, curves=None):
    split, result = made
    write_evaluation(
        result, split, card=card, params={"split": "test"}, curves=curves, gallery_each=2, outputs=outputs(folder)
    )
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_writes_everything_and_the_same_bytes_twice(two_classes, card, tmp_path):
    first = written(tmp_path / "a", two_classes, card)
    assert set(first) == {
        "metrics.json", "scores.csv", "per_image.csv", "per_class.csv", "confusion.csv", "conventions.csv",
        "report.html",
        *(f"gallery/{kind}_{rank:02d}.jpg" for kind in ("worst", "median", "best") for rank in (1, 2)),
    }  # fmt: skip
    again = scored(two_classes[0])
    assert written(tmp_path / "b", (two_classes[0], again), card) == first


def test_no_path_of_this_machine_is_in_a_file(two_classes, card, tmp_path):
    for name, content in written(tmp_path / "a", two_classes, card).items():
        assert str(tmp_path).encode() not in content, name


def test_files_agree_with_each_other(two_classes, card, tmp_path):
    files = written(tmp_path, two_classes, card)
    metrics = scores_table.from_csv(files["scores.csv"].decode(), place="scores.csv")
    assert metrics == two_classes[1].metrics
    short = {"aAcc", "mIoU", "mDice"}
    assert json.loads(files["metrics.json"]) == {
        **{name: metrics[name] for name in short},
        "foreground": {"Dice": metrics["foreground"]["Dice"]},
    }
    classes = list(csv.DictReader(io.StringIO(files["per_class.csv"].decode())))
    assert float(classes[1]["Dice"]) == metrics["foreground"]["Dice"] == metrics["per_class"]["vessel"]["Dice"]
    cells = {
        (row["actual"], row["predicted"]): int(row["count"])
        for row in csv.DictReader(io.StringIO(files["confusion.csv"].decode()))
    }
    right = cells["vessel", "vessel"]
    wrong = cells["vessel", "background"] + cells["background", "vessel"]
    assert metrics["foreground"]["Dice"] == pytest.approx(2 * right / (2 * right + wrong), abs=1e-6)
    images = list(csv.DictReader(io.StringIO(files["per_image.csv"].decode())))
    assert sum(int(row["scored_px"]) for row in images) == sum(cells.values())


def test_gallery_images_are_small(two_classes, card, tmp_path):
    for name, content in written(tmp_path, two_classes, card).items():
        if name.startswith("gallery/"):
            assert max(Image.open(io.BytesIO(content)).size) <= 640
            assert len(content) <= 120_000


def test_a_former_gallery_is_replaced(two_classes, card, tmp_path):
    (tmp_path / "gallery").mkdir()
    (tmp_path / "gallery" / "best_99.jpg").write_bytes(b"old")
    assert "gallery/best_99.jpg" not in written(tmp_path, two_classes, card)


def test_page_with_curves(two_classes, card, tmp_path):
    curves = tmp_path / "curves.csv"
    curves.write_text("iteration,train_loss,mDice\n10,1.5,0.5\n20,1.0,0.6\n")
    assert b'id="training"' in written(tmp_path / "with", two_classes, card, curves=curves)["report.html"]
    assert (
        b'id="training"' not in written(tmp_path / "no", two_classes, card, curves=tmp_path / "no.csv")["report.html"]
    )


def test_nothing_is_written_when_a_part_fails(two_classes, card, tmp_path, monkeypatch):
    def fail(data):
        raise RuntimeError("page")

    monkeypatch.setattr(writing, "render", fail)
    with pytest.raises(RuntimeError, match="page"):
        written(tmp_path / "a", two_classes, card)
    assert not (tmp_path / "a").exists()


def test_title_names_network_and_data(two_classes, card, tmp_path):
    smp = {"model": {"type": "smp", "smp": {"architecture": "FPN", "encoder": "resnet18"}}}
    assert b"<h1>unet with fcn on drawn</h1>" in written(tmp_path / "a", two_classes, card)["report.html"]
    files = written(tmp_path / "b", two_classes, {**card, "params": smp})
    assert b"<h1>FPN with resnet18 on drawn</h1>" in files["report.html"]


def test_valid_area_is_said_on_the_page(card, tmp_path):
    split = draw(TWO, number=3, second=True)
    inside = scored(split, within_valid=True)
    assert b"inside the valid area only" in written(tmp_path, (split, inside), card)["report.html"]


def test_headline(two_classes):
    text = headline(two_classes[1])
    dice = two_classes[1].metrics["foreground"]["Dice"]
    assert text.startswith(f"8 images of test, foreground.Dice {dice:.4f} (0.")


def test_labels_must_be_those_of_the_model(card):
    check_labels(TWO, card, place="model.json")
    other = LabelSet(class_names=("background", "disc"), palette=TWO.palette)
    with pytest.raises(CheckpointError, match=r"model.json: was trained with class_names .*vessel.*disc.*train again"):
        check_labels(other, card, place="model.json")
