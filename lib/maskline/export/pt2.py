"""The traced program as a .pt2 file: for torch without this project's code; the same bytes each time."""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.export import ExportedProgram
from torch.utils._sympy.value_ranges import ValueRanges

from maskline.core.errors import ExportError
from maskline.core.files import write_bytes
from maskline.export.interface import Prediction, read
from maskline.export.runtime_onnx import check_images
from maskline.export.trace import third_party_warnings_ignored
from maskline.export.variants import Limits

METADATA_FILE = "maskline.json"

_FILE = "model.pt2"

# Conditions that the tracer notes for the example's way through the network and that other sizes need not meet.
_CHECKS = (torch.ops.aten._assert_scalar.default, torch.ops.aten._assert_tensor_metadata.default)


def to_pt2(program: ExportedProgram, *, metadata: Mapping[str, Any]) -> bytes:
    """Return the content of a .pt2 file, which ``torch.export.load`` reads.

    Input and outputs are those of ``Deployable``, for any batch and size: the parity gate is what says at which it
    agrees, not the conditions that the tracer noted. Nothing of this machine is inside.

    Args:
        program: From ``maskline.export.trace.trace``; it is changed.
        metadata: Plain JSON values, under the extra file ``maskline.json``.
    """
    graph = program.graph_module.graph
    for node in list(graph.nodes):
        if node.target in _CHECKS:
            graph.erase_node(node)
    graph.eliminate_dead_code()
    for node in graph.nodes:
        node.meta = {"val": node.meta["val"]} if "val" in node.meta else {}  # the rest holds this machine's paths
    program.graph_module.recompile()
    for symbol, allowed in list(program.range_constraints.items()):
        program.range_constraints[symbol] = ValueRanges(1, allowed.upper)
    text = json.dumps(metadata, sort_keys=True, allow_nan=False)
    stream = io.BytesIO()
    with third_party_warnings_ignored():
        torch.export.save(program, stream, extra_files={METADATA_FILE: text})
    return stream.getvalue()


class Pt2Model:
    """A .pt2 file of the export stage, ready to run on the CPU.

    Args:
        path: The file.
        threads: CPU threads; set for the whole process, as torch has it.

    Raises:
        ExportError: Not a .pt2 file that the export stage wrote.
    """

    def __init__(self, path: Path, *, threads: int) -> None:
        torch.set_num_threads(threads)
        extra = {METADATA_FILE: ""}
        try:
            with third_party_warnings_ignored():
                self._module = torch.export.load(path, extra_files=extra).module()
            self.metadata: dict[str, Any] = json.loads(extra[METADATA_FILE])
        except Exception as error:  # torch raises what its readers of zip and JSON raise
            raise ExportError(path, f"cannot be loaded ({error})", "give a .pt2 that the export stage wrote") from error
        self._path = path

    def predict(self, images: NDArray[np.uint8]) -> Prediction:
        """Return the prediction for images (N, H, W, 3), uint8, RGB.

        Raises:
            ShapeError: Another shape or type.
            ExportError: The program does not run at this size.
        """
        check_images(images, channels=len(self.metadata["mean"]))
        try:
            with torch.inference_mode():
                outputs = self._module(torch.from_numpy(np.ascontiguousarray(images)))
        except (AssertionError, RuntimeError) as error:
            size = f"{images.shape[1]}x{images.shape[2]}"
            raise ExportError(
                self._path, f"fails at {size} px ({error})", "the export stage has to refuse it"
            ) from error
        names = self.metadata["output_names"]
        arrays = {name: value.numpy() for name, value in zip(names, outputs, strict=True)}
        return read(arrays, num_classes=len(self.metadata["class_names"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pt2Variant:
    """See ``maskline.export.variants.Variant``.

    Args:
        metadata: See ``to_pt2``; ``output_names`` and ``class_names`` are read.
        limits: Of its parity gate.
    """

    metadata: Mapping[str, Any]
    limits: Limits
    name: str = "pt2"
    files: tuple[str, ...] = (_FILE,)
    timed: bool = True

    def write(self, folder: Path, *, program: ExportedProgram, content: bytes) -> None:
        """See ``Variant``."""
        del content
        write_bytes(folder / _FILE, to_pt2(program, metadata=self.metadata))

    def open(self, folder: Path, *, threads: int) -> Pt2Model:
        """See ``Variant``."""
        return Pt2Model(folder / _FILE, threads=threads)
