"""Names of EoMT's published weights, as transformers' EomtForUniversalSegmentation has them, in the project's.

Source: transformers (Apache-2.0), EoMT (MIT): its DINOv2 checkpoints. Their licence is that of each model's authors.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from maskline.core.errors import CheckpointError

_WHOLE = {
    "embeddings.cls_token": "backbone.model.cls_token",
    "embeddings.register_tokens": "backbone.model.reg_token",
    "embeddings.position_embeddings.weight": "backbone.model.pos_embed",
    "embeddings.patch_embeddings.projection.weight": "backbone.model.patch_embed.proj.weight",
    "embeddings.patch_embeddings.projection.bias": "backbone.model.patch_embed.proj.bias",
    "attn_mask_probs": "decode_head.mask_share",
}
_PARTS = {
    "layernorm": "decode_head.tail.norm",
    "query": "decode_head.query_embed",
    "class_predictor": "decode_head.cls_embed",
    **{f"mask_head.fc{i + 1}": f"decode_head.mask_embed.{2 * i}" for i in range(3)},
}
_OF_BLOCK = {
    "norm1": "norm1",
    "norm2": "norm2",
    "attention.out_proj": "attn.proj",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
    "mlp.weights_in": "mlp.w12",
    "mlp.weights_out": "mlp.w3",
}
_OF_DOUBLING = {"conv1": "up", "conv2": "conv", "layernorm2d": "norm"}
_BLOCK = re.compile(r"layers\.(\d+)\.(.+?)(?:\.(weight|bias|lambda1))")
_DOUBLING = re.compile(r"upscale_block\.block\.(\d+)\.(\w+)\.(weight|bias)")
_LOSS = "criterion."


def is_eomt(weights: Mapping[str, Tensor]) -> bool:
    """Tell whether weights are those of an EomtForUniversalSegmentation, by their names."""
    return {"attn_mask_probs", "query.weight", "class_predictor.weight"} <= weights.keys()


def from_transformers(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights under the project's names.

    Args:
        weights: By transformers' names.

    Raises:
        CheckpointError: A name that is not EoMT's.
    """
    depth = 1 + max((int(match[1]) for name in weights if (match := _BLOCK.fullmatch(name))), default=-1)
    own_blocks = depth - len(weights["attn_mask_probs"])
    renamed = {"decode_head.seen": torch.zeros((), dtype=torch.int64)}
    for name, value in weights.items():
        place, _, leaf = name.rpartition(".")
        if name in _WHOLE:
            renamed[_WHOLE[name]] = value.unsqueeze(0) if name == "embeddings.position_embeddings.weight" else value
        elif place in _PARTS:
            renamed[f"{_PARTS[place]}.{leaf}"] = value
        elif (match := _DOUBLING.fullmatch(name)) and match[2] in _OF_DOUBLING:
            renamed[f"decode_head.upscale.{match[1]}.{_OF_DOUBLING[match[2]]}.{match[3]}"] = value
        elif match := _BLOCK.fullmatch(name):
            block = int(match[1])
            before = "decode_head.tail" if block >= own_blocks else "backbone.model"
            renamed |= _of_block(weights, f"{before}.blocks.{block}", name, match[2], match[3])
        elif not name.startswith(_LOSS):
            raise CheckpointError(name, "is no tensor of EoMT", "give the weights of an EomtForUniversalSegmentation")
    return renamed


def _of_block(weights: Mapping[str, Tensor], block: str, name: str, part: str, leaf: str) -> dict[str, Tensor]:
    if leaf == "lambda1":
        return {f"{block}.ls{part[-1]}.gamma": weights[name]}
    if part in _OF_BLOCK:
        return {f"{block}.{_OF_BLOCK[part]}.{leaf}": weights[name]}
    if part == "attention.q_proj":
        parts = [weights[name.replace("q_proj", kind)] for kind in ("q_proj", "k_proj", "v_proj")]
        return {f"{block}.attn.qkv.{leaf}": torch.cat(parts)}
    if part in ("attention.k_proj", "attention.v_proj"):
        return {}
    raise CheckpointError(name, "is no tensor of EoMT", "give the weights of an EomtForUniversalSegmentation")
