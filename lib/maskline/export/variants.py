"""The forms in which a model is shipped: what each consists of, how it is made and opened, and its gate's limits."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch.export import ExportedProgram

from maskline.core.files import write_bytes
from maskline.export import parity
from maskline.export.runtime_onnx import OnnxModel

MODEL_FILE = "model.onnx"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the parity gate lets through; see ``maskline.export.parity.check``.

    Args:
        max_disagreement: Share of pixels with another class, and of moved probability.
        max_metric_change: Difference in mIoU.
        section: Where the two stand in params.yaml.
    """

    max_disagreement: float
    max_metric_change: float
    section: str = "export"


class Variant(Protocol):
    """A further form of the model, in one file or several."""

    @property
    def name(self) -> str:
        """As in ``export.variants``."""

    @property
    def files(self) -> tuple[str, ...]:
        """Names of its files in the export folder; the first is the one to open."""

    @property
    def limits(self) -> Limits:
        """Of its parity gate, which holds it against torch too."""

    @property
    def timed(self) -> bool:
        """Whether its times are its own: not of a file that is to run elsewhere."""

    def write(self, folder: Path, *, program: ExportedProgram, content: bytes) -> None:
        """Write its files, made from the traced program or from its ONNX content."""

    def open(self, folder: Path, *, threads: int) -> parity.Model:
        """Return it, ready to run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxVariant:
    """An ONNX file; see ``Variant``.

    Args:
        name: Part of its file name; empty: model.onnx itself.
        convert: The program's ONNX content -> its content.
        limits: Of its parity gate.
    """

    name: str
    convert: Callable[[bytes], bytes]
    limits: Limits
    timed: bool = True

    @property
    def files(self) -> tuple[str, ...]:
        """See ``Variant``."""
        return (f"model-{self.name}.onnx" if self.name else MODEL_FILE,)

    def write(self, folder: Path, *, program: ExportedProgram, content: bytes) -> None:
        """See ``Variant``."""
        del program
        write_bytes(folder / self.files[0], self.convert(content))

    def open(self, folder: Path, *, threads: int) -> OnnxModel:
        """See ``Variant``."""
        return OnnxModel(folder / self.files[0], threads=threads)
