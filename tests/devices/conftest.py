"""Training runs whose tensors lie on the meta device, under the eyes of a DeviceWatch."""

from pathlib import Path

import pytest

from maskline.builders.training import build_training
from maskline.core.errors import ParamsError
from tools import device_steps
from tools.device_watch import DeviceWatch
from tools.meta import on_meta
from tools.operations import prepared_set

# What a value that is read is taken to be, where 0 would end the run or leave a part of it out.
ANSWERS = {"engine/guards.py check_weights": 1.0, "augment/mixing.py Mixing._taken": 1.0}


@pytest.fixture(scope="package")
def prepared(tmp_path_factory):
    """Folder of a small prepared set."""
    folder, patch = tmp_path_factory.mktemp("devices"), pytest.MonkeyPatch()
    patch.setenv("DVC_ROOT", str(folder))
    made = prepared_set(folder)
    patch.undo()
    return made


@pytest.fixture
def meta(monkeypatch, prepared, root):
    """A function that builds a run of these params on the meta device."""
    monkeypatch.chdir(root)
    with on_meta():
        yield lambda params: build_training(params, prepared)


@pytest.fixture
def watched(meta):
    """A function that trains two steps and returns what happened in the second: a DeviceWatch."""

    def run(params, *, steps=2):
        job, watch, last = meta(params), DeviceWatch(answers=ANSWERS), []

        def phases():
            for _ in range(steps):
                watch.clear()
                yield
            last.append((watch.mixed, watch.reads, watch.copies, watch.operations))
            watch.clear()  # what the end of the run does is not of the step

        state, seen = device_steps.start_state(job), phases()
        next(seen)
        try:
            with watch:
                clock = device_steps._Clock(state, seen)
                device_steps._run(state, job, journal=device_steps._Unwritten(Path("/dev/null")), stop=clock)
        except ParamsError as error:
            raise AssertionError(str(error)) from error
        watch.mixed, watch.reads, watch.copies, watch.operations = last[0]
        return watch

    return run
