"""A small evaluated set, drawn here: a known network, known errors."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from maskline.data.labels import LabelSet
from maskline.evaluation.evaluate import Evaluation, evaluate
from maskline.inference.pipeline import Inference
from maskline.inference.predictor import Predictor
from maskline.inference.tta import Tta
from maskline.metrics.extra import Measures


@dataclass
class Picture:
    id: str
    group: str
    image: np.ndarray
    mask: np.ndarray
    valid: np.ndarray | None
    second: np.ndarray | None


class Pictures:
    def __init__(self, pictures: list[Picture], labels: LabelSet) -> None:
        self.pictures = pictures
        self.labels = labels
        self.sizes = [picture.mask.shape for picture in pictures]

    def sample(self, index: int) -> Picture:
        return self.pictures[index]


class Channels(nn.Module):
    """The brightness of a channel is the logit of its class; a fourth class never wins."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        never = torch.full_like(images[:, :1], -1)
        return torch.cat([images, never], 1)[:, [0, 1, 2, 3][: self.num_classes]]


TWO = LabelSet(class_names=("background", "vessel"), palette=((0, 0, 0), (230, 60, 60)))
FOUR = LabelSet(
    class_names=("Sky & <air>", "road", "car", "rare thing"),
    palette=((70, 130, 180), (128, 64, 128), (0, 0, 142), (220, 20, 60)),
)


def draw(labels: LabelSet, *, number: int, second: bool) -> Pictures:
    """Images whose brightest channel is the class; image k has 3 (k + 1) wrong pixels."""
    pictures = []
    shown = min(labels.num_classes, 3)
    for k in range(number):
        generator = np.random.default_rng(k)
        size = (24, 30) if k % 2 else (20, 36)
        mask = generator.integers(0, shown, size).astype(np.uint8)
        image = (np.arange(3) == mask[..., None]).astype(np.uint8) * 200
        wrong = mask.copy().reshape(-1)
        wrong[: 3 * (k + 1)] = (wrong[: 3 * (k + 1)] + 1) % shown
        wrong[-5:] = labels.ignore_index
        mask = wrong.reshape(size)
        other = np.where(generator.random(size) < 0.9, mask, 0).astype(np.uint8) if second else None
        valid = np.ones(size, bool)
        valid[:2] = False
        pictures.append(Picture(f"image_{k:02d}", f"group {k // 2}", image, mask, valid, other))
    return Pictures(pictures, labels)


def inference(labels: LabelSet) -> Inference:
    predictor = Predictor(
        model=Channels(labels.num_classes),
        mean=(0.0,) * 3,
        std=(1.0,) * 3,
        mode="whole",
        window=(1, 1),
        stride=(1, 1),
        batch_size=3,
        weighting="uniform",
        average="logits",
        precision="fp32",
    )
    return Inference(
        predictor=predictor,
        tta=Tta(scales=(1.0,), flips=("none",)),
        crf=None,
        threshold=None,
        min_component_px=0,
        max_hole_px=0,
    )


def scored(split: Pictures, **changes: Any) -> Evaluation:
    measures = Measures(names=changes.pop("names", ()), options={"boundary_px": 2})
    options = {
        "measures": measures,
        "data_name": "drawn",
        "name": "test",
        "within_valid": False,
        "resamples": 50,
        "seed": 0,
        "tuned_crf": {},
    }
    return evaluate(inference(split.labels), split, **(options | changes))


@pytest.fixture(scope="session")
def two_classes() -> tuple[Pictures, Evaluation]:
    """Eight images of two classes in four groups, with a second observer."""
    split = draw(TWO, number=8, second=True)
    return split, scored(split)


@pytest.fixture(scope="session")
def four_classes() -> tuple[Pictures, Evaluation]:
    """Twelve images of four classes, one of them absent."""
    split = draw(FOUR, number=12, second=False)
    return split, scored(split)


@pytest.fixture(scope="session")
def card() -> dict[str, Any]:
    """What model.json holds."""
    return {
        "params": {
            "model": {
                "type": "encoder_decoder",
                "backbone": {"name": "unet"},
                "decode_head": {"name": "fcn", "losses": [{"name": "dice", "weight": 1.0}]},
                "weights": None,
            },
            "train": {"best_metric": "mDice", "seed": 0, "channels_last": True},
        },
        "labels": TWO.to_dict(),
        "preprocessing": {"mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0], "scale": 255},
        "receipt": {"weights_sha256": "ab" * 32, "libraries": {"torch": "2.13.0"}},
    }
