import numpy as np
import pytest

from maskline.evaluation.page.measures import Cell, reliability_chart, small_tables
from tests.evaluation.conftest import scored
from tests.evaluation.test_evaluation import written


def test_tables_only_of_what_a_run_has():
    assert list(small_tables({"mIoU": 0.5})) == []
    metrics = {
        "valid_area": {"inside": {"Dice": 0.8, "mIoU": 0.7}, "whole": {"Dice": 0.75, "mIoU": 0.65}},
        "steps": {"1_network": {"mIoU": 0.6}, "2_crf": {"mIoU": 0.65}},
        "measures": {"boundary_F": 0.4, "per_class": {"road": {"boundary_F": 0.4}}},
    }
    areas, steps, found = small_tables(metrics)
    assert areas.columns == ("Dice", "mIoU")
    assert values(areas) == {"inside the valid area": [0.8, 0.7], "whole image": [0.75, 0.65]}
    assert [name for name, _ in steps.rows] == ["network alone", "with the dense CRF"]
    assert values(found) == {"Boundary F": [0.4]}


def values(table):
    return {name: [cell.value for cell in cells] for name, cells in table.rows}


def test_intervals_and_the_human_stand_beside_each_score():
    metrics = {
        "measures": {"clDice": 0.8, "AUC": 0.9},
        "valid_area": {
            "inside": {"Dice": 0.7, "measures": {"clDice": 0.8, "AUC": 0.9}},
            "whole": {"Dice": 0.6, "measures": {"clDice": 0.7, "AUC": 0.8}},
        },
        "uncertainty_95": {"valid_area": {"whole": {"measures": {"clDice": {"low": 0.65, "high": 0.75}}}}},
        "second_annotator": {"valid_area": {"whole": {"Dice": 0.5, "measures": {"clDice": 0.6}}}},
    }
    areas, found = small_tables(metrics)
    assert areas.rows[1][1][0] == Cell(value=0.6, low=None, high=None, human=0.5)
    assert found.columns == ("inside the valid area", "whole image")
    assert found.rows[0] == (
        "clDice",
        (Cell(value=0.8, low=None, high=None, human=None), Cell(value=0.7, low=0.65, high=0.75, human=0.6)),
    )
    assert found.rows[1][1][1].human is None  # an annotator gives no probabilities


def test_reliability_is_accuracy_over_confidence():
    counts = np.zeros((3, 15))
    counts[:, 8], counts[:, 14] = (100, 55, 40), (50, 49, 50)
    chart = reliability_chart(counts)
    lines = {line.name: line for line in chart.lines}
    assert [text for _, _, text in lines["accuracy"].points] == ["accuracy at 0.55: 0.4000", "accuracy at 0.98: 1.0000"]
    assert len(lines["equal"].points) == 4


@pytest.fixture
def page(two_classes, card, tmp_path):
    result = scored(two_classes[0], names=("boundary", "calibration"))
    return written(tmp_path, (two_classes[0], result), card)["report.html"].decode()


def test_the_page_has_them(page):
    section = page[page.index('<section id="measures">') : page.index('<section id="classes">')]
    for text in ("inside the valid area", "Boundary IoU", "Expected calibration error", "Reliability", "<svg"):
        assert text in section
    assert 'href="#measures"' in page


def test_the_page_goes_without_what_is_not_there(four_classes, card, tmp_path):
    page = written(tmp_path, four_classes, card)["report.html"].decode()
    assert "Boundary IoU" not in page
    assert "Reliability" not in page
