"""Curves as coordinates."""

import pytest

from maskline.core.errors import DataError
from maskline.evaluation.page import charts


def curves(**columns):
    return {"iteration": [100.0, 200.0, 300.0], **columns}


def test_groups_of_curves():
    made = charts.training_charts(
        curves(
            train_loss=[3.0, 2.0, 1.0], val_loss=[3.0, None, 2.0], mIoU=[0.1, 0.3, 0.2], lr=[0.1, 0.1, 0.0],
            IoU_car=[0.1, 0.2, 0.3],
        ),
        best_metric="mIoU",
    )  # fmt: skip
    assert {chart.title: [line.name for line in chart.lines] for chart in made} == {
        "Loss": ["train_loss", "val_loss"],
        "Scores on the validation split": ["mIoU"],
        "IoU by class": ["IoU_car"],
    }
    middle = made[0].lines[0].points[1][0]
    assert all(chart.marker == middle for chart in made)  # mIoU is highest at the second point


def test_higher_values_are_higher_up_and_later_ones_further_right():
    line = charts.training_charts(curves(mIoU=[0.1, 0.3, 0.2]), best_metric="")[0].lines[0]
    (x0, y0, _), (x1, y1, text), (x2, y2, _) = line.points
    assert x0 < x1 < x2
    assert y1 < y2 < y0
    assert text == "mIoU at 200: 0.3000"
    assert line.last == "0.200"


def test_everything_lies_inside_the_drawing():
    chart = charts.training_charts(curves(val_loss=[1e-7, 5e3, 12.0]), best_metric="val_loss")[0]
    places = [(x, y) for x, y, _ in chart.lines[0].points]
    places += [(tick.position, 1) for tick in chart.x_ticks] + [(1, tick.position) for tick in chart.y_ticks]
    assert all(0 <= x <= charts.WIDTH and 0 <= y <= charts.HEIGHT for x, y in places)


def test_missing_values_are_gaps():
    line = charts.training_charts(curves(val_loss=[1.0, None, 2.0]), best_metric="")[0].lines[0]
    assert line.path.count("M") == 2
    assert "L" not in line.path


@pytest.mark.parametrize("values", [[0.5, 0.5, 0.5], [0.0, 0.0, 0.0], [None, 0.5, None]])
def test_flat_curves(values):
    chart = charts.training_charts(curves(mIoU=values), best_metric="mIoU")[0]
    assert len(chart.y_ticks) >= 2


def test_a_single_validation():
    made = charts.training_charts({"iteration": [10.0], "train_loss": [1.0]}, best_metric="mIoU")
    assert len(made[0].lines[0].points) == 1
    assert made[0].marker is None


def test_empty_columns_and_very_many_classes_are_left_out():
    many = {f"IoU_class_{i}": [0.1, 0.2, 0.3] for i in range(20)}
    assert charts.training_charts(curves(val_loss=[None] * 3, **many), best_metric="") == []


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 1.0, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0.61, 1.39, [0.6, 0.8, 1.0, 1.2, 1.4]),
        (100, 1200, [0, 250, 500, 750, 1000, 1250]),
    ],
)
def test_ticks_are_round(low, high, expected):
    assert charts.nice_ticks(low, high, about=5) == pytest.approx(expected)


def test_read_curves(tmp_path):
    path = tmp_path / "curves.csv"
    path.write_text("iteration,loss\n1,0.5\n2,\n")
    assert charts.read_curves(path) == {"iteration": [1.0, 2.0], "loss": [0.5, None]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("iteration,loss\n", "no rows"),
        ("a,b\n1,x\n", "not a table of numbers"),
        ("a,b\n1,\udcff\n", "damaged table"),
        ("a,b\n1," + "1" * 200_000, "damaged table"),
    ],
)
def test_unreadable_curves_are_an_error(tmp_path, text, message):
    path = tmp_path / "curves.csv"
    path.write_text(text, errors="surrogateescape")
    with pytest.raises(DataError, match=message):
        charts.read_curves(path)
