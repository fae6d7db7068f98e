import numpy as np
import pytest
import torch
from torch import nn

from maskline.core.errors import ShapeError
from maskline.inference.slide import Windows, slide_bands, window_starts


@pytest.mark.parametrize(
    ("length", "window", "stride", "number", "ends_with"),
    [  # computed by MMSegmentation 1.2.2
        (584, 64, 42, 14, [462, 504, 520]),
        (565, 64, 42, 13, [501]),
        (960, 128, 85, 11, [832]),
        (999, 128, 85, 12, [871]),
        (2336, 256, 170, 14, [2080]),
        (3504, 256, 170, 21, [3248]),
    ],
)
def test_window_starts_are_mmsegmentations(length, window, stride, number, ends_with):
    starts = window_starts(length, window=window, stride=stride)
    assert len(starts) == number
    assert starts[-len(ends_with) :] == ends_with


@pytest.mark.parametrize("length", [1, 5, 31, 32, 33, 63, 64, 65, 200])
@pytest.mark.parametrize(("window", "stride"), [(32, 32), (32, 20), (32, 1), (1, 1)])
def test_windows_cover_the_axis_and_none_is_double(length, window, stride):
    starts = window_starts(length, window=window, stride=stride)
    assert starts == sorted(set(starts))
    covered = {position for start in starts for position in range(start, min(start + window, length))}
    assert covered == set(range(length))
    assert all(start + window <= length for start in starts) or starts == [0]


@pytest.mark.parametrize(("window", "stride"), [(32, 33), (32, 0)])
def test_stride_that_leaves_gaps_is_an_error(window, stride):
    with pytest.raises(ShapeError, match=f"stride {stride} with window {window}"):
        window_starts(100, window=window, stride=stride)


def one_window_at_a_time(forward, image, *, window, stride):
    """Sum of logits over a count map, window by window, in float64."""
    _, _, height, width = image.shape
    total = counts = 0
    for top in window_starts(height, window=window[0], stride=stride[0]):
        for left in window_starts(width, window=window[1], stride=stride[1]):
            rows, columns = slice(top, min(top + window[0], height)), slice(left, min(left + window[1], width))
            logits = forward(image[:, :, rows, columns]).double()
            if isinstance(total, int):
                total = torch.zeros(1, logits.shape[1], height, width, dtype=torch.float64)
                counts = torch.zeros(height, width, dtype=torch.float64)
            total[:, :, rows, columns] += logits
            counts[rows, columns] += 1
    return total / counts


def windows(window, stride, batch_size):
    return Windows(window=window, stride=stride, batch_size=batch_size, weighting="uniform")


@pytest.mark.parametrize("size", [(40, 50), (16, 90), (90, 16), (24, 24), (70, 24)])
@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_equals_one_window_at_a_time(size, batch_size):
    torch.manual_seed(0)
    network = nn.Conv2d(3, 4, 5, padding=2).eval()
    images = torch.randn(2, 3, *size)
    with torch.no_grad():
        bands = slide_bands(network, images, windows=windows((24, 20), (17, 11), batch_size))
        ours = torch.cat(list(bands), dim=2)
        for i in range(2):
            expected = one_window_at_a_time(network, images[i : i + 1], window=(24, 20), stride=(17, 11))
            np.testing.assert_allclose(ours[i : i + 1], expected, atol=1e-5)


def test_a_pointwise_network_gives_what_it_gives_to_the_whole():
    torch.manual_seed(1)
    network = nn.Conv2d(3, 5, 1).eval()
    images = torch.randn(1, 3, 61, 47)
    with torch.no_grad():
        bands = slide_bands(network, images, windows=windows((16, 16), (11, 7), 4))
        torch.testing.assert_close(torch.cat(list(bands), dim=2), network(images))


def test_an_image_smaller_than_the_window_is_one_window():
    seen = []

    def forward(images):
        seen.append(tuple(images.shape))
        return images

    list(slide_bands(forward, torch.zeros(1, 3, 20, 30), windows=windows((64, 64), (40, 40), 8)))
    assert seen == [(1, 3, 20, 30)]


def test_no_batch_is_larger_than_asked_and_no_band_than_a_window():
    seen = []

    def forward(images):
        seen.append(len(images))
        return images

    bands = list(slide_bands(forward, torch.zeros(1, 3, 300, 100), windows=windows((32, 32), (16, 16), 4)))
    assert max(seen) == 4
    assert max(band.shape[2] for band in bands) <= 32
    assert sum(band.shape[2] for band in bands) == 300
