"""Each operation of the augmentation beside kornia's own: time and difference, for docs/explanation/speed.md.

``python -m tools.kornia_beside`` measures on one thread, both in turns, each sample of 8 x 3 x 256 x 256 changed.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import click
import kornia.augmentation
import kornia.enhance
import kornia.geometry
import numpy as np
import torch
from torch import Tensor

from maskline.augment import color_matrix, deform, geometric
from maskline.augment.color_matrix import Photometric
from maskline.augment.deform import Bend, Elastic
from maskline.augment.geometric import Geometry
from maskline.augment.pixel_ops import Effect, PixelOps
from maskline.augment.warp import Reading, warp

COUNT, SIDE = 8, 256
FILL = torch.zeros(3)
NEUTRAL = Photometric(
    brightness=0.0, contrast=1.0, saturation=1.0, hue_degrees=0.0, blur_sigma=0.0, noise_std=0.0, noise_seed=0
)
EFFECT = Effect(clahe_clip=None, gamma=None, grayscale=False, lost_channel=None, erased=())
Pair = tuple[Callable[[], Any], Callable[[], Any]]  # kornia has no types


def photograph() -> Tensor:
    """Return COUNT x 3 x SIDE x SIDE gray levels: smooth shades, and a little noise."""
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.uniform(20, 235, (COUNT, 3, 9, 9)).astype(np.float32))
    smooth = torch.nn.functional.interpolate(coarse, (SIDE, SIDE), mode="bicubic", align_corners=False)
    noise = torch.from_numpy(rng.normal(0, 4, smooth.shape).astype(np.float32))
    return (smooth + noise).clamp(0, 255)


def cases(images: Tensor) -> dict[str, tuple[Pair, str]]:
    """Return operation -> ours and kornia's, both from gray levels to gray levels, and what is used."""
    unit = images / 255
    half = torch.full((COUNT,), 1.2)

    def colors(**changes: Any) -> Callable[[], Tensor]:
        samples = [replace(NEUTRAL, **changes)] * COUNT
        return lambda: color_matrix.apply(images, samples, matrix=True)

    def plain(**changes: Any) -> Callable[[], Tensor]:
        samples = [replace(NEUTRAL, **changes)] * COUNT
        return lambda: color_matrix.apply(images, samples, matrix=False)

    def effect(**changes: Any) -> Callable[[], Tensor]:
        samples = [replace(EFFECT, **changes)] * COUNT
        return lambda: _ops().recolor(images, samples, fill=FILL)

    def four() -> Any:
        changed = kornia.enhance.adjust_brightness(unit, torch.full((COUNT,), 10 / 255))
        changed = kornia.enhance.adjust_contrast(changed, half)
        changed = kornia.enhance.adjust_saturation(changed, half)
        return kornia.enhance.adjust_hue(changed, torch.full((COUNT,), 0.2)) * 255

    noise = kornia.augmentation.RandomGaussianNoise(std=8 / 255, p=1.0)
    clahe = kornia.augmentation.RandomClahe(clip_limit=(2.0, 2.0), p=1.0)
    blur = kornia.augmentation.RandomGaussianBlur(kernel_size=(7, 7), sigma=(1.0, 1.0), p=1.0)
    mine = "ours"
    return {
        "warp: scale, rotation, shift, image and mask": (_warped(images, tilt=0.0), mine),
        "warp with perspective": (_warped(images, tilt=0.2), mine),
        "elastic deformation, image and mask": (_elastic(images), mine),
        "brightness, contrast, saturation, hue": (
            (colors(brightness=10.0, contrast=1.2, saturation=1.2, hue_degrees=11.5), four),
            mine,
        ),
        "contrast alone": ((colors(contrast=1.2), lambda: kornia.enhance.adjust_contrast(unit, half) * 255), mine),
        "hue alone": (
            (colors(hue_degrees=11.5), lambda: kornia.enhance.adjust_hue(unit, torch.full((COUNT,), 0.2)) * 255),
            mine,
        ),
        "Gaussian blur, sigma 1": ((plain(blur_sigma=1.0), lambda: blur(images)), "kornia's gaussian_blur2d"),
        "Gaussian noise": ((plain(noise_std=8.0), lambda: (noise(unit) * 255).clamp(0, 255)), mine),
        "gray": (
            (effect(grayscale=True), lambda: kornia.color.rgb_to_grayscale(images).expand(-1, 3, -1, -1)),
            mine,
        ),
        "gamma": ((effect(gamma=1.2), lambda: kornia.enhance.adjust_gamma(unit, half) * 255), mine),
        "CLAHE, clip 2": ((effect(clahe_clip=2.0), lambda: clahe(unit) * 255), "kornia's equalize_clahe"),
    }


def _ops() -> PixelOps:
    return PixelOps(
        channels=3,
        clahe_prob=1.0,
        clahe_clip=(2.0, 2.0),
        clahe_tiles=8,
        gamma_prob=1.0,
        gamma_exponent=(1.2, 1.2),
        grayscale_prob=1.0,
        channel_dropout_prob=0.0,
        erase_prob=0.0,
        erase_count=1,
        erase_area=(0.1, 0.1),
        erase_labels="ignore",
    )


def _reading(*, tilt: float, field: Tensor | None = None) -> Reading:
    bend = Bend(rotates=True, affine=None, tilt=(tilt, tilt / 2), elastic=None) if tilt else None
    drawn = Geometry(
        scaled_size=(300, 300) if field is None else (SIDE, SIDE),
        crop_origin=(20, 30) if field is None else (0, 0),
        rotate_degrees=12.0 if field is None else 0.0,
        flip_horizontal=False,
        flip_vertical=False,
        bend=bend,
    )
    matrix = geometric.matrix(drawn, size=(SIDE, SIDE), crop_size=(SIDE, SIDE)).astype(np.float32)
    return Reading(
        transforms=torch.from_numpy(np.stack([matrix] * COUNT)),
        boxes=torch.tensor([[0.0, 0.0, SIDE, SIDE]] * COUNT),
        sizes=torch.full((COUNT, 2), float(SIDE)),
        crop_size=(SIDE, SIDE),
        fields={} if field is None else dict.fromkeys(range(COUNT), field),
        projective=tilt > 0,
    )


def _warped(images: Tensor, *, tilt: float) -> Pair:
    """The same matrix for both; kornia's mask by a second warp."""
    reading, masks = _reading(tilt=tilt), torch.ones(COUNT, SIDE, SIDE, dtype=torch.uint8)
    forward = torch.linalg.inv(reading.transforms)
    size = (SIDE, SIDE)

    def theirs() -> Any:
        if tilt:
            kornia.geometry.warp_perspective(masks[:, None].float(), forward, size, mode="nearest")
            return kornia.geometry.warp_perspective(images, forward, size, padding_mode="zeros")
        kornia.geometry.warp_affine(masks[:, None].float(), forward[:, :2], size, mode="nearest")
        return kornia.geometry.warp_affine(images, forward[:, :2], size, padding_mode="zeros")

    return lambda: warp(images, [(masks, 255)], reading, fill=FILL)[0], theirs


def _elastic(images: Tensor) -> Pair:
    """Fields of two kinds: a spline here, blurred noise there; so nothing can be said of the difference."""
    drawn, masks = Elastic(magnitude_px=8.0, spacing_px=32.0, seed=0), torch.ones(COUNT, SIDE, SIDE, dtype=torch.uint8)
    elastic = kornia.augmentation.AugmentationSequential(
        kornia.augmentation.RandomElasticTransform(p=1.0), data_keys=["input", "mask"]
    )

    def ours() -> Tensor:
        field = deform.field(drawn, (SIDE, SIDE))
        return warp(images, [(masks, 255)], _reading(tilt=0.0, field=field), fill=FILL)[0]

    return ours, lambda: elastic(images, masks[:, None].float())[0]


def measure(pair: Pair, rounds: int) -> tuple[float, float]:
    """Return how many times our time kornia's is, and the largest difference of pixels that both read inside."""
    times: tuple[list[float], list[float]] = ([], [])
    first, second = (function() for function in pair)
    for _ in range(rounds):
        for function, taken in zip(pair, times, strict=True):
            started = time.perf_counter()
            function()
            taken.append(time.perf_counter() - started)
    inner = (first > 0) & (second > 0)
    inner = inner & (torch.nn.functional.max_pool2d((~inner).float(), 9, 1, 4) == 0)  # not the border of the image
    difference = float((first - second).abs()[inner].max())
    return statistics.median(times[1]) / statistics.median(times[0]), difference


@click.command()
@click.option("--rounds", default=15, show_default=True, help="Of both, in turns.")
def main(rounds: int) -> None:
    """Print the table."""
    torch.set_num_threads(1)
    print("| operation | kornia's time over ours | largest difference, gray levels | used |")
    print("| --- | --- | --- | --- |")
    for name, (pair, used) in cases(photograph()).items():
        ratio, difference = measure(pair, rounds)
        print(f"| {name} | {ratio:.2f} | {difference:.2g} | {used} |", flush=True)


if __name__ == "__main__":
    main()
