import pytest

from maskline.export.latency import measure, summarize


def test_calls_are_taken_in_turn():
    order = []
    found = measure({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, runs=3, warm_up=2)
    assert order == ["a", "a", "b", "b"] * 5  # an untimed call before each
    assert list(found) == ["a", "b"]
    assert 0 <= found["a"].median_ms <= found["a"].p95_ms


def test_median_and_p95():
    found = summarize([value / 1000 for value in range(1, 22)])  # 1..21 ms: the 95th percentile is at position 19
    assert found.to_dict() == {"median_ms": 11.0, "p95_ms": 20.0}


def test_one_run():
    assert summarize([0.002]).to_dict() == pytest.approx({"median_ms": 2.0, "p95_ms": 2.0})
