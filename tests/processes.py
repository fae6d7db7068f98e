"""Runs a function of a test module in several processes that know each other (gloo, CPU).

``python -m tests.processes MODULE FUNCTION RANK COUNT FOLDER`` is one of them; FUNCTION takes the folder.
"""

import importlib
import inspect
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def together(function, folder, *, count=2):
    """Run ``function(folder)`` in ``count`` processes until all have ended well."""
    module = ".".join(Path(inspect.getfile(function)).relative_to(ROOT).with_suffix("").parts)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.processes", module, function.__name__]
    running = [
        subprocess.Popen([*command, str(rank), str(count), str(folder)], env=environment, cwd=ROOT)
        for rank in range(count)
    ]
    try:
        assert [process.wait(timeout=300) for process in running] == [0] * count
    finally:
        for process in running:
            process.kill()


def main(module, name, rank, count, folder):
    import torch
    from torch import distributed

    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=int(rank), world_size=int(count))
    getattr(importlib.import_module(module), name)(Path(folder))
    distributed.barrier()
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
