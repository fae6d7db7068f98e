"""A traced program as one ONNX file: the same bytes each time, nothing of this machine inside."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import onnx
import torch
from torch.export import ExportedProgram

from maskline.core.errors import ExportError
from maskline.export.interface import INPUT, LABELS, WHOLE
from maskline.export.trace import reason, third_party_warnings_ignored

METADATA_KEY = "maskline"

_SIZES = ("batch", "height", "width")


def to_onnx(
    program: ExportedProgram, *, opset: int, metadata: Mapping[str, Any], outputs: Sequence[str] = WHOLE.names
) -> bytes:
    """Return the content of an ONNX file.

    Input: ``images``, uint8 (batch, height, width, 3). Outputs: ``labels``, (batch, height, width), all others
    float32 (batch, classes, height, width).

    Args:
        program: From ``maskline.export.trace.trace``.
        opset: ONNX operator set, 18 or above.
        metadata: Plain JSON values; stored under the file's metadata key ``maskline`` with sorted keys.
        outputs: Names of the program's outputs.

    Raises:
        ExportError: An operation of the network has no ONNX form, or none in this operator set.
    """
    with third_party_warnings_ignored():
        try:
            exported = torch.onnx.export(
                program,
                (),
                dynamo=True,
                opset_version=opset,
                input_names=[INPUT],
                output_names=list(outputs),
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            raise ExportError(
                "onnx",
                reason(error),
                "choose another export.opset, or a network of operations that ONNX has",
            ) from error
    assert exported is not None
    model = exported.model_proto
    written = {entry.domain: entry.version for entry in model.opset_import}.get("")
    if written != opset:  # the exporter leaves its own operator set where it cannot convert, and only logs it
        raise ExportError("export.opset", f"{opset} cannot be written for this network", f"set it to {written}")
    _strip(model)
    _name_sizes(model.graph, outputs)
    onnx.helper.set_model_props(model, {METADATA_KEY: json.dumps(metadata, sort_keys=True, allow_nan=False)})
    onnx.checker.check_model(model, full_check=False)
    return bytes(model.SerializeToString(deterministic=True))


def _strip(model: Any) -> None:
    """Drop what the exporter notes about its own run: stack traces hold this machine's paths."""
    graph = model.graph
    del graph.value_info[:]  # every runtime infers these anew
    for part in (model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output, *model.functions):
        del part.metadata_props[:]
        part.doc_string = ""
    for function in model.functions:
        for node in function.node:
            del node.metadata_props[:]
            node.doc_string = ""


def _name_sizes(graph: Any, outputs: Sequence[str]) -> None:
    """Call the free sizes batch, height and width; the tracer calls them s34, s90 and so on."""
    by_value = {value.name: value for value in (*graph.input, *graph.output)}
    for name in (INPUT, *outputs):
        positions = (0, 1, 2) if name in {INPUT, LABELS} else (0, 2, 3)
        shape = by_value[name].type.tensor_type.shape
        for size, position in zip(_SIZES, positions, strict=True):
            shape.dim[position].dim_param = size
