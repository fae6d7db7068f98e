"""Run lengths to pixels, as CVAT and Label Studio write them; COCO's are read by ``formats.coco.decode``."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_SIZE_BITS, _COUNT_BITS = 4, 32


def by_rows(counts: Sequence[int], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return (h, w) of run lengths along the rows, the first of which is of pixels outside.

    Raises:
        ValueError: They do not cover the pixels just once.
    """
    if min(counts, default=0) < 0 or sum(counts) != shape[0] * shape[1]:
        raise ValueError(f"run lengths sum to {sum(counts)}, the mask has {shape[0] * shape[1]} pixels")
    return np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(shape)


def of_brush(content: bytes, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return (h, w) of the run lengths of Label Studio's brush: True where alpha is not 0.

    They hold the bytes of an RGBA image as a stream of bits: the number of bytes (32 bits), the bits of a value less
    one (5), four sizes of counts less one (4 each); then blocks of: one bit (1: one value, many times), which of the
    sizes (2), a count less one, and the one value or all of them.

    Source: the form is that of the npm package rle-pack (Apache-2.0), which Label Studio uses.

    Raises:
        ValueError: Of another size than the image, or too short.
    """
    total = shape[0] * shape[1] * 4
    if len(content) > 2 * total + 64:
        raise ValueError("run lengths of more bytes than the image has")
    values = np.unpackbits(np.frombuffer(content, dtype=np.uint8))
    digits = (values + ord("0")).tobytes().decode("ascii")
    at = _COUNT_BITS + 5 + 4 * _SIZE_BITS
    if len(digits) < at or int(digits[:_COUNT_BITS], 2) != total:
        raise ValueError(f"run lengths for other than {shape[1]}x{shape[0]} pixels")
    bits = int(digits[32:37], 2) + 1
    sizes = [int(digits[37 + i : 41 + i], 2) + 1 for i in range(0, 16, 4)]
    weights = 1 << np.arange(bits - 1, -1, -1, dtype=np.int64)
    pixels = np.zeros(total, dtype=bool)
    done = 0
    while done < total:
        header = digits[at : at + 3]
        at += 3
        size = sizes[int(header[1:], 2)]  # of a cut stream: ValueError
        count = int(digits[at : at + size], 2) + 1
        at += size
        stored = 1 if header[0] == "1" else count
        block = values[at : at + stored * bits]
        if len(block) < stored * bits or done + count > total:
            raise ValueError("run lengths that end too early or too late")
        pixels[done : done + count] = (block.reshape(stored, bits) @ weights) > 0
        at += stored * bits
        done += count
    return pixels.reshape(*shape, 4)[..., 3]
