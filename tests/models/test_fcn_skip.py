"""FCN-32s, 16s and 8s against sums written out by hand."""

import pytest
import torch
from torch.nn import functional as F

from maskline.models.heads.fcn_skip import FCNSkipHead

WIDTHS = (5, 6, 7)  # finest first
SIZES = ((12, 20), (6, 10), (3, 5))


def head(count, upsample):
    torch.manual_seed(0)
    return FCNSkipHead(
        in_channels=WIDTHS[-count:],
        in_index=list(range(3 - count, 3)),
        channels=4,
        num_classes=3,
        dropout=0.0,
        align_corners=False,
        kernel_size=3,
        upsample=upsample,
    ).eval()


def features(sizes=SIZES):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, width, *size, generator=generator) for width, size in zip(WIDTHS, sizes, strict=True)]


def by_hand(model, given, double):
    """The coarsest feature's scores, then for each finer one: doubled, plus that feature's own scores."""
    state = model.state_dict()
    x = given[-1]
    for block, padding in (("convs.0", 1), ("convs.1", 0)):
        x = F.conv2d(x, state[f"{block}.conv.weight"], padding=padding)
        mean, var = state[f"{block}.bn.running_mean"], state[f"{block}.bn.running_var"]
        x = (x - mean.view(1, -1, 1, 1)) / (var.view(1, -1, 1, 1) + 1e-5).sqrt()
        x = (x * state[f"{block}.bn.weight"].view(1, -1, 1, 1) + state[f"{block}.bn.bias"].view(1, -1, 1, 1)).clamp(0)
    scores = _scores(x, state["conv_seg.weight"], state["conv_seg.bias"])
    for i in range(len(model.in_index) - 2, -1, -1):
        skip = given[model.in_index[i]]
        own = _scores(skip, state[f"skip_seg.{i}.weight"], state[f"skip_seg.{i}.bias"])
        scores = double(scores, i)[:, :, : skip.shape[2], : skip.shape[3]] + own
    return scores


def _scores(x, weight, bias):
    return torch.einsum("nchw,kc->nkhw", x, weight[:, :, 0, 0]) + bias.view(1, -1, 1, 1)


def bilinear(x, _):
    """Twice as large: a pixel is 3/4 of the one it lies in and 1/4 of the nearer neighbour, along each side."""
    for dim in (2, 3):
        before = torch.cat([x.narrow(dim, 0, 1), x.narrow(dim, 0, x.shape[dim] - 1)], dim)
        after = torch.cat([x.narrow(dim, 1, x.shape[dim] - 1), x.narrow(dim, x.shape[dim] - 1, 1)], dim)
        x = torch.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], dim + 1).flatten(dim, dim + 1)
    return x


def spread(weight):
    """A transposed convolution: each pixel adds its 4x4 kernel to the result, two pixels further each time."""

    def double(x, i):
        kernel = weight(i)
        n, _, height, width = x.shape
        total = torch.zeros(n, kernel.shape[1], 2 * height + 2, 2 * width + 2)
        for row in range(height):
            for column in range(width):
                stamp = torch.einsum("nc,ckhw->nkhw", x[:, :, row, column], kernel)
                total[:, :, 2 * row : 2 * row + 4, 2 * column : 2 * column + 4] += stamp
        return total[:, :, 1:-1, 1:-1]

    return double


@pytest.mark.parametrize("count", [1, 2, 3])
def test_bilinear_sums(count):
    model, given = head(count, "bilinear"), features()
    with torch.no_grad():
        found = model(given)
        torch.testing.assert_close(found, by_hand(model, given, bilinear), atol=1e-5, rtol=1e-5)
    assert found.shape == (2, 3, *SIZES[3 - count])


@pytest.mark.parametrize("count", [2, 3])
def test_learnt_sums(count):
    model, given = head(count, "deconv"), features()
    with torch.no_grad():
        for layer in model.upsample:
            layer.weight.normal_(std=0.3)
        expected = by_hand(model, given, spread(lambda i: model.upsample[i].weight))
        torch.testing.assert_close(model(given), expected, atol=1e-5, rtol=1e-5)


def test_new_deconvolutions_keep_classes_apart():
    model = head(3, "deconv")
    for layer in model.upsample:
        apart = layer.weight * (1 - torch.eye(3)).view(3, 3, 1, 1)
        assert apart.abs().max() == 0
        assert layer.weight.sum().item() == pytest.approx(3 * 4)  # each pixel is spread over four
