"""Recipes that were measured here: what each is for, what it is held against, and its settings.

``tools.recipes`` writes them beside the published ones; ``tools.results`` makes docs/results.md of their runs.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A recipe of ours.

    Args:
        title: Heading on the page of results.
        about: One or two sentences: task, network, budget; also the head of the recipe's file.
        changes: What differs from params.yaml.
        archive: Archive that the command on the page names.
        beside: Name of the recipe that differs in one thing only, for a comparison image by image.
    """

    title: str
    about: str
    changes: dict[str, Any]
    archive: str
    beside: str | None = None


# In the order of the page.
MEASURED: dict[str, Measured] = {}

# Data set -> what others or people reached on its test images: who, score, source.
PUBLISHED: dict[str, tuple[tuple[str, str, str], ...]] = {
    "chase_db1": (
        (
            "MMSegmentation, UNet-S5-D16 with FCN, PSPNet or DeepLabV3 head, cross-entropy with or without Dice: "
            "six runs, 40,000 iterations of 16 crops on GPUs",
            "vessel Dice 0.8024 to 0.8047",
            "metafile of MMSegmentation 1.2.2; one run each, no interval",
        ),
    ),
    "drive": (
        (
            "MMSegmentation, the same six networks, trained on the whole set's 20 images, scored on its 20",
            "vessel Dice 0.7862 to 0.7956",
            "metafile of MMSegmentation 1.2.2; one run each, no interval",
        ),
    ),
}
