"""A folder with a page to try the model on: the ONNX file, what runs it in a browser, and this folder's own files."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from maskline.core.errors import ExportError
from maskline.core.files import write_bytes
from maskline.data.reading_rule import ReadingRule
from maskline.export.runtime_onnx import OnnxModel
from maskline.export.variants import MODEL_FILE, Limits
from maskline.export.web import onnxruntime_web

if TYPE_CHECKING:
    from torch.export import ExportedProgram

FOLDER = "web"

_PAGE = ("index.html", "page.css", "page.js", "image.js", "model.js", "worker.js", "png.js")
_RUNTIME = (*onnxruntime_web.PARTS, *(f"{name}.txt" for name in onnxruntime_web.LICENCES))


@dataclass(frozen=True, slots=True, kw_only=True)
class WebVariant:
    """See ``maskline.export.variants.Variant``; its model.onnx passes the gate in Python's onnxruntime.

    Args:
        package: onnxruntime-web, see ``maskline.export.web.onnxruntime_web.obtain``.
        convert: The program's ONNX content -> that of the page's model.
        limits: Of its parity gate.
    """

    package: Path
    convert: Callable[[bytes], bytes]
    limits: Limits
    name: str = "web"
    files: tuple[str, ...] = tuple(f"{FOLDER}/{name}" for name in (MODEL_FILE, *_PAGE, *_RUNTIME))
    timed: bool = False

    def write(self, folder: Path, *, program: "ExportedProgram", content: bytes) -> None:
        """See ``Variant``.

        Raises:
            ExportError: The installed onnxruntime has no licence text.
        """
        del program
        write_bytes(folder / FOLDER / MODEL_FILE, self.convert(content))
        for name in _PAGE:
            write_bytes(folder / FOLDER / name, Path(__file__).with_name(name).read_bytes())
        for name, part in onnxruntime_web.parts(self.package).items():
            write_bytes(folder / FOLDER / name, part)

    def open(self, folder: Path, *, threads: int) -> OnnxModel:
        """See ``Variant``."""
        return OnnxModel(folder / self.files[0], threads=threads)


def check_readable(rule: ReadingRule | None, *, channels: int) -> None:
    """Refuse a model of whose images a browser reads none: it gives red, green and blue of 8 bits.

    Args:
        rule: How its images are read; None: not known.
        channels: Of the network's input.

    Raises:
        ExportError: Says what the model was trained on.
    """
    problem = f"an input of {channels} channels" if rule is None and channels != 3 else None
    if rule is not None:
        bands = not rule.source_bands or {1, 3}.intersection(rule.source_bands)
        named = rule.channels is None or (max(rule.channels) < 3 and bands)
        bits = rule.image_scale == "error" or not rule.source_types or "uint8" in rule.source_types
        problem = None if named and bits else rule.describe()
    if problem is not None:
        raise ExportError(
            "export.variants: web",
            f"the model was trained on {problem}, and a browser reads red, green and blue of 8 bits",
            "leave web out; example.py, which the stage writes, reads such images",
        )
