"""Memory that tensors leave, and huge pages. In processes of their own: malloc's settings cannot be taken back."""

import ctypes
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    os.name != "posix" or not hasattr(ctypes.CDLL(None), "mallopt"), reason="malloc is not glibc's here"
)

FREED = """
import resource
import torch
from maskline.runtime.patches.memory import keep_freed

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        torch.ones(2**24)  # 64 MiB, more than malloc keeps by itself
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

torch.set_num_threads(1)
faults()
first = faults()
assert keep_freed()
# The least of some: a system short of memory may take pages back meanwhile.
print(first, min(faults() for _ in range(5)))
"""

HUGE = """
import sys
from maskline.runtime.patches.memory import prefer_huge_pages
asked = prefer_huge_pages()
assert "torch" not in sys.modules
import torch

def kib(name):
    lines = open("/proc/self/smaps_rollup").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name + ":"))

before, huge = kib("Rss"), kib("AnonHugePages")
x = torch.ones(2**24)
print(int(asked), kib("Rss") - before, kib("AnonHugePages") - huge)
"""


def run(code: str, **options) -> list[int]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, **options)
    return [int(number) for number in done.stdout.split()]


def test_freed_memory_is_kept():
    """Its pages are not handed back to the system and cleared again."""
    before, after = run(FREED)
    assert before > 4 * 2**26 / 2**21, "as many faults as huge pages at least"
    assert after < before / 10


def test_tensors_lie_in_huge_pages():
    modes = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    if not modes.exists() or "[never]" in modes.read_text() or not Path("/proc/self/smaps_rollup").exists():
        pytest.skip("this kernel gives no huge pages")
    asked, more, huge = run(HUGE)
    assert asked
    assert 2**16 <= more < 2**16 + 2**14, "64 MiB, and the addresses asked for take no memory"
    assert huge >= 2**15, "half of it at least; the kernel may be short of them"


def test_where_addresses_are_limited_pages_are_small():
    limit = 8 * 2**30
    if os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2 <= limit:
        pytest.skip("a small machine")
    code = "from maskline.runtime.patches.memory import prefer_huge_pages; print(int(prefer_huge_pages()))"
    assert run(code, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit))) == [0]
