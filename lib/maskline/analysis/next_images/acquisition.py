"""Which images to label next: how unsure the models are of each, and how different the chosen ones are."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

METHODS = ("entropy", "margin", "disagreement")

# Keeps the logarithm of a probability finite.
_LEAST = 1e-12

# So many of the most uncertain images are looked at for each that is chosen.
CANDIDATES = 5


def uncertainty(fields: Sequence[NDArray[np.float32]]) -> dict[str, float]:
    """Return how unsure models are of an image: the mean over its pixels by each method.

    entropy
        Entropy of the models' mean probabilities, over log C: 0..1.
    margin
        1 less the lead of the most likely class over the second: 0..1 (T. Scheffer, C. Decomain and S. Wrobel, Active
        hidden Markov models, 2001).
    disagreement
        What of the entropy comes from the models' differing, over log C: entropy of the mean less the mean of the
        entropies (N. Houlsby et al., Bayesian active learning, BALD, 2011; with an ensemble in W. Beluch et al., The
        power of ensembles for active learning, 2018). 0 for one model.

    Args:
        fields: Probabilities of each model, CHW, 0..1.
    """
    stacked = np.stack(fields).astype(np.float64)
    mean = stacked.mean(0)
    scale = float(np.log(len(mean)))
    total = _entropy(mean)
    second, first = np.partition(mean, len(mean) - 2, axis=0)[-2:]
    each = np.mean([_entropy(one) for one in stacked], axis=0)
    return {
        "entropy": float(total.mean() / scale),
        "margin": float((1 - (first - second)).mean()),
        "disagreement": float(np.maximum(total - each, 0).mean() / scale),
    }


def choose(scores: Mapping[str, float], features: Mapping[str, NDArray[Any]], number: int) -> list[str]:
    """Return the names of the images to label next, the most uncertain first.

    Of the ``CANDIDATES`` x ``number`` most uncertain ones, each next image is the one that is farthest from all chosen
    so far (k-center greedy of O. Sener and S. Savarese, Active learning for convolutional neural networks: a core-set
    approach, 2018), so that ten frames of one scene are not ten images. That uncertainty chooses candidates and
    difference chooses among them is L. Yang et al., Suggestive annotation, 2017. Equal ones follow by name.

    Args:
        scores: Name -> uncertainty.
        features: Name -> vector; all of one length.
        number: How many; all where there are no more.
    """
    ordered = sorted(scores, key=lambda name: (-scores[name], name))
    candidates = ordered[: CANDIDATES * number]
    if not candidates:
        return []
    vectors = np.stack([_unit(features[name]) for name in candidates])
    chosen = [0]
    nearest = _distances(vectors, 0)
    while len(chosen) < min(number, len(candidates)):
        nearest[chosen] = -1.0  # equal vectors have no distance either
        following = int(nearest.argmax())
        chosen.append(following)
        nearest = np.minimum(nearest, _distances(vectors, following))
    return [candidates[one] for one in chosen]


def _distances(vectors: NDArray[np.float64], one: int) -> NDArray[np.float64]:
    distances: NDArray[np.float64] = np.sqrt(np.square(vectors - vectors[one]).sum(axis=1))
    return distances


def _unit(vector: NDArray[Any]) -> NDArray[np.float64]:
    values = np.asarray(vector, dtype=np.float64)
    return values / max(float(np.sqrt(np.square(values).sum())), _LEAST)


def _entropy(field: NDArray[np.float64]) -> NDArray[np.float64]:
    values: NDArray[np.float64] = -(field * np.log(np.maximum(field, _LEAST))).sum(axis=0)
    return values
