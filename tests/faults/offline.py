"""``python -m tests.faults.offline MODEL SECONDS``: hold a session of onnxruntime in a process without an internet.

The kernel kills the process (SIGSYS) when a thread of it, of whatever library, asks for an internet socket: a look-up
is seen without waiting for it, and nothing is sent.
"""

import ctypes
import platform
import socket
import struct
import sys
import time
from pathlib import Path

_SYSCALLS = {"x86_64": 41, "aarch64": 198}  # socket
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _FILTER = 38, 22, 2
_LOAD, _IS, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _KILL = 0x7FFF0000, 0x80000000


def can_forbid():
    return sys.platform == "linux" and platform.machine() in _SYSCALLS


def forbid_internet():
    """Let no thread of this process have a socket of IPv4 or IPv6."""
    number, first_argument = 0, 16  # places in struct seccomp_data
    steps = [
        (_LOAD, 0, 0, number),
        (_IS, 0, 4, _SYSCALLS[platform.machine()]),
        (_LOAD, 0, 0, first_argument),
        (_IS, 1, 0, socket.AF_INET),
        (_IS, 0, 1, socket.AF_INET6),
        (_RETURN, 0, 0, _KILL),
        (_RETURN, 0, 0, _ALLOW),
    ]
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    header = struct.pack("HxxxxxxP", len(steps), ctypes.addressof(program))
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in ((_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (_PR_SET_SECCOMP, _FILTER, header, 0, 0)):
        if libc.prctl(*(value if isinstance(value, bytes) else ctypes.c_ulong(value) for value in arguments)):
            raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    forbid_internet()
    from maskline.export.runtime_onnx import open_session

    session = open_session(Path(sys.argv[1]), threads=1)
    time.sleep(float(sys.argv[2]))
    print("held")
