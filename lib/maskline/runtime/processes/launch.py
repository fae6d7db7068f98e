"""Starts a command in several processes, by torch's elastic agent (the engine of torchrun), and ends as they end."""

import logging
import os
import signal
import sys
import tempfile
import uuid
from collections.abc import Sequence

from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from maskline.core.errors import TrainingError

log = logging.getLogger("maskline")


def run(arguments: Sequence[str], *, devices: int, stage: str) -> None:
    """Run ``python ARGUMENTS`` in so many processes of this machine, until all have ended.

    Exits with the exit code of the first that failed, which has said why; with 130 on SIGINT and 143 on SIGTERM, which
    all processes get.

    Args:
        arguments: Of the Python interpreter.
        devices: Processes.
        stage: Its name, for messages.

    Raises:
        TrainingError: A process was killed.
    """
    # The agent's own report of failures would follow the line that says what is wrong.
    agent_log = logging.getLogger("torch.distributed.elastic")
    agent_log.propagate = log.isEnabledFor(logging.DEBUG)
    agent_log.addHandler(logging.NullHandler())
    os.environ.pop("DVC_STAGE", None)  # the inputs are guarded here, once
    try:
        with tempfile.TemporaryDirectory(prefix="maskline-") as folder:
            config = LaunchConfig(
                min_nodes=1,
                max_nodes=1,
                nproc_per_node=devices,
                run_id=uuid.uuid4().hex,
                rdzv_backend="c10d",
                rdzv_endpoint="localhost:0",
                local_addr="localhost",
                max_restarts=0,
                logs_specs=DefaultLogsSpecs(log_dir=folder),
            )
            elastic_launch(config, sys.executable)(*arguments)
    except SignalException as stopped:
        sys.exit(128 + stopped.sigval)
    except ChildFailedError as failed:
        _end(failed, stage)


def _end(failed: ChildFailedError, stage: str) -> None:
    codes = {rank: int(failure.exitcode) for rank, failure in failed.failures.items()}
    said = [code for code in codes.values() if code > 0]
    if said:
        sys.exit(said[0])
    rank, code = next(iter(codes.items()))
    raise TrainingError(
        f"{stage}, process {rank}",
        f"ended by {signal.Signals(-code).name}, and all others with it",
        f"where memory ran out, lower {stage}.batch_size"
        + (", or machine.workers; start again to go on from the journal" if stage == "train" else ""),
    ) from None
