"""What it costs to wait: the same steps with threads that spin and with threads that sleep (``machine.wait``).

The environment is asked once, when torch is loaded: each way has processes of its own.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict

from maskline.analysis.tune import Choice
from maskline.cli.entry import log
from maskline.core.text import one_line
from maskline.runtime.processes.waiting import Wait, unsaid

WAYS: tuple[Wait, ...] = ("spin", "yield")
_ROUNDS = 2  # in turn, so that a disturbance meets both


def measure(choice: Choice, arguments: Sequence[str]) -> dict[Wait, float]:
    """Return the seconds of a step for each way; empty where one of them failed.

    Args:
        choice: How to compute.
        arguments: Of ``maskline tune``, which each process is given too.
    """
    seconds: dict[Wait, float] = {}
    for way in WAYS * _ROUNDS:
        command = [sys.executable, "-m", "maskline.commands.tune", *arguments]
        command += ["--wait", way, "--alone", json.dumps(asdict(choice))]
        done = subprocess.run(command, env=unsaid(), capture_output=True, text=True, check=False)
        found = json.loads(done.stdout) if done.returncode == 0 else {"problem": done.stderr}
        if found.get("step_seconds") is None:
            log.warning("tune: ways of waiting not measured: %s", one_line(found["problem"]))
            return {}
        step = float(found["step_seconds"])
        seconds[way] = min(step, seconds.get(way, step))
    return seconds
