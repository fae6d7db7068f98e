"""Memory that tensors leave."""

import ctypes
import os
import subprocess
import sys

import pytest

CODE = """
import resource
import torch
from maskline.engine.device import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        torch.ones(2**24)  # 64 MiB, more than malloc keeps by itself
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

torch.set_num_threads(1)
faults()
first = faults()
keep_freed_memory()
# The least of some: a system short of memory may take pages back meanwhile.
print(first, min(faults() for _ in range(5)))
"""


@pytest.mark.skipif(
    os.name != "posix" or not hasattr(ctypes.CDLL(None), "mallopt"), reason="malloc is not glibc's here"
)
def test_freed_memory_is_kept():
    """Its pages are not handed back to the system and cleared again."""
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert before > 4 * 2**26 / 2**21, "as many faults as huge pages at least"
    assert after < before / 10
