"""The meter's lines where there is no terminal."""

import logging

import pytest

from maskline.engine import progress
from maskline.engine.progress import Meter


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands until it is set: ``clock.now = 12.0``."""

    class Clock:
        now = 0.0

    monkeypatch.setattr(progress.time, "perf_counter", lambda: Clock.now)
    return Clock


def test_a_line_a_minute_without_a_terminal(clock, caplog):
    caplog.set_level(logging.INFO, logger="maskline")
    meter = Meter(total=100, done=0, bar=None)
    for iteration, clock.now in ((1, 30.0), (2, 59.0), (10, 61.0), (11, 90.0), (20, 122.0)):
        meter.advance(iteration, 0.5)
    assert [record.getMessage() for record in caplog.records] == [
        "10/100  0.16 it/s  549 s left  loss 0.5000",
        "20/100  0.16 it/s  488 s left  loss 0.5000",
    ]


def test_a_validation_s_line_counts_as_one(clock, caplog):
    caplog.set_level(logging.INFO, logger="maskline")
    meter = Meter(total=100, done=0, bar=None)
    clock.now = 50.0
    meter.report(10, "mIoU 0.9")
    clock.now = 70.0
    meter.advance(11, 0.5)
    assert len(caplog.records) == 1
