"""SIGKILL at random moments of ``dvc repro``: the next one ends as if nothing had happened. The short form."""

import sys

import pytest

from tests.faults import kill_points

pytestmark = [
    pytest.mark.pipeline,
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc"),
]


@pytest.fixture(scope="module")
def fresh(root, tmp_path_factory):
    return kill_points.copy_of(root, tmp_path_factory.mktemp("fresh"), kill_points.SETTINGS)


@pytest.fixture(scope="module")
def alone(fresh, tmp_path_factory):
    return kill_points.undisturbed(fresh, tmp_path_factory.mktemp("alone"))


@pytest.mark.parametrize("victim", kill_points.VICTIMS)
def test_a_killed_run_ends_as_one_left_alone(fresh, alone, tmp_path, victim):
    expected, seconds = alone
    (drawn,) = kill_points.points(1, seconds=0.6 * seconds, seed=kill_points.VICTIMS.index(victim))
    outcome = kill_points.kill_and_repro(fresh, tmp_path, kill_points.Point(after=drawn.after, victim=victim), expected)
    assert outcome.wrong == []
    assert outcome.repeated == []
    assert outcome.killed, "the run had ended"
    assert victim != "lock" or "dvc.lock was torn" in outcome.mended[0]
    # What had ended but for its entry in dvc.lock comes from DVC's cache.
    assert outcome.again or victim == "lock"


def test_points_cover_the_run():
    drawn = kill_points.points(20, seconds=40.0, seed=3)
    assert [int(point.after // 2) for point in drawn] == list(range(20))
    assert {point.victim for point in drawn} == set(kill_points.VICTIMS)
    assert drawn == kill_points.points(20, seconds=40.0, seed=3)
    assert drawn != kill_points.points(20, seconds=40.0, seed=4)
