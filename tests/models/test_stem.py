"""First convolutions for other numbers of channels."""

import pytest
import torch
from torch.nn.functional import conv2d

from maskline.models.stem import adapt_input_channels


@pytest.fixture
def weight():
    return torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0))


def test_the_same_number_changes_nothing(weight):
    assert adapt_input_channels(weight, 3) is weight


@pytest.mark.parametrize("channels", [1, 6, 9])
def test_copies_of_a_gray_image_give_what_they_gave(weight, channels):
    gray = torch.randn(1, 1, 8, 8)
    expected = conv2d(gray.expand(-1, 3, -1, -1), weight)
    found = conv2d(gray.expand(-1, channels, -1, -1), adapt_input_channels(weight, channels))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("channels", [2, 4, 5])
def test_channels_come_in_turn(weight, channels):
    adapted = adapt_input_channels(weight, channels)
    for i in range(channels):
        torch.testing.assert_close(adapted[:, i], weight[:, i % 3] * 3 / channels)
