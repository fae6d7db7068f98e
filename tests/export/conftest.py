"""A small network with what exporters get wrong, exported once."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from maskline.data.labels import LabelSet
from maskline.export import onnx_graph, package
from maskline.export.trace import trace
from maskline.models.segmentor import SegmentorBase

LABELS = LabelSet(class_names=("background", "disc", "vessel"), palette=((0, 0, 0), (0, 90, 200), (230, 60, 60)))


class TinyNet(SegmentorBase):
    """Skip connection, max pooling, pyramid pooling, two kinds of resizing; stride 8."""

    def __init__(self) -> None:
        super().__init__(num_classes=3, stride=8, align_corners=False)
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.down = nn.Conv2d(8, 12, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(12)
        self.pyramid = nn.AdaptiveAvgPool2d(3)
        self.mix = nn.Conv2d(12, 12, 1)
        self.head = nn.Conv2d(20, 3, 3, padding=1)

    def run_heads(self, images: Tensor, *, auxiliary: bool) -> dict[str, Tensor]:
        fine = F.relu(self.stem(images))
        coarse = F.max_pool2d(F.relu(self.norm(self.down(fine))), 4)
        context = F.interpolate(self.mix(self.pyramid(coarse)), size=coarse.shape[2:], mode="bilinear")
        up = F.interpolate(coarse + context, scale_factor=8, mode="nearest")
        return {"decode_head": self.head(torch.cat([fine, up], 1))}

    def supervise_heads(self, images: Tensor, target: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        raise NotImplementedError


@dataclass(frozen=True)
class Sample:
    id: str
    image: np.ndarray
    mask: np.ndarray


@dataclass(frozen=True)
class Pictures:
    """Smooth noise and masks from its red channel, each image of another size."""

    labels: LabelSet = LABELS
    sizes: tuple[tuple[int, int], ...] = ((40, 56), (71, 33), (64, 64))

    def __len__(self) -> int:
        return len(self.sizes)

    def sample(self, index: int) -> Sample:
        height, width = self.sizes[index]
        coarse = np.random.default_rng(index).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
        image = coarse.repeat(8, 0).repeat(8, 1)[:height, :width]
        mask = np.digitize(image[..., 0], (85, 170)).astype(np.uint8)
        mask[:3] = LABELS.ignore_index
        return Sample(f"eye_{index}", image, mask)


@pytest.fixture(scope="session")
def trained() -> package.Trained:
    torch.manual_seed(0)
    network = TinyNet()
    with torch.no_grad():
        for value in network.state_dict().values():
            if value.is_floating_point() and value.ndim:
                value.uniform_(-0.5, 0.5)
        network.norm.running_var.fill_(0.7)
    return package.Trained(
        network=network.eval(),
        labels=LABELS,
        mean=(120.0, 110.0, 90.0),
        std=(60.0, 55.0, 50.0),
        params={"data": {"archive": "/home/me/eyes.zip", "name": "folder"}, "model": {"weights": None, "type": "smp"}},
        weights_sha256="ab" * 32,
    )


@pytest.fixture(scope="session")
def pictures() -> Pictures:
    return Pictures()


@pytest.fixture(scope="session")
def content(trained: package.Trained) -> bytes:
    """The ONNX file's bytes."""
    program = trace(trained.deployable(), example_size=(40, 48))
    return onnx_graph.to_onnx(program, opset=18, metadata=package.describe(trained, example_size=(40, 48)))


@pytest.fixture(scope="session")
def model_file(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    path.write_bytes(content)
    return path
