"""SMP imports beside any torch, in a fresh process."""

import subprocess
import sys


def test_smp_imports_after_the_declaration():
    code = (
        "from maskline.runtime.libraries.torchvision_ops import declare_missing_operators as declare\n"
        "first = declare()\n"
        "assert declare() == first\n"
        "import segmentation_models_pytorch\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=120)
