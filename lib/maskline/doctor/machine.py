"""Checks of ``maskline doctor`` on the machine and its packages; each takes what it needs and returns findings."""

import importlib
import importlib.metadata
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from maskline import __version__
from maskline.doctor.findings import Finding, fault, ok, warning

_OLDEST, _NEWEST = (3, 11), (3, 14)
_SHOWN = ("torch", "torchvision", "kornia", "segmentation-models-pytorch", "timm", "onnxruntime", "dvc")
_INSTALL = "install again: make env in a clone, pip install -r requirements.lock elsewhere"

# The environment takes some GiB; a run with the shipped settings writes some 50 MiB.
_TIGHT_GIB, _FULL_GIB = 2.0, 0.2

Version = Callable[[str], str]


def python() -> Finding:
    """Check the interpreter's version."""
    description = f"{platform.python_version()} ({sys.executable}), maskline {__version__}"
    if _OLDEST <= sys.version_info[:2] <= _NEWEST:
        return ok("python", description)
    return fault("python", description, "use Python 3.11 to 3.14; in a clone: make PYTHON=python3.13 env")


def path_python() -> Finding:
    """Check that ``python``, which the stages are run with, is this one."""
    program = shutil.which("python")
    if program and Path(program).parent.resolve() == Path(sys.executable).parent.resolve():
        return ok("python on the path", program)
    return warning(
        "python on the path",
        f"{program or 'none'}: dvc would run the stages with it",
        f"source {Path(sys.executable).parent}/activate, or use make repro",
    )


def packages(lock: Path, *, version: Version = importlib.metadata.version) -> Iterator[Finding]:
    """Show the versions that matter and compare all with the lock file."""
    shown = [f"{name} {installed_version}" for name in _SHOWN if (installed_version := _version(name, version))]
    yield ok("versions", ", ".join(shown) or "none of " + ", ".join(_SHOWN))
    if not lock.is_file():
        yield ok("lock", f"no {lock.name} here to compare with")
        return
    locked = read_lock(lock.read_text(encoding="utf-8"))
    installed = {name: _version(name, version) for name in locked}
    required = required_packages()
    missing = sorted(name for name, installed_version in installed.items() if not installed_version)
    needed = [name for name in missing if name in required]
    others = [
        f"{name} {installed_version} for {locked[name]}"
        for name, installed_version in installed.items()
        if installed_version not in ("", locked[name])
    ]
    if needed:
        yield fault("lock", f"missing: {', '.join(needed)}", _INSTALL)
    elif missing or others:
        listed = [*(f"no {name}" for name in missing), *sorted(others)]
        yield warning("lock", f"{len(listed)} of {len(locked)} differ: {_few(listed)}", _INSTALL)
    else:
        yield ok("lock", f"all {len(locked)} packages as in {lock.name}")


def read_lock(text: str) -> dict[str, str]:
    """Return normalized name -> version of the lines NAME==VERSION."""
    pairs = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;#]+)", text, flags=re.MULTILINE)
    return {_normal(name): version for name, version in pairs}


def required_packages() -> set[str]:
    """Return the normalized names of what maskline itself needs to be installed."""
    try:
        lines = importlib.metadata.requires("maskline") or []
    except importlib.metadata.PackageNotFoundError:  # run from its sources
        return set()
    return {_normal(re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0]) for line in lines if "extra ==" not in line}


def torch_state(*, threads: int | None, device: str | None) -> Iterator[Finding]:
    """Check torch, the CPU and the GPU against ``train.threads`` and ``train.device``, None where not known."""
    try:
        import torch
    except (ImportError, OSError) as error:
        yield fault("torch", f"cannot be imported ({error})", _INSTALL)
        return
    yield ok("torch", f"{torch.__version__}, built for {_built_for(torch.version.cuda)}")
    yield cpu(
        capability=torch.backends.cpu.get_cpu_capability(),
        bf16=bool(torch.cpu._is_avx512_bf16_supported()),
        cores=cores(),
        threads=threads,
    )
    seen = [_describe_gpu(index) for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    yield gpu(seen, built_for_cuda=torch.version.cuda is not None, driver=_driver_found(), device=device)


def cpu(*, capability: str, bf16: bool, cores: int, threads: int | None) -> Finding:
    """Compare the CPU with ``train.threads``."""
    native = "native bf16" if bf16 else "no native bf16 (precision auto: fp32)"
    description = f"{cores} cores for this process, {capability}, {native}"
    if threads is None:
        return ok("cpu", description)
    description += f", train.threads {threads}"
    if threads > cores:
        return warning(
            "cpu", description, f"set train.threads to {cores}; more threads than cores slow each other down"
        )
    return ok("cpu", description)


def load(*, mean: float, processors: int) -> Finding:
    """Compare what ran or wanted to run in the last minute with the processors; own runs that have just ended count."""
    description = f"{mean:.1f} processes at a time in the last minute, for {processors} processors"
    if mean <= processors:
        return ok("load", description)
    remedy = "let the others end first; a run that starts now waits asleep (machine.wait: auto), and timings are off"
    return warning("load", description, remedy)


def gpu(seen: list[str], *, built_for_cuda: bool, driver: bool, device: str | None) -> Finding:
    """Compare the GPUs that torch sees with ``train.device`` and with the driver's."""
    if seen:
        return ok("gpu", "; ".join(seen))
    if device == "cuda":
        return fault("gpu", "none that torch sees, and train.device is cuda", "set train.device to auto or cpu")
    if driver and not built_for_cuda:
        return warning("gpu", "an NVIDIA driver, but a torch for the CPU", "install torch for CUDA to train on the GPU")
    if driver:
        return warning(
            "gpu",
            "an NVIDIA driver, but torch sees no GPU",
            "check nvidia-smi and CUDA_VISIBLE_DEVICES; the driver must be as new as torch's CUDA",
        )
    return ok("gpu", "none; training runs on the CPU")


def cores() -> int:
    """Return the cores that this process may use: its affinity, or less where a container has a quota."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return max(1, min(allowed, -(-int(quota) // int(period))))
    except (OSError, ValueError):  # no cgroup, or "max": no quota
        return allowed


def torchvision() -> Finding:
    """Check that torchvision can be imported beside this torch."""
    try:
        from maskline.runtime.libraries import declare_missing_operators

        stands_in = declare_missing_operators()
        version = importlib.import_module("torchvision").__version__
    except Exception as error:  # a mismatch shows as RuntimeError, OSError or AttributeError
        return fault(
            "torchvision", f"cannot be imported ({error})", f"take the release that belongs to torch: {_INSTALL}"
        )
    if stands_in:
        return ok(
            "torchvision", f"{version}, built for another torch; maskline declares its operators, which it never calls"
        )
    return ok("torchvision", f"{version}, its own operators load")


def disk(folder: Path, *, free: int | None = None) -> Finding:
    """Check the free space of the folder's disk, in bytes; asked of the system where not given."""
    gib = (shutil.disk_usage(folder).free if free is None else free) / 2**30
    free_space = f"{gib:.1f} GiB free"
    remedy = "free some space: dvc gc --workspace --all-experiments drops what no experiment uses"
    if gib < _FULL_GIB:
        return fault("disk", free_space, remedy)
    return warning("disk", free_space, remedy) if gib < _TIGHT_GIB else ok("disk", free_space)


def writable(check: str, folder: Path, *, remedy: str) -> Finding:
    """Check that a file can be made in the folder, or in the nearest folder above it that exists."""
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        with tempfile.TemporaryFile(dir=place):  # asked by doing: root may write where its rights forbid it
            return ok(check, f"{folder} can be written")
    except OSError as error:
        return fault(check, f"{place} cannot be written ({error.strerror})", remedy)


def _built_for(cuda: str | None) -> str:
    return f"CUDA {cuda}" if cuda else "the CPU"


def _describe_gpu(index: int) -> str:
    import torch

    known = torch.cuda.get_device_properties(index)
    bf16 = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "no bf16"
    return f"{known.name}, {known.total_memory / 2**30:.0f} GiB, compute {known.major}.{known.minor}, {bf16}"


def _driver_found(environment: Mapping[str, str] = os.environ) -> bool:
    return (
        Path("/proc/driver/nvidia/version").exists()
        or shutil.which("nvidia-smi", path=environment.get("PATH")) is not None
    )


def _version(name: str, version: Version) -> str:
    """Return the installed version without the build's suffix (+cpu); empty where it is not installed."""
    try:
        return version(name).partition("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return ""


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _few(items: list[str]) -> str:
    return ", ".join(items[:4]) + (", ..." if len(items) > 4 else "")
