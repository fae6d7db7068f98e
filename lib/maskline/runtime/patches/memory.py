"""How malloc gets the memory of tensors from the system: faster, for the same bits. Loads no torch."""

import ctypes
import functools
import mmap
import os
from pathlib import Path
from typing import Any

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4


def tune(*, enabled: bool, huge_pages: bool) -> None:
    """Where it is ``enabled``, keep freed memory, and ask for huge pages if ``huge_pages`` says so."""
    if enabled:
        keep_freed()
    if enabled and huge_pages:
        prefer_huge_pages()


@functools.cache
def keep_freed() -> bool:
    """Let this process keep the memory that tensors leave, for the next ones.

    Otherwise large tensors come from the system and go back to it, several times a step, and each of their pages is
    cleared anew: up to a fifth of a step. The largest memory of a run stays about the same.

    Returns:
        Whether malloc does so; False where it is not glibc's.
    """
    malloc = _glibc()
    if malloc is None:
        return False
    malloc.mallopt(_M_MMAP_MAX, 0)
    malloc.mallopt(_M_TRIM_THRESHOLD, -1)  # never
    return True


@functools.cache
def prefer_huge_pages() -> bool:
    """Ask for huge pages (2 MiB in place of 4 KiB) where the next tensors will lie, and keep freed memory.

    The processor then finds their numbers sooner. Most Linux kernels give huge pages to a program that asks. Clearing
    the first ones takes a second or so, so this pays in training only, and most at the start of a program: what was
    allocated before stays where it is.

    Returns:
        Whether they were asked for; whether there are any is the kernel's affair.
    """
    malloc = _glibc()
    if malloc is None or not hasattr(mmap, "MADV_HUGEPAGE") or _promises_are_kept() or not keep_freed():
        return False
    malloc.malloc.restype = ctypes.c_void_p
    malloc.malloc.argtypes = [ctypes.c_size_t]
    malloc.free.argtypes = [ctypes.c_void_p]
    malloc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    # Addresses for half of the machine's memory; they take none until they are written to. What more a run needs comes
    # in small pages.
    size = os.sysconf("SC_PHYS_PAGES") * mmap.PAGESIZE // 2
    start = malloc.malloc(size)
    if start is None:  # a limit on addresses: ulimit -v
        return False
    first = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
    asked: int = malloc.madvise(first, start + size - first, mmap.MADV_HUGEPAGE)
    malloc.free(start)
    return asked == 0


def _promises_are_kept() -> bool:
    """Whether the kernel counts addresses as memory, so that other programs would go short of those asked for here."""
    setting = Path("/proc/sys/vm/overcommit_memory")
    return setting.exists() and setting.read_text().strip() == "2"


def _glibc() -> Any:
    """Return the process's own C library where its malloc is glibc's, else None."""
    library = ctypes.CDLL(None) if os.name == "posix" else None
    return library if hasattr(library, "mallopt") else None
