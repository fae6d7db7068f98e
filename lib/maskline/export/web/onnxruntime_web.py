"""onnxruntime-web (MIT, Microsoft), which runs ONNX files in a browser: what the page needs of its package."""

import base64
import hashlib
import tarfile
from pathlib import Path

import onnxruntime

from maskline.core.errors import ExportError
from maskline.download import published_file

VERSION = "1.30.0"
URL = f"https://registry.npmjs.org/onnxruntime-web/-/onnxruntime-web-{VERSION}.tgz"
INTEGRITY = "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
"""As the registry states it."""

# The build that computes on the CPU alone: half the size of those that also know WebGPU.
PARTS = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")

# The package has no licence text of its own; the Python package of the same project, which is built from the same
# sources, has it and the notices of what is linked into both.
LICENCES = {"onnxruntime-LICENSE": "LICENSE", "onnxruntime-ThirdPartyNotices": "ThirdPartyNotices.txt"}

_MAX_BYTES = 1 << 27


def obtain(*, mirror: Path | None, url: str = URL) -> Path:
    """Return the package: of the mirror folder, of an earlier download, or downloaded now.

    Args:
        mirror: Folder that may hold it by its own name.
        url: Where it is published.

    Raises:
        DataError: It cannot be had, or is not the one that this version of maskline knows.
    """
    return published_file.obtain(
        url, mirror=mirror, fault=_fault, max_bytes=_MAX_BYTES, otherwise=", or leave web out of export.variants"
    )


def _fault(path: Path) -> str | None:
    with path.open("rb") as stream:
        actual = "sha512-" + base64.b64encode(hashlib.file_digest(stream, "sha512").digest()).decode()
    return None if actual == INTEGRITY else f"its integrity is {actual[:20]}..., not {INTEGRITY[:20]}..."


def parts(package: Path) -> dict[str, bytes]:
    """Return the content of each file of ``PARTS`` and ``LICENCES``.

    Args:
        package: From ``obtain``.

    Raises:
        ExportError: The installed onnxruntime has no licence text.
    """
    with tarfile.open(package) as archive:
        content = {name: _member(archive, f"package/dist/{name}") for name in PARTS}
    installed = Path(onnxruntime.__file__).parent
    for name, source in LICENCES.items():
        try:
            content[f"{name}.txt"] = (installed / source).read_bytes()
        except OSError as error:
            remedy = "install onnxruntime from PyPI, or leave web out of export.variants"
            raise ExportError(installed / source, "no licence text to put beside the page", remedy) from error
    return content


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    stream = archive.extractfile(name)
    assert stream is not None  # the package's hash was checked
    return stream.read()
