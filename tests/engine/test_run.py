"""What a finished run says and writes of its scores."""

import json

import pytest

from maskline.engine.journal import Journal
from maskline.engine.process import StopFlag
from maskline.engine.run import Job, Result, write
from maskline.engine.train import fit
from tests.engine.conftest import run

FILES = ("metrics.json", "curves.csv", "classes.csv", "steps.csv", "timing.csv")


def finished(tmp_path, **changes):
    """Return the result of a short run, its metrics, and its files by name."""
    state, loop = run(**changes)
    fit(state, loop, journal=Journal(tmp_path / "journal"), stop=StopFlag())
    job = Job(model=state.model, optimizer=state.optimizer, loop=loop, card={"receipt": {"test": str(tmp_path)}})
    result = Result(state=state, seconds=2.0, iterations=12)
    paths = {name.partition(".")[0]: tmp_path / name for name in FILES}
    write(result, job, model=tmp_path / "model", **paths)
    return result, json.loads(paths["metrics"].read_text())


def test_the_best_validation_is_named(tmp_path):
    result, metrics = finished(tmp_path)
    best = metrics["best"]
    assert list(best) == ["mIoU", "val_loss"]
    assert best["mIoU"] == pytest.approx(result.state.best_score, abs=1e-6)
    assert result.outcome("mIoU") == f"best mIoU {best['mIoU']:.4f} after {result.state.best_iteration} iterations"
    assert (tmp_path / "timing.csv").read_text().startswith("part,seconds,iterations_per_second,images_per_second,")
    assert json.loads((tmp_path / "timing.json").read_text())["seconds"] == 2.0


def test_without_a_validation_nothing_is_called_best(tmp_path):
    result, metrics = finished(tmp_path, validation=None)
    assert metrics.keys() == {"last"}
    assert metrics["last"].keys() == {"train_loss"}
    loss = metrics["last"]["train_loss"]
    assert result.outcome("mIoU") == f"no score to choose by: the weights after 12 iterations, train_loss {loss:.4f}"
