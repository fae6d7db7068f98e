"""What a GPU makes of maskline, in minutes: ``PYTHONPATH=lib python -m tools.gpu_check`` in a checkout.

Training steps of four networks in several forms beside a plain loop and beside their compute alone; the same bits
twice and after a stop; augmentations, losses, networks, prediction and validation beside the CPU's. It needs no network
and no DVC. Its JSON file is written anew after each case, so that a run that is cut off keeps what it has; a case that
fails is a line of it. docs/explanation/speed.md says what each column means.

The exit code is 1 where a promise is broken on CUDA, 2 where a package is missing that it needs.
"""

import argparse
import faulthandler
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parent.parent
# What of the project's dependencies it does without: DVC, drawing, export.
_SPARE = {
    *("dvc", "jinja2", "matplotlib", "onnx", "onnxruntime", "onnxscript", "packaging", "pooch", "psutil", "requests"),
    *("scikit-image", "tifffile"),
}
_GRACE_S = 60  # after its minutes a run that hangs is ended


def missing(pyproject: Path) -> tuple[list[str], list[str]]:
    """Return the distributions that are not installed: those needed here, and the others."""
    wanted = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]["dependencies"]
    names = [re.split(r"[\[<>=!~ ;]", line)[0] for line in wanted]
    absent = [name for name in [*names, "kornia_rs"] if not _installed(name)]
    return [name for name in absent if name not in _SPARE], [name for name in absent if name in _SPARE]


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def head(device: str) -> dict[str, Any]:
    """Return what is measured on."""
    import torch

    git = shutil.which("git")
    command = [git or "git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False).stdout if git else ""
    return {
        "card": torch.cuda.get_device_name() if device == "cuda" else "CPU",
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "python": sys.version.split()[0],
        "cores": len(os.sched_getaffinity(0)),
        "commit": commit.strip() or None,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.gpu_check", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=6.0, help="what does not fit is skipped (default: 6)")
    parser.add_argument("--device", choices=("auto", "cuda", "cpu"), default="auto", help="default: cuda where it is")
    parser.add_argument("--tiny", action="store_true", help="small networks and crops, a few steps: a try of the tool")
    parser.add_argument("--json", type=Path, default=Path("gpu_check.json"), help="default: gpu_check.json")
    options = parser.parse_args(arguments)
    began = time.monotonic()
    # Before the hub's client is imported: weights come from an installed package or its cache, else they are fresh.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    needed, spare = missing(_ROOT / "pyproject.toml")
    if spare:
        print(f"not installed, and not needed here: {', '.join(spare)}")
    if needed:
        print(f"not installed: {', '.join(needed)}; bring them as wheels for Python {sys.version.split()[0]}")
        return 2
    import torch

    device = options.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        print("--device: cuda, but torch sees no GPU here; give --device cpu --tiny to try the tool")
        return 2
    faulthandler.dump_traceback_later(60 * options.minutes + _GRACE_S, exit=True)
    from tools.gpu_cases import items
    from tools.gpu_report import Report, run_all, table, verdict

    report = Report(options.json.resolve(), head(device))
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as folder:
        whole = items(Path(folder), device=device, tiny=options.tiny)
        run_all(whole, report, until=began + 60 * options.minutes, say=lambda line: print(line, flush=True))
    faulthandler.cancel_dump_traceback_later()
    report.data["seconds"] = round(time.monotonic() - began, 1)
    report.write()
    print("\n".join(["", *table(report.data)]))
    line, code = verdict(report.data)
    print(line)
    return code


if __name__ == "__main__":
    sys.exit(main())
