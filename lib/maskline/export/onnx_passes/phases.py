"""Convolutions of maps of twice the size, computed at the smaller size: the same function, fewer multiplications.

Where a map is doubled (nearest) before a 3x3 convolution, each 2x2 block of the result sees no more than 2x2 pixels of
the small map at each of its four places: 16 products in place of 36. And a convolution to few channels fills a
processor's registers only if it computes a block of pixels at once. Both compute maps of half the sides, one for each
place (row, column) in the blocks, and put them together.

Shapes: N batch, O channels of the result, H height, W width of the small map.
"""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, numpy_helper

from maskline.export.onnx_passes.nodes import Made, replace_nodes, settings
from maskline.export.onnx_passes.resizing import nearest_factors

_PLACES = ((0, 0), (0, 1), (1, 0), (1, 1))

# The saving grows with the channels before doubling, the putting together does not: 16 of them still gained 5 %.
_LEAST_CHANNELS = 16

# onnxruntime computes 16 channels at a time, of whatever use: so many fit in for each of four pixels, and their 4x4
# kernel takes 16 products where four of 3x3 take 36.
_MOST_NARROW = 4


def in_phases(content: bytes) -> bytes:
    """Return the ONNX file with such convolutions computed at the smaller size.

    Results differ by rounding. A file without such convolutions stays as it is; the same content gives the same bytes.
    """
    model = onnx.load_from_string(content)
    if not _rewrite(model, doubled=True):
        return content
    onnx.checker.check_model(model, full_check=False)
    return bytes(model.SerializeToString(deterministic=True))


def in_blocks(model: onnx.ModelProto) -> onnx.ModelProto:
    """Let convolutions to few channels compute a block of pixels at once; those of doubled maps stay.

    Args:
        model: Changed in place.

    Returns:
        The same object.
    """
    _rewrite(model, doubled=False)
    return model


def _rewrite(model: onnx.ModelProto, *, doubled: bool) -> bool:
    """Rewrite convolutions to few channels and, if so asked, those of doubled maps; return whether there were any."""
    graph = _Graph(model)
    nodes: list[NodeProto] = []
    parts: list[Made] = []
    replaced: set[str] = set()
    even: set[str] = set()  # maps whose sides are even, whatever the image's
    for node in model.graph.node:
        conv = graph.doubled(node) if doubled else None
        if conv is not None:
            replacement = _at_small_size(conv)
            replaced.add(conv.output)
            even.add(conv.output)
        elif node.input and node.input[0] in even and graph.is_narrow(node):
            replacement = _by_blocks(node.output[0], node.input[0], *graph.weight_and_bias(node))
        else:
            replacement = Made("", [node] if node.output[0] not in replaced else [])
            even.update(node.output if graph.is_even(node, even) else ())
        nodes += replacement.nodes
        parts += [replacement] if replacement.constants else []
    if parts:
        constants = [value for part in parts for value in part.constants]
        replace_nodes(model, nodes, constants, [shape for part in parts for shape in part.shapes])
    return bool(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Doubled:
    """A 3x3 convolution that sees a doubled map and perhaps others beside it.

    Args:
        output: Name of its result, after ReLU where that follows.
        small: Name of the map before doubling.
        others: Names of the other maps, whose channels come after its own.
        weight: (O, channels, 3, 3).
        bias: (O,).
        channels: Of the small map.
        relu: Whether ReLU follows.
    """

    output: str
    small: str
    others: tuple[str, ...]
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    channels: int
    relu: bool


class _Graph:
    """Answers what a rewriting asks about a graph."""

    def __init__(self, model: onnx.ModelProto) -> None:
        nodes = model.graph.node
        self._constants = {value.name: value for value in model.graph.initializer}
        self._makers = {name: node for node in nodes for name in node.output}
        self._readers = {name: node for node in nodes for name in node.input}
        self._uses = Counter(name for node in nodes for name in node.input)
        self._uses.update(value.name for value in model.graph.output)
        inferred = onnx.shape_inference.infer_shapes(model).graph.value_info
        self._shapes = {value.name: value.type.tensor_type.shape.dim for value in inferred}

    def doubled(self, node: NodeProto) -> _Doubled | None:
        """Return what is known of a convolution that sees a doubled map first; None for every other node."""
        if not self._is_plain_3x3(node) or self._uses[node.input[0]] > 1:
            return None
        maker = self._makers.get(node.input[0])
        joined = maker is not None and maker.op_type == "Concat" and settings(maker)["axis"] == 1
        first, *others = maker.input if maker is not None and joined else node.input[:1]
        small = self._before_doubling(first)
        if small is None or (channels := self._channels(small)) < _LEAST_CHANNELS:
            return None
        reader = self._readers.get(node.output[0], node) if self._uses[node.output[0]] == 1 else node
        relu = reader.op_type == "Relu"
        weight, bias = self.weight_and_bias(node)
        return _Doubled(
            output=reader.output[0] if relu else node.output[0],
            small=small,
            others=tuple(others),
            weight=weight,
            bias=bias,
            channels=channels,
            relu=relu,
        )

    def is_narrow(self, node: NodeProto) -> bool:
        """Return whether the node is a 3x3 convolution to few channels."""
        return self._is_plain_3x3(node) and self._constants[node.input[1]].dims[0] <= _MOST_NARROW

    def is_even(self, node: NodeProto, even: Collection[str]) -> bool:
        """Return whether the node's result has even sides, as the maps named have; False where that is not known."""
        if nearest_factors(node, self._constants) == (2, 2):
            return True
        joined = node.op_type == "Concat" and settings(node)["axis"] == 1
        return (joined or node.op_type == "Relu" or self._is_plain_3x3(node)) and node.input[0] in even

    def weight_and_bias(self, node: NodeProto) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return a convolution's weight (O, channels, 3, 3) and bias (O,)."""
        weight, *bias = (numpy_helper.to_array(self._constants[name]) for name in node.input[1:])
        return weight, bias[0] if bias else np.zeros(len(weight), np.float32)

    def _channels(self, name: str) -> int:
        """Return C of a map, or 0 where it cannot be told."""
        shape = self._shapes.get(name, [])
        return shape[1].dim_value if len(shape) > 1 else 0

    def _is_plain_3x3(self, node: NodeProto) -> bool:
        if node.op_type != "Conv" or any(name not in self._constants for name in node.input[1:]):
            return False
        attributes = settings(node)
        return (
            list(self._constants[node.input[1]].dims[2:]) == [3, 3]
            and attributes.get("pads") == [1, 1, 1, 1]
            and attributes.get("strides", [1, 1]) == [1, 1]
            and attributes.get("dilations", [1, 1]) == [1, 1]
            and attributes.get("group", 1) == 1
        )

    def _before_doubling(self, name: str) -> str | None:
        """Return the map that is doubled, or None where ``name`` is no doubled map."""
        maker = self._makers.get(name)
        if maker is None or self._uses[name] > 1 or nearest_factors(maker, self._constants) != (2, 2):
            return None
        return str(maker.input[0])


def _at_small_size(conv: _Doubled) -> Made:
    """Return the convolution as one of 2x2 for each place, and one of stride 2 over the other maps."""
    replacement = Made(conv.output)
    others = replacement.add("Concat", conv.others, "others", axis=1) if len(conv.others) > 1 else "".join(conv.others)
    own = conv.weight[:, : conv.channels].astype(np.float64)
    of_others = replacement.constant("of_others", conv.weight[:, conv.channels :]) if others else ""
    bias = replacement.constant("bias", conv.bias)
    maps = {}
    for row, column in _PLACES:
        name = f"{row}{column}"
        # The block's first row sees the small row above through one tap and its own through two; its second row sees
        # its own through two and the one below through one. A zero beyond the doubled map's edge is one beyond the
        # small map's.
        taps = np.add.reduceat(np.add.reduceat(own, (0, 1 + row), axis=2), (0, 1 + column), axis=3)
        weight = replacement.constant(f"weight_{name}", taps.astype(np.float32))
        before = [1 - row, 1 - column]
        seen = replacement.add("Conv", [conv.small, weight, bias], f"small_{name}", pads=[*before, row, column])
        if others:
            beside = replacement.add(
                "Conv", [others, of_others], f"others_{name}", strides=[2, 2], pads=[*before, row, column]
            )
            for part in (seen, beside):  # of one size: then onnxruntime adds up inside the convolution
                replacement.say_shape(
                    part, ["batch", len(conv.bias), f"{replacement.prefix}_height", f"{replacement.prefix}_width"]
                )
            seen = replacement.add("Add", [beside, seen], f"sum_{name}")
        maps[row, column] = replacement.add("Relu", [seen], f"relu_{name}") if conv.relu else seen
    _interleave(replacement, maps, channels=len(conv.bias))
    return replacement


def _interleave(replacement: Made, places: dict[tuple[int, int], str], *, channels: int) -> None:
    """Put maps (N, O, H, W), one for each place in 2x2 blocks, together to ``replacement.prefix`` (N, O, 2H, 2W).

    By way of NHWC, where whole rows are copied and onnxruntime changes its own layout for nothing.
    """

    def constant(name: str, *values: int) -> str:
        return replacement.constant(name, np.array(values, np.int64))

    rows = []
    for row in (0, 1):
        pair = replacement.add("Concat", [places[row, 0], places[row, 1]], f"pair_{row}", axis=1)
        nhwc = replacement.add("Transpose", [pair], f"nhwc_{row}", perm=[0, 2, 3, 1])
        rows.append(replacement.add("Reshape", [nhwc, constant(f"flat_{row}", 0, 0, -1)], f"rows_{row}"))
    both = replacement.add("Concat", rows, "rows", axis=2)
    # N, H, 4WO -> N, 2H, 2W, O. Asked of the pair itself, its sides would take a copy in another layout.
    sides = replacement.add(
        "Mul", [replacement.add("Shape", [both], "shape", start=1), constant("factors", 2, 1)], "products"
    )
    sides = replacement.add("Div", [sides, constant("divisors", 1, 2 * channels)], "sides")
    shape = replacement.add("Concat", [constant("batch", 0), sides, constant("depth", channels)], "whole_shape", axis=0)
    whole = replacement.add("Reshape", [both, shape], "whole")
    replacement.add("Transpose", [whole], "", perm=[0, 3, 1, 2])


def _by_blocks(output: str, maps: str, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> Made:
    """Return a 3x3 convolution of maps of even sides as one that computes four pixels at once."""
    replacement = Made(output)
    blocks = np.zeros((2, 2, *weight.shape[:2], 4, 4), np.float32)
    for row, column in _PLACES:
        blocks[row, column, :, :, row : row + 3, column : column + 3] = weight
    four = [
        replacement.constant("blocks", blocks.reshape(-1, *blocks.shape[3:])),
        replacement.constant("bias", np.tile(bias, len(_PLACES))),
    ]
    seen = replacement.add("Conv", [maps, *four], "by_blocks", strides=[2, 2], pads=[1, 1, 1, 1])
    replacement.add("DepthToSpace", [seen], "", blocksize=2, mode="DCR")
    return replacement
