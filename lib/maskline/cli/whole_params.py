"""The check of a whole params file before a stage starts, although the stage reads some of its sections only."""

import os
import subprocess
import sys
from pathlib import Path

import click

import maskline

_LIB = Path(maskline.__file__).resolve().parent.parent


def check_whole(path: Path) -> None:
    """Check every section of a params file, in a process of its own.

    What a stage does not import is no dependency of it: a section that gets a key runs those stages again that read
    it. Of the processes that torchrun starts on a machine, the first one checks.

    Raises:
        SystemExit: With the check's exit code; its line is on stderr.
    """
    if os.environ.get("LOCAL_RANK", "0") != "0":
        return
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(_LIB), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "maskline.params.check", str(path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        click.echo(done.stderr, err=True, nl=False)
        sys.exit(done.returncode)
