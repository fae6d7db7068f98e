"""A weighted sum of losses: the criterion of one head."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from torch import Tensor, nn

Loss = Callable[[Tensor, Tensor, int], Tensor]
F = TypeVar("F", bound=Callable[..., Tensor])


def takes_soft(function: F) -> F:
    """Mark a loss whose target may be probabilities too (``maskline.losses.pixel``)."""
    setattr(function, "takes_soft", True)  # noqa: B010  (mypy knows no such attribute of a function)
    return function


class CompositeLoss(nn.Module):
    """The weighted sum of losses.

    Args:
        terms: Pairs of loss and weight; a loss takes logits (NCHW), target (NHW) and the ignore index.
    """

    def __init__(self, terms: Sequence[tuple[Loss, float]]) -> None:
        super().__init__()
        assert terms, "a criterion needs at least one loss"
        self.terms = tuple(terms)

    def hard_only(self) -> list[str]:
        """Return the names of the losses that take no soft labels."""
        functions = [loss.func if isinstance(loss, partial) else loss for loss, _ in self.terms]
        return [
            getattr(function, "__name__", type(function).__name__)
            for function in functions
            if not getattr(function, "takes_soft", False)
        ]

    def forward(self, logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
        """Return the sum as a float32 scalar, whatever autocast is around.

        Args:
            logits: NCHW, any float type.
            target: Class ids, int64 NHW; or probabilities, NCHW, where each loss takes them.
            ignore_index: Target value that does not count.
        """
        first, *others = (weight * loss(logits, target, ignore_index) for loss, weight in self.terms)
        return sum(others, start=first)
