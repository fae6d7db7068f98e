"""The size of a network from its params."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from maskline.analysis.flops import summarize
from maskline.builders.model import segmentor, without_start_weights
from maskline.data.labels import LabelSet
from maskline.models.ensemble import Ensemble
from maskline.params.network.model import ModelParams, validate_model
from maskline.params.whole import load_params
from maskline.projects import recipes
from maskline.runtime import checkpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How large a network is.

    Args:
        parts: Parameters of each part, by name.
        parameters: Of the whole.
        trained: Those that training changes.
        multiply_adds: Of one image, without auxiliary heads.
        height: Of that image, px.
        width: Of that image, px.
    """

    parts: dict[str, int]
    parameters: int
    trained: int
    multiply_adds: int
    height: int
    width: int

    def lines(self) -> list[str]:
        """Return a table as text."""
        rows = {**self.parts, "whole": self.parameters, "trained": self.trained}
        return [
            f"{'part':<20} {'parameters':>13}",
            *(f"{name:<20} {count:>13,}" for name, count in rows.items()),
            f"multiply-adds of one {self.height}x{self.width} image, without auxiliary heads: "
            f"{self.multiply_adds / 1e9:.3f} G",
        ]


def describe(source: str, *, size: tuple[int, int] | None, classes: int) -> Size:
    """Return the parameters of a network, and the multiply-adds of one image.

    Args:
        source: A params file, the name of a recipe, or a model folder.
        size: Height and width of the image, px; None: the training crop.
        classes: Number of classes, where the source does not say.

    Raises:
        MasklineError: The source is none of the three, or its network cannot be built.
    """
    sections, size, classes = _read(source, size=size, classes=classes)
    sections = [without_start_weights(section) for section in sections]
    # Encoders of the libraries are tried with an image while they are built: they need real memory. So may own code.
    shapes = all(all(map(_is_own, section.networks())) and not section.own_code() for section in sections)
    with torch.device("meta" if shapes else "cpu"):
        networks = [segmentor(section, num_classes=classes) for section in sections]
        model = Ensemble(networks) if len(networks) > 1 else networks[0]
    whole = summarize(model, in_channels=sections[0].in_channels, size=size)
    return Size(
        parts={name: _count(part) for name, part in _parts(model)},
        parameters=whole.parameters,
        trained=whole.trainable,
        multiply_adds=whole.multiply_adds,
        height=size[0],
        width=size[1],
    )


def _read(source: str, *, size: tuple[int, int] | None, classes: int) -> tuple[list[ModelParams], tuple[int, int], int]:
    """Return the section of the network, or of each that was joined to one model; the image's size; the classes."""
    folder = Path(source)
    if (folder / checkpoint.CARD_FILE).is_file():
        card = checkpoint.read_card(folder)
        labels = LabelSet.from_dict(card["labels"], place=folder / checkpoint.CARD_FILE)
        given = card.get("members") or [card["params"]["model"]]
        sections = [validate_model(section, place=folder / checkpoint.CARD_FILE) for section in given]
        return sections, size or (512, 512), labels.num_classes
    params = load_params(recipes.find(source))
    return [params.model], size or params.augment.crop_size, classes


def _is_own(section: ModelParams) -> bool:
    name = section.backbone.name
    own = name.startswith(("unet", "little_unet", "mixvit_", "hrnet")) or "_v1" in name
    return own and section.type == "encoder_decoder"


def _parts(model: nn.Module) -> list[tuple[str, nn.Module]]:
    parts: list[tuple[str, nn.Module]] = []
    for name, part in model.named_children():
        inner = list(part.named_children()) if isinstance(part, nn.ModuleList) or name == "model" else []
        parts += [(f"{name}.{key}", module) for key, module in inner] or [(name, part)]
    return [(name, part) for name, part in parts if _count(part)]


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
