import numpy as np
import pytest
import torch

from maskline.inference import crf
from maskline.inference.crf import DenseCrf, free_energy

FIELD = {
    "iterations": 5, "radius": 5, "bilateral_weight": 3.0, "bilateral_px": 6.0, "bilateral_grey": 20.0,
    "smooth_weight": 1.0, "smooth_px": 1.5,
}  # fmt: skip


def field(**changes):
    return DenseCrf(**(FIELD | changes))


def scene(size, *, num_classes, seed):
    """A noisy image of regions and noisy probabilities of what they are."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[: size[0], : size[1]]
    truth = ((rows > size[0] // 2) + (columns > size[1] // 3)) % num_classes
    gray = 60 + 60 * truth + generator.normal(0, 6, size)
    image = torch.from_numpy(np.stack([gray, gray, gray])).float()
    logits = torch.from_numpy(np.eye(num_classes)[truth] * 1.5 + generator.normal(0, 1.2, (*size, num_classes)))
    return image, logits.float().softmax(-1).permute(2, 0, 1), torch.from_numpy(truth)


def fully_connected(probabilities, image, crf):
    """Mean field with every pair of pixels, as matrices in float64."""
    p = probabilities.reshape(len(probabilities), -1).double().numpy()
    colors = image.reshape(len(image), -1).double().numpy().T
    height, width = image.shape[1:]
    places = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"), -1).reshape(-1, 2)
    apart = ((places[:, None] - places[None]) ** 2).sum(-1)
    unlike = ((colors[:, None] - colors[None]) ** 2).sum(-1)
    total = 0
    for weight, kernel in (
        (crf.bilateral_weight, np.exp(-apart / (2 * crf.bilateral_px**2) - unlike / (2 * crf.bilateral_grey**2))),
        (crf.smooth_weight, np.exp(-apart / (2 * crf.smooth_px**2))),
    ):
        np.fill_diagonal(kernel, 0)
        own = kernel.sum(1)
        total = total + weight * kernel / np.sqrt(own[:, None] * own[None])
    q = p
    for _ in range(crf.iterations):
        scores = np.log(p) + q @ total
        q = np.exp(scores - scores.max(0))
        q /= q.sum(0)
    return q.reshape(probabilities.shape)


@pytest.mark.parametrize("num_classes", [2, 3])
def test_equals_the_fully_connected_field_when_the_window_covers_the_image(num_classes):
    image, probabilities, _ = scene((32, 32), num_classes=num_classes, seed=0)
    wide = field(radius=31)
    found = wide(probabilities[None], image[None])[0]
    np.testing.assert_allclose(found.numpy(), fully_connected(probabilities, image, wide), atol=1e-4)


def test_energy_falls_with_every_iteration():
    image, probabilities, _ = scene((40, 36), num_classes=3, seed=1)
    kernels = field().kernels(image)
    energies = [
        free_energy(
            field(iterations=n)(probabilities[None], image[None])[0], probabilities=probabilities, kernels=kernels
        )
        for n in range(1, 8)
    ]
    start = free_energy(probabilities, probabilities=probabilities, kernels=kernels)
    assert all(after < before for before, after in zip([start, *energies], energies, strict=False))


def test_mends_a_noisy_segmentation():
    image, probabilities, truth = scene((64, 80), num_classes=2, seed=2)
    before = (probabilities.argmax(0) == truth).float().mean()
    after = (field()(probabilities[None], image[None])[0].argmax(0) == truth).float().mean()
    assert before < 0.9
    assert after > 0.98


def test_bands_change_nothing(monkeypatch):
    image, probabilities, _ = scene((90, 20), num_classes=2, seed=3)
    short = field(iterations=2, radius=3)
    whole = short(probabilities[None], image[None])
    monkeypatch.setattr(crf, "_BAND_ROWS", 16)
    torch.testing.assert_close(short(probabilities[None], image[None]), whole, rtol=0, atol=1e-6)


def test_each_image_by_itself_and_sums_of_one():
    scenes = [scene((20, 24), num_classes=3, seed=seed) for seed in (4, 5)]
    found = field()(torch.stack([s[1] for s in scenes]), torch.stack([s[0] for s in scenes]).to(torch.uint8))
    alone = field()(scenes[1][1][None], scenes[1][0][None].to(torch.uint8))
    torch.testing.assert_close(found[1:], alone, rtol=0, atol=0)
    torch.testing.assert_close(found.sum(1), torch.ones(2, 20, 24))


def test_without_weights_nothing_moves():
    image, probabilities, _ = scene((20, 24), num_classes=2, seed=6)
    found = field(bilateral_weight=0.0, smooth_weight=0.0)(probabilities[None], image[None])[0]
    torch.testing.assert_close(found, probabilities)
