"""Curves while a run trains."""

import csv
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from maskline.core.errors import ParamsError
from maskline.engine import live
from maskline.engine.journal import Journal
from maskline.engine.process import StopFlag
from maskline.engine.train import fit
from tests.engine.conftest import run


class Kept:
    def __init__(self, fails_after=None):
        self.rows, self.closed, self.fails_after = [], False, fails_after

    def write(self, row, *, validation):
        if self.fails_after is not None and len(self.rows) >= self.fails_after:
            raise OSError("the server is away")
        self.rows.append((validation, row))

    def close(self):
        self.closed = True


def trained(folder, tmp_path, writers=None, **changes):
    state, loop = run(**changes)
    told = live.Live(folder, {name: lambda writer=writer: writer for name, writer in (writers or {}).items()})
    loop = type(loop)(**{name: getattr(loop, name) for name in loop.__dataclass_fields__} | {"live": told})
    fit(state, loop, journal=Journal(tmp_path / "journal"), stop=StopFlag())
    return state, told


def table(path):
    with path.open() as stream:
        return list(csv.DictReader(stream))


def test_tables_and_writers_get_what_the_run_measures_and_the_weights_stay(tmp_path, caplog):
    good, bad = Kept(), Kept(fails_after=1)
    state, told = trained(tmp_path / "live", tmp_path, {"good": good, "bad": bad})
    expected = [(False, row) for row in state.steps] + [(True, row) for row in state.validations]
    assert sorted(map(str, good.rows)) == sorted(map(str, expected))
    assert caplog.text.count("bad takes no more curves (the server is away)") == 1
    rows = table(tmp_path / "live" / "curves.csv")
    assert [row["iteration"] for row in rows] == [f"{row['iteration']:.8g}" for row in state.validations]
    assert [row["loss"] for row in table(tmp_path / "live" / "steps.csv")] == [f"{r['loss']:.8g}" for r in state.steps]
    told.close()
    told.remove()
    assert good.closed
    assert not (tmp_path / "live").exists()
    plain, loop = run()
    fit(plain, loop, journal=Journal(tmp_path / "other"), stop=StopFlag())
    assert all(torch.equal(value, state.model.state_dict()[name]) for name, value in plain.model.state_dict().items())


def test_a_state_that_went_back_is_told_anew(tmp_path):
    told = live.Live(tmp_path, {})
    steps = [{"iteration": i, "loss": 1.0 / i} for i in (1, 2, 3)]
    told.update(SimpleNamespace(steps=steps, validations=[]))
    told.update(SimpleNamespace(steps=steps[:1], validations=[{"iteration": 1, "train_loss": 1.0}]))
    told.update(SimpleNamespace(steps=[*steps[:1], {"iteration": 2, "loss": 7.0, "lr": 0.1}], validations=[]))
    assert table(tmp_path / "steps.csv") == [
        {"iteration": "1", "loss": "1", "lr": ""},
        {"iteration": "2", "loss": "7", "lr": "0.1"},
    ]


@pytest.mark.parametrize("name", ["trackio", "wandb"])
def test_trackers_get_init_log_and_finish(name, tmp_path, monkeypatch):
    calls = []
    started = SimpleNamespace(
        log=lambda values, step: calls.append((values, step)), finish=lambda: calls.append("finished")
    )
    package = SimpleNamespace(init=lambda **options: calls.append(options) or started, __spec__=object())
    monkeypatch.setitem(sys.modules, name, package)
    monkeypatch.setenv("DVC_EXP_NAME", "faster")
    monkeypatch.chdir(tmp_path)
    told = live.open_live([name], params={"train": {"seed": 0}})
    assert calls == []
    told.update(SimpleNamespace(steps=[{"iteration": 5, "loss": 0.5}], validations=[{"iteration": 5, "mIoU": 0.7}]))
    told.close()
    assert calls[0] == {"project": tmp_path.name, "name": "faster", "config": {"train": {"seed": 0}}}
    assert calls[1:] == [({"train/loss": 0.5}, 5), ({"val/mIoU": 0.7}, 5), "finished"]
    assert (tmp_path / ".maskline/live/faster/steps.csv").is_file()


def test_mlflow_gets_a_run(tmp_path, monkeypatch):
    calls = []

    def called(name):
        return lambda *arguments, **options: calls.append((name, *arguments, *options.values()))

    names = ("set_experiment", "start_run", "log_dict", "log_metrics", "end_run")
    package = SimpleNamespace(**{name: called(name) for name in names}, __spec__=object())
    monkeypatch.setitem(sys.modules, "mlflow", package)
    monkeypatch.chdir(tmp_path)
    told = live.open_live(["mlflow"], params={})
    told.update(SimpleNamespace(steps=[{"iteration": 5, "loss": 0.5}], validations=[]))
    told.close()
    assert [call[0] for call in calls] == list(names)
    assert calls[3] == ("log_metrics", {"train/loss": 0.5}, 5)


def test_a_package_that_is_not_there_is_one_line(monkeypatch):
    monkeypatch.setattr(live, "find_spec", lambda name: None)
    with pytest.raises(
        ParamsError, match=r"machine.log_to: wandb needs the package wandb; pip install 'maskline\[wandb\]'"
    ):
        live.open_live(["wandb"], params={})


def test_one_class_for_every_pixel_is_said_once(tmp_path, caplog, monkeypatch):
    from maskline.engine import validate

    monkeypatch.setattr(
        validate,
        "confusion_matrix",
        lambda *_, num_classes, **__: (
            torch.eye(num_classes, dtype=torch.int64)[None] * 0
            + torch.nn.functional.one_hot(torch.zeros(num_classes, dtype=torch.int64), num_classes)[None]
        ),
    )
    trained(tmp_path / "live", tmp_path)
    assert caplog.text.count("every pixel of the val split is ") == 1


@pytest.mark.pipeline
def test_dvc_sees_the_tables(root, tmp_path, monkeypatch):
    pytest.importorskip("dvc")
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    folder = tmp_path / "project"
    told = live.Live(folder / ".maskline/live/workspace", {})
    told.update(SimpleNamespace(steps=[], validations=[{"iteration": 2, "train_loss": 0.5}]))
    (folder / ".maskline/journal").mkdir()
    shutil.copyfile(root / ".dvcignore", folder / ".dvcignore")

    def dvc(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "dvc", *arguments], cwd=folder, capture_output=True, text=True, check=False
        ).stdout

    dvc("init", "--no-scm", "-q")
    shutil.copyfile(root / ".dvcignore", folder / ".dvcignore")
    line = "plots show .maskline/live/workspace/curves.csv -x iteration -y train_loss --json"
    assert '"train_loss": "0.5"' in dvc(*line.split())
    assert ".maskline/journal" in dvc("check-ignore", ".maskline/journal")
