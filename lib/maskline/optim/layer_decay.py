"""Which depth a tensor has, for learning rates that fall towards the input.

Source: MMSegmentation 1.2.2 (Apache-2.0), LearningRateDecayOptimizerConstructor; its ids for ConvNeXt and for vision
transformers, here also by timm's tensor names.
"""

import re
from dataclasses import dataclass
from typing import Literal

LayerDecayKind = Literal["layer_wise", "stage_wise", "layer_wise_vit"]

_MEMBER = re.compile(r"^members\.\d+\.")  # of networks side by side
_TOKENS = re.compile(r"^backbone\.(?:.*\.)?(?:cls_token|reg_token|mask_token|pos_embed)$")
_PATCHES = re.compile(r"^backbone\.(?:.*\.)?patch_embed\.")
_BLOCK = re.compile(
    r"^(?:backbone\.(?:layers|encoder\.model\.blocks|model\.blocks)|decode_head\.tail\.blocks)\.(\d+)\."
)
_TIMM = r"(?:encoder\.)?model\."  # within a backbone of its own, or among the encoders
_STEM = re.compile(rf"^backbone\.{_TIMM}stem[._]\d+\.")
_DOWNSAMPLE = re.compile(rf"^backbone\.(?:downsample_layers\.|{_TIMM}stages[._])(\d+)\.(?:downsample\.|\d)")
_STAGE = re.compile(rf"^backbone\.(?:stages\.(\d+)\.(\d+)\.|{_TIMM}stages[._](\d+)\.blocks\.(\d+)\.)")


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerDecay:
    """Learning rates that fall by ``rate`` with each layer from the head to the input.

    Args:
        kind: layer_wise and stage_wise for ConvNeXt, layer_wise_vit for vision transformers.
        num_layers: Depth that the rates are spread over, as in MMSegmentation.
        rate: Of each layer to the next deeper one, 0 to 1.
    """

    kind: LayerDecayKind
    num_layers: int
    rate: float

    def lr_mult(self, name: str) -> float:
        """Return the factor on the learning rate of the tensor ``name``."""
        return float(self.rate ** (self.num_layers + 1 - self.layer(name)))

    def layer(self, name: str) -> int:
        """Return the layer of a tensor; what is not of the backbone's layers is deepest."""
        name = _MEMBER.sub("", name)
        match self.kind:
            case "layer_wise":
                layer, rest = _convnext_layer(name, self.num_layers), self.num_layers + 1
            case "stage_wise":
                layer, rest = _convnext_stage(name), self.num_layers + 1
            case "layer_wise_vit":
                layer, rest = _vit_layer(name), self.num_layers + 1
        return rest if layer is None else layer

    def knows(self, name: str) -> bool:
        """Tell whether a tensor is in a layer that this kind of decay knows."""
        return self.layer(name) != self.num_layers + 1


def _vit_layer(name: str) -> int | None:
    if _TOKENS.match(name) or _PATCHES.match(name):
        return 0
    block = _BLOCK.match(name)
    return int(block[1]) + 1 if block else None


def _convnext_layer(name: str, deepest: int) -> int | None:
    if _TOKENS.match(name) or _STEM.match(name):
        return 0
    if match := _STAGE.match(name):
        stage, block = (int(part) for part in match.groups() if part is not None)
        return {0: 1, 1: 2, 2: 3 + block // 3}.get(stage, deepest)
    if match := _DOWNSAMPLE.match(name):
        return {0: 0, 1: 2, 2: 3}.get(int(match[1]), deepest)
    return None


def _convnext_stage(name: str) -> int | None:
    if _TOKENS.match(name) or _STEM.match(name) or _DOWNSAMPLE.match(name):
        return 0
    match = _STAGE.match(name)
    return int(match[1] or match[3]) + 1 if match else None
