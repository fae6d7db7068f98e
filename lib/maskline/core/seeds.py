"""Random numbers as functions of (seed, purpose, iteration, position), never of state.

A generator is made where it is used, from a hash of its coordinates; so a sample's random numbers do not
depend on the batch, the worker or what ran before, and resuming needs no generator state. Seeds are 32 bits
because torch's CPU generator uses only the low 32 bits of what it is given.
"""

import hashlib

import numpy as np


def derive(seed: int, *coordinates: str | int) -> int:
    """Return a 32-bit seed for these coordinates, the same on every machine."""
    text = "\x1f".join([str(seed), *map(str, coordinates)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "little")


def numpy_generator(seed: int, *coordinates: str | int) -> np.random.Generator:
    """Return a NumPy generator (Philox) for these coordinates."""
    return np.random.Generator(np.random.Philox(derive(seed, *coordinates)))
