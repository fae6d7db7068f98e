"""A tiny data set in memory and a training run over it."""

import functools
import itertools
import signal
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from maskline.augment.loader import TrainBatches
from maskline.augment.pipeline import Augmentation
from maskline.augment.resize import Resize
from maskline.data.dataset import Sample
from maskline.data.labels import LabelSet
from maskline.engine.state import TrainState
from maskline.engine.train import Loop
from maskline.losses.composite import CompositeLoss
from maskline.losses.pixel import cross_entropy
from maskline.models.backbones.unet import UNet
from maskline.models.heads.fcn import FCNHead
from maskline.models.segmentor import Segmentor
from maskline.optim.optimizers import Knobs, optimizer
from maskline.optim.schedules import Schedule
from maskline.runtime import device
from maskline.runtime.torch_seeds import seed_torch

LABELS = LabelSet(class_names=("background", "disc"), palette=((0, 0, 0), (255, 255, 0)))


@dataclass
class MemorySplit:
    """What PreparedSplit offers, over discs drawn in memory."""

    length: int
    size: int = 32
    labels: LabelSet = LABELS
    channels: int = 3

    @property
    def ids(self):
        return tuple(f"disc-{i}" for i in range(self.length))

    @property
    def sizes(self):
        return [(self.size, self.size + 4)] * self.length

    def __len__(self):
        return self.length

    def sample(self, index):
        rng = np.random.default_rng(index)
        height, width = self.sizes[index]
        y, x = np.indices((height, width))
        centre, radius = rng.uniform(8, self.size - 8, 2), rng.uniform(4, 8)
        mask = ((y - centre[0]) ** 2 + (x - centre[1]) ** 2 < radius**2).astype(np.uint8)
        image = (60 + 120 * mask[..., None] + rng.integers(0, 40, (height, width, 3))).astype(np.uint8)
        mask[0] = 255
        return Sample(id=self.ids[index], group=self.ids[index], image=image, mask=mask, valid=None, second=None)


def stopping_at(calls, flag):
    """A split that asks for a stop when so many samples have been read of it."""
    split, seen = MemorySplit(6), itertools.count(1)
    read = split.sample

    def sample(index):
        if next(seen) == calls:
            flag.set(signal.SIGTERM, None)
        return read(index)

    split.sample = sample
    return split


def augmentation():
    return Augmentation(
        crop_size=(32, 32),
        resize=Resize(ratio_range=(0.8, 1.25), scale=None, keep_ratio=True),
        cat_max_ratio=0.9,
        class_crop=0.0,
        rotate_degrees=20.0,
        flip_horizontal=0.5,
        flip_vertical=0.5,
        deform=None,
        photometric_prob=0.5,
        brightness=20.0,
        contrast=(0.8, 1.2),
        saturation=(0.8, 1.2),
        hue_degrees=10.0,
        color_jitter=None,
        blur_prob=0.3,
        blur_sigma=(0.3, 0.6),
        noise_prob=0.3,
        noise_std=4.0,
        pixel_ops=None,
        mixing=None,
        fill=(120.0, 120.0, 120.0),
        within_valid=False,
        ignore_index=255,
        mean=(120.0, 120.0, 120.0),
        std=(60.0, 60.0, 60.0),
    )


def model():
    seed_torch(0, "weights")
    backbone = UNet(in_channels=3, base_channels=8, num_stages=2)
    shared = {"channels": 8, "num_classes": 2, "align_corners": False, "num_convs": 1}
    return Segmentor(
        backbone=backbone,
        decode_heads=[FCNHead(in_channels=8, in_index=1, dropout=0.1, **shared)],
        auxiliary_heads=[FCNHead(in_channels=16, in_index=0, dropout=0.0, **shared)],
        neck=None,
        num_classes=2,
        align_corners=False,
    )


plain = functools.partial(cross_entropy, class_weights=None, label_smoothing=0.0)


def run(**changes):
    """Return a fresh state and loop; ``changes`` are fields of Loop."""
    network = model()
    state = TrainState(
        model=network,
        optimizer=optimizer(
            "adamw",
            network.parameters(),
            lr=0.02,
            weight_decay=0.01,
            knobs=Knobs(
                momentum=0.0,
                dampening=0.0,
                nesterov=False,
                betas=(0.9, 0.999),
                eps=1e-8,
                alpha=0.9,
                amsgrad=False,
                centered=False,
            ),
        ),
    )
    iterations = changes.get("iterations", 12)
    loop = Loop(
        **{
            "batches": TrainBatches(MemorySplit(6), augmentation(), seed=3, batch_size=4),
            "validation": MemorySplit(2),
            "criteria": {
                "auxiliary_head.0": CompositeLoss([(plain, 0.4)]),
                "decode_head": CompositeLoss([(plain, 1.0)]),
            },
            "schedule": Schedule(
                name="poly",
                iterations=iterations,
                power=0.9,
                end_factor=0.0,
                end_lr=None,
                milestones=(),
                step_every=0,
                gamma=0.1,
                cycle_start=0.1,
                cycle_peak=0.3,
                cycles=1,
                warmup="linear",
                warmup_iterations=2,
                warmup_factor=0.1,
            ),
            "compute": device.resolve(device="cpu", precision="fp32", channels_last=True),
            "iterations": 12,
            "val_every": 5,
            "preview_every": 0,
            "preview_samples": 2,
            "log_every": 2,
            "journal_every": 4,
            "best_metric": "mIoU",
            "clip_norm": None,
            "workers": 0,
            "accumulate": 1,
            "early_stop": 0,
            "ema_decay": 0.0,
            "compiled": False,
            **changes,
        }
    )
    return state, loop


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
