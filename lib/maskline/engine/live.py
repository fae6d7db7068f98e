"""What a run has measured so far, told while it trains: to files, and to whoever else was asked for.

``.maskline/live/NAME`` holds steps.csv and curves.csv, the tables that reports/train will have in the end; ``dvc plots
show`` and ``maskline watch`` read them. NAME is that of the DVC experiment, or workspace. They go when the run ends.
"""

import csv
import io
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from maskline.core.errors import ParamsError
from maskline.core.files import write_text
from maskline.core.state_folder import state_folder
from maskline.engine.state import Row, TrainState

log = logging.getLogger("maskline")

FOLDER = "live"
STEPS, CURVES = "steps.csv", "curves.csv"


class Writer(Protocol):
    """Takes what a run measures. An error of its own costs a warning, and this writer, not the run."""

    def write(self, row: Row, *, validation: bool) -> None:
        """Take one point.

        Args:
            row: ``iteration`` and what was measured then: losses and learning rates, or the scores of a validation.
            validation: Which of both.
        """

    def close(self) -> None:
        """Take note that the run has ended or was stopped."""


def run_name() -> str:
    """Return what a run is called here: by the DVC experiment that it is, or workspace."""
    return os.environ.get("DVC_EXP_NAME") or "workspace"


def live_folder() -> Path:
    """Return the folder of this run's tables; nothing is made."""
    return state_folder(FOLDER, run_name())


class Live:
    """Hands on what is new in a state.

    Args:
        folder: Of the tables.
        writers: Name -> what makes another that wants to know, when there is something to tell.
    """

    def __init__(self, folder: Path, writers: Mapping[str, Callable[[], Writer]]) -> None:
        self.folder = folder
        self._waiting: dict[str, Callable[[], Writer]] = {"files": lambda: _Files(folder), **writers}
        self._open: dict[str, Writer] = {}
        self._seen = {True: 0, False: 0}

    def update(self, state: TrainState) -> None:
        """Hand on the points that were measured since the last time; all of them after the state went back."""
        for validation, rows in ((False, state.steps), (True, state.validations)):
            first = self._seen[validation] if self._seen[validation] <= len(rows) else 0
            self._seen[validation] = len(rows)
            if first < len(rows):
                self._write(rows[first:], validation=validation)

    def close(self) -> None:
        """Tell all writers that there is no more."""
        for name in list(self._open):
            with self._forgiven(name):
                self._open[name].close()

    def remove(self) -> None:
        """Remove the tables: the reports have them."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write(self, rows: Sequence[Row], *, validation: bool) -> None:
        for name in [*self._waiting, *self._open]:
            with self._forgiven(name):
                if name in self._waiting:
                    self._open[name] = self._waiting.pop(name)()
                for row in rows:
                    self._open[name].write(row, validation=validation)

    @contextmanager
    def _forgiven(self, name: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            log.warning("train: %s takes no more curves (%s)", name, str(error).strip() or type(error).__name__)
            self._open.pop(name, None)


class _Files:
    """Two tables; a row is added at the end, and the table written anew where it has a new column."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rows: dict[str, list[Row]] = {STEPS: [], CURVES: []}
        self._columns: dict[str, list[str]] = {STEPS: [], CURVES: []}

    def write(self, row: Row, *, validation: bool) -> None:
        """Take one point."""
        name = CURVES if validation else STEPS
        rows, columns = self._rows[name], self._columns[name]
        if rows and row["iteration"] <= rows[-1]["iteration"]:
            rows.clear()  # the state went back
            columns.clear()
        rows.append(row)
        new = [key for key in row if key not in columns]
        columns += new
        path = self._folder / name
        if new or not path.exists():
            write_text(path, _lines(columns, rows, header=True))
        else:
            with path.open("a", encoding="utf-8") as stream:
                stream.write(_lines(columns, [row], header=False))

    def close(self) -> None:
        """Nothing is open."""


def _lines(columns: Sequence[str], rows: Sequence[Row], *, header: bool) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows({key: f"{value:.8g}" for key, value in row.items()} for row in rows)
    return stream.getvalue()


def open_live(names: Sequence[str], *, params: Mapping[str, Any]) -> Live:
    """Return what tells of a run.

    Args:
        names: Of ``WRITERS``.
        params: What the run was told, for those who keep it beside the curves.

    Raises:
        ParamsError: The package of one is not installed.
    """
    for name in names:
        package, extra = WRITERS[name][1], f"pip install 'maskline[{name}]'"
        if find_spec(package) is None:
            raise ParamsError("params.yaml: machine.log_to", f"{name} needs the package {package}", extra)
    folder = live_folder()
    return Live(folder, {name: partial(WRITERS[name][0], folder, params) for name in names})


class TensorBoard:
    """Event files in .maskline/tensorboard/NAME, which stay."""

    def __init__(self, folder: Path, params: Mapping[str, Any]) -> None:
        del params
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(state_folder("tensorboard", folder.name))

    def write(self, row: Row, *, validation: bool) -> None:
        """Take one point."""
        for key, value in _values(row, validation=validation).items():
            self._writer.add_scalar(key, value, int(row["iteration"]))

    def close(self) -> None:
        """End the run there."""
        self._writer.close()


class Mlflow:
    """A run of MLflow, on the server that MLFLOW_TRACKING_URI names, or in ./mlflow.db."""

    def __init__(self, folder: Path, params: Mapping[str, Any]) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        self._mlflow = import_module("mlflow")
        self._mlflow.set_experiment(_project())
        self._mlflow.start_run(run_name=folder.name)
        self._mlflow.log_dict(dict(params), "params.json")

    def write(self, row: Row, *, validation: bool) -> None:
        """Take one point."""
        self._mlflow.log_metrics(_values(row, validation=validation), step=int(row["iteration"]))

    def close(self) -> None:
        """End the run there."""
        self._mlflow.end_run()


class _Tracker:
    """A run of a package with wandb's interface: init, log, finish."""

    package: str

    def __init__(self, folder: Path, params: Mapping[str, Any]) -> None:
        self._run = import_module(self.package).init(project=_project(), name=folder.name, config=dict(params))

    def write(self, row: Row, *, validation: bool) -> None:
        """Take one point."""
        self._run.log(_values(row, validation=validation), step=int(row["iteration"]))

    def close(self) -> None:
        """End the run there."""
        self._run.finish()


class Trackio(_Tracker):
    """A run of Trackio, kept on this machine unless TRACKIO_SPACE_ID names another place."""

    package = "trackio"


class Wandb(_Tracker):
    """A run of Weights & Biases: on its servers, or with WANDB_MODE=offline in ./wandb."""

    package = "wandb"


WRITERS: Mapping[str, tuple[Callable[[Path, Mapping[str, Any]], Writer], str]] = {
    "tensorboard": (TensorBoard, "tensorboard"),
    "mlflow": (Mlflow, "mlflow"),
    "trackio": (Trackio, "trackio"),
    "wandb": (Wandb, "wandb"),
}
"""Name -> writer, and the package that it needs."""


def _values(row: Row, *, validation: bool) -> dict[str, float]:
    """Return a point's values; those of a validation under ``val``."""
    prefix = "val/" if validation else "train/"
    return {f"{prefix}{key}": value for key, value in row.items() if key != "iteration"}


def _project() -> str:
    """Return the name of the project: its folder's."""
    return Path(os.environ.get("DVC_ROOT", ".")).resolve().name
