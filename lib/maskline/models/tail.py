"""The last blocks of a plain transformer, for a head that is made of them."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn


class Tail(nn.Module):
    """The last blocks of a plain transformer and its norm, by themselves.

    Args:
        blocks: Of timm.
        first: Place of the first of them in the whole network; their names keep it.
        norm: Of the last block's output.
        rope: Gives rotations for a map; None: positions are in the tokens.
        prefix: Tokens before the patches.
    """

    def __init__(
        self, blocks: Sequence[nn.Module], *, first: int, norm: nn.Module, rope: nn.Module | None, prefix: int
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleDict({str(first + i): block for i, block in enumerate(blocks)})
        self.norm = norm
        self.rope: Any = rope
        self.prefix = prefix

    def add_prefix(self, count: int) -> None:
        """Let so many tokens stand before those that are there; they are not rotated."""
        for block in self.blocks.values():
            attention: Any = block.attn
            if hasattr(attention, "num_prefix_tokens"):
                attention.num_prefix_tokens += count

    def rotations(self, size: tuple[int, int]) -> dict[str, Tensor]:
        """Return keywords of every block for a map of this height and width."""
        return {} if self.rope is None else {"rope": self.rope.get_embed(shape=list(size))}
