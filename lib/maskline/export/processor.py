"""What this machine's processor can do that a library has to be told. Needs no torch."""

import platform
from pathlib import Path

_X86 = ("x86_64", "amd64", "i386", "i686")
_VNNI = frozenset({"avx512_vnni", "avx_vnni"})


def sums_int8_exactly(*, flags: str | None = None) -> bool:
    """Return whether products of eight bits are added up in 32 bits: x86 with VNNI, and all other processors.

    x86 without VNNI adds pairs of them in 16 bits first, which can overflow. Where the flags cannot be read (Linux
    alone tells them without a package), an x86 processor counts as one without.

    Args:
        flags: Flags of the processor, words; None: this machine's.
    """
    if flags is None:
        if platform.machine().lower() not in _X86:
            return True
        flags = _flags(Path("/proc/cpuinfo"))
    return not _VNNI.isdisjoint(flags.split())


def _flags(file: Path) -> str:
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines() if file.is_file() else []
    return next((line.partition(":")[2] for line in lines if line.startswith("flags")), "")
