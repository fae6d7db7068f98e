"""A train stage that is told to stop: exit code, journal, plain lines, and the same weights after it went on."""

import signal
import subprocess

import pytest

from tools.trial import TINY, copy_of

pytestmark = pytest.mark.pipeline

SETTINGS = {**TINY, "train.iterations": 40, "train.val_every": 20, "machine.journal_every": 0}


@pytest.fixture(scope="module")
def project(root, tmp_path_factory):
    made = copy_of(root, tmp_path_factory.mktemp("signals"), SETTINGS)
    for stage in ("download", "convert"):
        made.run("python", "-m", f"stages.{stage}")
    return made


def weights(project):
    return project.read("data/models/model.safetensors")


@pytest.fixture(scope="module")
def whole(project):
    printed = project.run("python", "-m", "stages.train")
    return printed, weights(project)


def test_progress_is_plain_lines_where_there_is_no_terminal(whole):
    lines = [line for line in whole[0].splitlines() if " it/s " in line]
    assert [line.split()[0] for line in lines] == ["20/40", "40/40"]
    assert all("s left" in line and "val_loss" in line for line in lines)
    assert "\x1b" not in whole[0]
    assert "\r" not in whole[0]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_and_stops(project, whole, number, code):
    with subprocess.Popen(
        ["python", "-m", "stages.train"],
        cwd=project.folder,
        env=project.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stderr is not None
        seen = ""
        while "20/40" not in seen:  # it is in the loop by then
            seen += running.stderr.readline()
        running.send_signal(number)
        seen += running.stderr.read()
        assert running.wait() == code
    assert "start again to go on from there" in seen
    assert len(list((project.folder / ".maskline" / "journal").rglob("iteration-*.pt"))) == 1
    again = project.run("python", "-m", "stages.train")
    assert "going on after iteration" in again
    assert weights(project) == whole[1]
    assert not list((project.folder / ".maskline" / "journal").rglob("iteration-*.pt"))
