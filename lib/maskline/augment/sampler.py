"""Which image stands at which position of which batch: a function of (seed, iteration, position).

Nothing is iterated, so that any iteration can be asked for at once: a resumed run, another number of loader
processes and the preview see the same images. Each epoch is a permutation of all images; an epoch may end in the
middle of a batch, and the next one goes on there.
"""

from functools import lru_cache

import numpy as np

from maskline.core.seeds import numpy_generator


def batch_indices(seed: int, iteration: int, *, batch_size: int, length: int) -> tuple[int, ...]:
    """Return the images of one batch.

    Args:
        seed: The run's seed.
        iteration: 0 for the first batch.
        batch_size: Images in a batch.
        length: Images in the split, at least 1.

    Returns:
        ``batch_size`` indices in 0..length-1.
    """
    first = iteration * batch_size
    return tuple(_index(seed, position, length) for position in range(first, first + batch_size))


def _index(seed: int, position: int, length: int) -> int:
    epoch, offset = divmod(position, length)
    return int(_permutation(seed, epoch, length)[offset])


@lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, length: int) -> np.ndarray:
    return numpy_generator(seed, "order", epoch).permutation(length)
