"""Tensors of a checkpoint brought to the form of this project's network before names are matched."""

import re
from collections.abc import Collection, Mapping

import torch
from torch import Tensor

_CLASSIFIER = re.compile(r"(decode_head|auxiliary_head)\.(?:\d+\.)?conv_seg\.(?:weight|bias)")
_SMP_CLASSIFIER = re.compile(r"(?:model\.)?(segmentation_head)\.0\.(?:weight|bias)")
_QUERY = re.compile(r"(.*attn\.)q\.(weight|bias)")


def two_classes(tensors: Mapping[str, Tensor], *, parts: Collection[str]) -> dict[str, Tensor]:
    """Return the tensors with two channels for each classifier of one: a constant 0, then the channel itself.

    The softmax of (0, z) is (1 - s, s) with the sigmoid s of z: probabilities stay what they were.

    Args:
        tensors: By MMSegmentation's names, or those of segmentation-models-pytorch.
        parts: Whose classifiers are meant: ``decode_head``, ``auxiliary_head``, ``segmentation_head``.
    """
    adapted = dict(tensors)
    for name, tensor in tensors.items():
        match = _CLASSIFIER.fullmatch(name) or _SMP_CLASSIFIER.fullmatch(name)
        if match and match[1] in parts and tensor.shape[0] == 1:
            adapted[name] = torch.cat([torch.zeros_like(tensor), tensor])
    return adapted


def joined_attention(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors with ``attn.q`` and ``attn.kv`` joined as torch's attention holds them: ``attn.in_proj_*``.

    Args:
        tensors: By the names of the Mix Transformer's authors, which segmentation-models-pytorch keeps.
    """
    joined: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        match = _QUERY.fullmatch(name)
        rest = None if match is None else tensors.get(f"{match[1]}kv.{match[2]}")
        if match is not None and rest is not None:
            joined[f"{match[1]}in_proj_{match[2]}"] = torch.cat([tensor, rest])
        elif not re.search(r"attn\.kv\.(weight|bias)$", name):
            joined[name] = tensor
    return joined
