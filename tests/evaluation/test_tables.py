"""Trees and rows of an evaluation."""

import csv
import json
import re

import numpy as np
import pytest

from maskline.core.errors import DataError
from maskline.evaluation.page import tables, tree
from maskline.metrics.scores import flatten
from tests.evaluation.conftest import FOUR, TWO, Pictures, draw, scored


def test_overall_comes_first_in_the_file_and_when_dvc_sorts(two_classes):
    names = list(flatten(two_classes[1].metrics))
    assert names[:7] == ["aAcc", "mIoU", "mAcc", "mDice", "mFscore", "mPrecision", "mRecall"]
    for order in (names, sorted(names)):
        blocks = [name.split(".")[0] for name in order if "." in name]
        assert list(dict.fromkeys(blocks)) == [
            "foreground",
            "per_class",
            "second_annotator",
            "uncertainty_95",
            "valid_area",
        ]
        assert order.index("mIoU") < order.index("per_class.vessel.IoU")


def test_names_and_numbers_are_fit_for_dvc(four_classes):
    text = json.dumps(four_classes[1].metrics, allow_nan=False)
    for name, value in flatten(json.loads(text)).items():
        assert re.fullmatch(r"[A-Za-z0-9_.]+", name), name
        assert isinstance(value, float), name
        assert value == round(value, 6), name


def test_absent_class_is_left_out(four_classes):
    assert set(four_classes[1].metrics["per_class"]) == {"sky_air", "road", "car"}
    assert "foreground" not in four_classes[1].metrics


def test_scores_by_hand():
    split = draw(TWO, number=2, second=False)
    tree = scored(split).metrics
    # Image 0 has 3 wrong pixels, image 1 has 6; 5 of each are ignored.
    assert tree["aAcc"] == pytest.approx(1 - 9 / (20 * 36 + 24 * 30 - 10), abs=1e-6)
    assert "second_annotator" not in tree


def test_interval_holds_the_score(two_classes):
    tree = two_classes[1].metrics
    assert_intervals_hold_all(tree)


def assert_intervals_hold_all(tree):
    flat = flatten({name: value for name, value in tree.items() if name != "uncertainty_95"})
    intervals = flatten(tree["uncertainty_95"])
    for name, value in flat.items():
        assert intervals[f"{name}.low"] <= value <= intervals[f"{name}.high"], name
    assert len(intervals) == 2 * len(flat)


@pytest.mark.parametrize("labels", [TWO, FOUR])
def test_every_scalar_has_an_interval(labels):
    every = ("boundary", "surface", "cldice", "ranking", "calibration")
    split = draw(labels, number=8, second=True)
    tree = scored(split, names=every).metrics
    assert_intervals_hold_all(tree)
    for block in (tree, tree["second_annotator"], tree["valid_area"]["inside"], tree["uncertainty_95"]):
        assert {"boundary_IoU", "boundary_F", "HD95", "ASD", "clDice"} <= set(block["measures"])
    assert {"AUC", "AP", "ECE"} <= set(tree["measures"])
    assert not {"AUC", "AP", "ECE"} & set(tree["second_annotator"]["measures"])


def test_intervals_of_measures_draw_groups_whole():
    split = draw(TWO, number=8, second=False)
    alone = scored(split, names=("boundary",)).metrics["uncertainty_95"]["measures"]["boundary_F"]
    for picture in split.pictures:  # nothing is independent
        picture.group = "one"
    assert "uncertainty_95" not in scored(split, names=("boundary",)).metrics
    assert alone["low"] < alone["high"]


def test_no_resamples_no_intervals():
    assert "uncertainty_95" not in scored(draw(TWO, number=3, second=True), resamples=0).metrics


def test_nothing_to_score_is_an_error():
    split = draw(TWO, number=2, second=False)
    for picture in split.pictures:
        picture.mask[:] = 255
    with pytest.raises(DataError, match="no pixel of the split has a label"):
        scored(split)


def test_settings_that_were_chosen_are_shown(two_classes):
    tree = scored(two_classes[0], tuned_crf={"bilateral_grey": 6.5}).metrics
    assert tree["tuned_crf"] == {"bilateral_grey": 6.5}
    assert "tuned_crf" not in two_classes[1].metrics


def test_rows_by_image(two_classes):
    split, evaluation = two_classes
    rows = tables.per_image_rows(evaluation.scores, split.labels)
    assert [row["id"] for row in rows] == [f"image_{k:02d}" for k in range(8)]
    assert [(row["height"], row["width"]) for row in rows[:2]] == [(20, 36), (24, 30)]
    assert rows[2]["scored_px"] == 20 * 36 - 5
    assert rows[2]["aAcc"] == pytest.approx(1 - 9 / (20 * 36 - 5), abs=1e-6)
    assert {"Dice", "sensitivity", "specificity", "second_Dice", "IoU_vessel"} <= set(rows[0])


def test_rows_by_image_where_only_some_have_a_second_annotator(tmp_path):
    split = draw(TWO, number=3, second=True)
    split.pictures[0].second = None
    rows = tables.per_image_rows(scored(split).scores, TWO)
    tables.write_csv(tmp_path / "rows.csv", rows)
    with (tmp_path / "rows.csv").open(newline="") as stream:
        read = list(csv.DictReader(stream))
    assert read[0]["second_Dice"] == ""
    assert float(read[1]["second_Dice"]) == rows[1]["second_Dice"]


def test_rows_by_class(four_classes):
    split, evaluation = four_classes
    rows = tables.per_class_rows(evaluation.scores, split.labels, evaluation.metrics)
    assert [row["class"] for row in rows] == list(FOUR.class_names)
    assert sum(row["share"] for row in rows) == pytest.approx(1, abs=1e-5)
    assert rows[3]["pixels"] == 0
    assert rows[3]["IoU"] is None
    assert rows[3]["IoU_low"] is None
    assert rows[1]["IoU_low"] <= rows[1]["IoU"] <= rows[1]["IoU_high"]


def test_class_names_are_no_scripts_and_no_formulas(tmp_path):
    names = ("</script><script>alert(1)</script>", "=1+1")
    tables.write_csv(tmp_path / "rows.csv", tables.confusion_rows(np.ones((2, 2), dtype=np.int64), names))
    text = (tmp_path / "rows.csv").read_text(encoding="utf-8")
    assert "<" not in text
    assert "'=1+1,'=1+1,1\n" in text


def test_confusion_rows_hold_every_cell(four_classes):
    split, evaluation = four_classes
    total = tree.total_confusion(evaluation.scores)
    rows = tables.confusion_rows(total, split.labels.class_names)
    assert [list(row) for row in rows] == [["actual", "predicted", "count"]] * 16
    assert sum(row["count"] for row in rows) == total.sum()
    assert rows[1]["count"] == total[0, 1]


def test_ranking_score_of_an_image_without_foreground():
    # No foreground and no false alarm: there is no Dice, and nothing is wrong.
    split = draw(TWO, number=1, second=False)
    picture = split.pictures[0]
    picture.mask[:] = 0
    picture.image[:] = (200, 0, 0)
    rows = tables.per_image_rows(scored(Pictures([picture], TWO)).scores, TWO)
    assert rows[0]["Dice"] is None
    assert tables.ranking_score(rows[0]) == 1
    assert np.isnan(tables.ranking_score({"Dice": None, "aAcc": None}))


def test_counts_of_each_class_rebuild_every_score(four_classes):
    split, result = four_classes
    rows = tables.per_image_rows(result.scores, split.labels)
    for row, one in zip(rows, result.scores, strict=True):
        for i, key in enumerate(split.labels.keys):
            hits, labelled, predicted = (row[f"{what}_{key}"] for what in tables.COUNTS)
            assert hits == one.confusion[i, i]
            assert labelled == one.confusion[i].sum()
            assert predicted == one.confusion[:, i].sum()


def test_both_areas_where_a_set_has_masks(two_classes):
    split, result = two_classes
    whole = result.metrics["valid_area"]["whole"]
    main = {name: result.metrics[name] for name in ("mDice", "mIoU")}
    assert whole == {"Dice": result.metrics["foreground"]["Dice"], **main}
    inside = scored(split, within_valid=True)
    assert inside.metrics["valid_area"] == result.metrics["valid_area"]
    assert inside.metrics["valid_area"]["inside"]["Dice"] == inside.metrics["foreground"]["Dice"]


def test_extras_by_name(two_classes, four_classes):
    assert "measures" not in two_classes[1].metrics
    every = ("boundary", "surface", "cldice", "ranking", "calibration")
    two = scored(two_classes[0], names=every)
    assert set(two.metrics["measures"]) == {"boundary_IoU", "boundary_F", "HD95", "ASD", "clDice", "AUC", "AP", "ECE"}
    per_image = tables.per_image_rows(two.scores, two_classes[0].labels)
    mean = sum(row["boundary_F"] for row in per_image) / len(per_image)
    assert two.metrics["measures"]["boundary_F"] == pytest.approx(mean, abs=1e-6)
    assert without_measures(two.metrics) == two_classes[1].metrics
    four = scored(four_classes[0], names=("boundary",)).metrics["measures"]
    assert len(four["per_class"]) == 3  # the fourth class is nowhere
    assert four["boundary_F"] == pytest.approx(sum(v["boundary_F"] for v in four["per_class"].values()) / 3, abs=2e-6)


def without_measures(tree):
    return {
        name: without_measures(value) if isinstance(value, dict) else value
        for name, value in tree.items()
        if name != "measures"
    }
