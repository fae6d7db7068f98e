"""Convolution weights as whole numbers of steps, so that what rounding does to a layer's results evens out.

Rounded one by one, the nine errors of a 3x3 kernel add up where a map is smooth. Here a few weights are rounded the
other way, so that each kernel keeps its sum to half a step; and what is left of the mean error goes into the bias.

Source: the bias correction is that of Nagel et al., Data-Free Quantization Through Weight Equalization and Bias
Correction, ICCV 2019, with means of real images.
"""

from collections.abc import Collection, Iterable, Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from maskline.export.interface import INPUT
from maskline.export.onnx_passes.nodes import replace_nodes, settings
from maskline.export.runtime_onnx import open_session

_STEPS = 127  # the largest of int8, of both signs


def input_means(
    model: onnx.ModelProto, images: Iterable[NDArray[np.uint8]], *, threads: int
) -> dict[str, NDArray[np.float64]]:
    """Return the mean of each channel of each map that a convolution sees: name of the map -> (C,).

    Args:
        model: In float32.
        images: Its inputs, at least one; all count the same.
        threads: CPU threads.
    """
    maps = list(dict.fromkeys(node.input[0] for node in model.graph.node if node.op_type == "Conv"))
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    watched.graph.initializer.append(numpy_helper.from_array(np.array([0, 2, 3], np.int64), "mean_axes"))
    for i, name in enumerate(maps):
        watched.graph.node.append(helper.make_node("ReduceMean", [name, "mean_axes"], [f"mean_{i}"], keepdims=0))
        watched.graph.output.append(helper.make_tensor_value_info(f"mean_{i}", TensorProto.FLOAT, [None]))
    session = open_session(watched.SerializeToString(), threads=threads)
    wanted = [f"mean_{i}" for i in range(len(maps))]
    image_means = [session.run(wanted, {INPUT: image}) for image in images]
    return {name: np.mean([means[i] for means in image_means], axis=0, dtype=np.float64) for i, name in enumerate(maps)}


def round_weights(
    model: onnx.ModelProto, *, means: Mapping[str, NDArray[np.float64]], in_float: Collection[str]
) -> None:
    """Round the weights of all convolutions but those named, and correct their biases.

    Args:
        model: In float32; changed in place.
        means: From ``input_means``.
        in_float: Names of nodes.
    """
    constants = {value.name: value for value in model.graph.initializer}
    new_constants: list[TensorProto] = []
    for node in model.graph.node:
        if node.op_type == "Conv" and node.name not in in_float and all(name in constants for name in node.input[1:]):
            weight, *bias = (numpy_helper.to_array(constants[name]) for name in node.input[1:])
            rounded = to_steps(weight)
            lost = _mean_loss(node, weight - rounded, means[node.input[0]])
            names = [f"{node.name}_weight", f"{node.name}_bias"]
            for name, value in zip(names, (rounded, sum(bias) + lost), strict=True):
                new_constants.append(numpy_helper.from_array(value.astype(np.float32), name))
            del node.input[1:]
            node.input.extend(names)
    replace_nodes(model, list(model.graph.node), new_constants)


def to_steps(weight: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return weights (O, I, H, W) as whole steps of each output channel, each kernel's sum within half a step.

    A step is a 127th of the channel's largest weight, as onnxruntime's quantizer has it; it finds them again.
    """
    channels = weight.reshape(*weight.shape[:2], -1).astype(np.float64)
    steps = np.abs(channels).max((1, 2), keepdims=True) / _STEPS
    steps[steps == 0] = 1
    exact = channels / steps
    whole = np.rint(exact)
    missing = exact - whole
    total = np.rint(missing.sum(2, keepdims=True))
    rank = missing.argsort(2, kind="stable").argsort(2)  # 0: rounded up furthest
    whole += rank >= missing.shape[2] - total  # the furthest down go up where steps are missing,
    whole -= rank < -total  # the furthest up go down where there are too many
    rounded: NDArray[np.float64] = (whole * steps).reshape(weight.shape)
    return rounded


def _mean_loss(node: NodeProto, lost: NDArray[np.float64], means: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean that a convolution's results (O,) lose with these parts of its weights (O, I, H, W)."""
    groups = settings(node).get("group", 1)
    kernels = lost.sum((2, 3)).reshape(groups, -1, lost.shape[1])
    total: NDArray[np.float64] = np.einsum("goi,gi->go", kernels, means.reshape(groups, -1)).ravel()
    return total
