"""Values between pixels."""

import pytest
import torch

from maskline.runtime import gpu_forms
from maskline.runtime.point_sampling import draw_points, sample_points


def test_points_are_sampled_at_pixel_centres():
    x = torch.arange(12.0).view(1, 1, 3, 4)
    points = torch.tensor([[[0.5 / 4, 0.5 / 3], [3.5 / 4, 2.5 / 3], [1.0 / 4, 0.5 / 3]]])
    assert sample_points(x, points, align_corners=False).flatten().tolist() == pytest.approx([0.0, 11.0, 0.5], abs=1e-5)


@pytest.mark.parametrize("align_corners", [False, True])
def test_points_sampled_as_a_gpu_does(align_corners):
    """Beside torch's sampler, with points outside; so for its gradient."""
    torch.manual_seed(0)
    x, points = torch.randn(2, 3, 5, 7), 1.6 * torch.rand(2, 40, 2) - 0.3
    found = []
    for forms in (torch.enable_grad, gpu_forms.everywhere):
        given = x.clone().requires_grad_()
        with forms():
            values = sample_points(given, points, align_corners=align_corners)
        (gradient,) = torch.autograd.grad(values.square().sum(), given)
        found.append((values, gradient, values.grad_fn))
    torch.testing.assert_close(found[1][:2], found[0][:2], rtol=1e-4, atol=1e-5)
    assert "SqueezeBackward" in type(found[0][2]).__name__
    assert "SumBackward" in type(found[1][2]).__name__


def test_the_points_that_are_drawn_first_are_the_most_uncertain_candidates():
    torch.manual_seed(0)
    drawn = draw_points(
        lambda points: points[..., 0], rows=2, count=8, oversample=4.0, uncertain_share=0.75, like=torch.zeros(1)
    )
    torch.manual_seed(0)
    candidates = torch.rand(2, 32, 2)[..., 0].sort(dim=1, descending=True).values
    assert drawn.shape == (2, 8, 2)
    assert torch.equal(drawn[:, :6, 0], candidates[:, :6])
