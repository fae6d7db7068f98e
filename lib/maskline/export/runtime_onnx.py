"""An exported model in onnxruntime. Needs no torch."""

import json
import re
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi.onnxruntime_pybind11_state import Fail
from pydantic import BaseModel, Field, FiniteFloat

from maskline.core.errors import ExportError, ShapeError
from maskline.export import processor
from maskline.export.interface import INPUT, LABELS, OUTPUTS, Prediction, check_values, read

_FLOAT = r"tensor\(float\)"
_TYPES = {LABELS: r"tensor\(u?int\d+\)"}


class OnnxModel:
    """An ONNX file of the export stage, ready to run on the CPU.

    Args:
        path: The file.
        threads: CPU threads inside an operation.

    Raises:
        ExportError: Not an ONNX file that the export stage wrote.
    """

    def __init__(self, path: Path, *, threads: int) -> None:
        self._path = path
        remedy = "give a model.onnx that the export stage wrote"
        if not Path(path).is_file():
            raise ExportError(path, "no such file", remedy)
        import onnx  # a quarter of a second

        try:
            model = onnx.load(path, load_external_data=False)
            _check_flow(model, path)
            self._session = open_session(path, threads=threads)
        except ExportError:
            raise
        except Exception as error:  # onnxruntime's own classes have no common base but Exception
            raise ExportError(path, f"cannot be loaded ({error})", remedy) from error
        text = self._session.get_modelmeta().custom_metadata_map.get("maskline")
        if text is None:
            raise ExportError(path, "no metadata under the key maskline", remedy)
        try:
            _Metadata.model_validate_json(text)
            self.metadata: dict[str, Any] = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ExportError(path, f"its metadata is of another form ({error})", remedy) from error
        self._names = [output.name for output in self._session.get_outputs()]
        if not OUTPUTS.intersection(self._names):
            raise ExportError(path, f"its outputs are {', '.join(self._names)}", remedy)
        for output in self._session.get_outputs():
            if output.name in OUTPUTS and not re.fullmatch(_TYPES.get(output.name, _FLOAT), output.type):
                raise ExportError(path, f"its output {output.name} is a {output.type}", remedy)
        self._decisive: str | None = None  # what labels that stand alone are decided by: a nan cannot be seen in them
        if self._names == [LABELS]:
            self._watch(model, Path(path), threads=threads)

    @property
    def has_probabilities(self) -> bool:
        """Whether the file gives more than labels."""
        return self._names != [LABELS]

    def predict(self, images: NDArray[np.uint8]) -> Prediction:
        """Return the prediction for images (N, H, W, 3), uint8, RGB.

        Raises:
            ShapeError: Another shape or type.
            ExportError: The graph does not run at this size.
        """
        check_images(images, channels=len(self.metadata["mean"]))
        names = [*self._names, *([self._decisive] if self._decisive else [])]
        try:
            outputs = dict(zip(names, self._session.run(names, {INPUT: images}), strict=True))
        except Exception as error:  # as above
            size = f"{images.shape[1]}x{images.shape[2]}"
            raise ExportError(
                self._path, f"fails at {size} px ({error})", "the export stage has to refuse it"
            ) from error
        if self._decisive:
            values = outputs.pop(self._decisive)
            check_values(values if values.ndim == 4 else values[:, None])
        return read(outputs, num_classes=len(self.metadata["class_names"]))

    def _watch(self, model: Any, path: Path, *, threads: int) -> None:
        """Check the weights of a file that gives labels alone, and let it hand out what they are decided by."""
        import onnx

        _check_weights(model.graph, path)
        name = _decisive(model.graph)
        if name is None or any(tensor.external_data for tensor in model.graph.initializer):
            return
        model.graph.output.append(onnx.ValueInfoProto(name=name))
        try:
            self._session, self._decisive = open_session(model.SerializeToString(), threads=threads), name
        except Exception as error:  # as above
            raise ExportError(path, f"cannot be loaded ({error})", "give a model.onnx of the export stage") from error


class _Metadata(BaseModel):
    """What is read of a file's metadata; the classes are checked by ``LabelSet``."""

    class_names: tuple[str, ...]
    mean: tuple[FiniteFloat, ...]
    std: tuple[Annotated[FiniteFloat, Field(gt=0)], ...]


def _check_flow(model: Any, path: Path) -> None:
    """Refuse loops and branches: a network as we export it has none, and a loop may never end."""
    for node in (*model.graph.node, *(node for function in model.functions for node in function.node)):
        if any(one.HasField("g") or one.graphs for one in node.attribute):
            problem = f"has control flow ({node.op_type}), which may run for ever"
            raise ExportError(path, problem, "export a network without loops and branches that depend on values")


def _check_weights(graph: Any, path: Path) -> None:
    """Refuse weights of any float type that are not finite, and constants that are nan; infinite ones may be bounds."""
    import onnx

    def values(tensor: Any) -> NDArray[np.float32]:
        array = onnx.numpy_helper.to_array(tensor, base_dir=str(path.parent))
        return array.astype(np.float32) if array.dtype.kind in "fV" else np.zeros(0, np.float32)  # V: such as bfloat16

    bad = [tensor.name for tensor in graph.initializer if not np.isfinite(values(tensor)).all()]
    for node in graph.node:
        if node.op_type == "Constant":
            for one in node.attribute:
                numbers = values(one.t) if one.HasField("t") else np.array([one.f, *one.floats], np.float32)
                bad += node.output if np.isnan(numbers).any() else []
    if bad:
        raise ExportError(path, f"{bad[0]} is not finite", "train again with a lower optimizer.lr")


def _decisive(graph: Any) -> str | None:
    """Return the name of the logits or probabilities that a graph's labels are decided by; None: not told."""
    made_by = {name: node for node in graph.node for name in node.output}
    name = LABELS
    while name in made_by:
        node = made_by[name]
        name = node.input[0] if node.input else ""
        if node.op_type in ("ArgMax", "Greater", "GreaterOrEqual"):
            return name
    return None


def open_session(model: Path | bytes, *, threads: int) -> onnxruntime.InferenceSession:
    """Return a session on the CPU.

    Args:
        model: The file, or its content.
        threads: CPU threads inside an operation.
    """
    given = model if isinstance(model, bytes) else str(model)

    def opened(**settings: str) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # an error is raised as well, and its text is in our own line
        for key, value in settings.items():
            options.add_session_config_entry(f"session.{key}", value)
        return onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])

    if processor.sums_int8_exactly():  # where it can, the setting below takes the time of some convolutions twice over
        return opened()
    try:
        # Without it, sums of two int8 products overflow.
        return opened(x64quantprecision="1")
    except Fail:  # there, onnxruntime 1.32 cannot do that to a file in which two operations share int8 weights
        return opened()


def check_images(images: NDArray[Any], *, channels: int) -> None:
    """Refuse what is not uint8 (N, H, W, channels).

    Raises:
        ShapeError: Names the shape and type.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != channels:
        raise ShapeError("images", f"{images.dtype} {images.shape}", f"give uint8 (batch, height, width, {channels})")
