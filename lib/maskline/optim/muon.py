"""Muon, of timm (Apache-2.0): momentum whose update is orthogonalized, one matrix a weight."""

from typing import Any

from torch.optim import Optimizer

from maskline.runtime.libraries import declare_missing_operators


def muon(parameters: Any, **settings: Any) -> Optimizer:
    """Return timm's Muon (Jordan et al. 2024), its updates as large as AdamW's (Liu et al. 2025, arXiv 2502.16982).

    A convolution's weight is the matrix of its output channels by all the rest. Biases, norm layers and weights that
    are no such matrix (depth-wise, of fewer than four channels, or more than 128 times as long as wide) take AdamW's
    step, NAdamW's with ``nesterov``; so lr, decay and schedule of an AdamW run are a good start. Matrices are
    orthogonalized in bfloat16, which a processor without such instructions does slowly.

    Args:
        parameters: Tensors or groups.
        settings: lr, weight_decay (decoupled), momentum, nesterov, betas and eps (AdamW's), capturable.
    """
    declare_missing_operators()
    from timm.optim.muon import Muon

    made: Optimizer = Muon(parameters, **settings)
    return made
