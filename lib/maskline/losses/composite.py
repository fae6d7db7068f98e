"""A weighted sum of losses: the criterion of one head."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

Loss = Callable[[Tensor, Tensor, int], Tensor]


class CompositeLoss(nn.Module):
    """The weighted sum of losses.

    Args:
        terms: Pairs of loss and weight; a loss takes logits (NCHW), target (NHW) and the ignore index.
    """

    def __init__(self, terms: Sequence[tuple[Loss, float]]) -> None:
        super().__init__()
        assert terms, "a criterion needs at least one loss"
        self.terms = tuple(terms)

    def forward(self, logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
        """Return the sum as a float32 scalar, whatever autocast is around.

        Args:
            logits: NCHW, any float type.
            target: Class ids, int64 NHW.
            ignore_index: Target value that does not count.
        """
        first, *others = (weight * loss(logits, target, ignore_index) for loss, weight in self.terms)
        return sum(others, start=first)
