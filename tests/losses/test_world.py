"""Losses over two processes are those of one process that has the whole batch, however ignored pixels are shared."""

import torch

from maskline.runtime.processes import distributed
from tests.losses.test_losses import IGNORE, LOSSES
from tests.processes import together


def batch():
    """Four images; the first process's half is mostly ignored, and lacks class 2."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 3, 12, 14, generator=generator) * 2
    target = torch.randint(0, 3, (4, 3, 3, 1, 1), generator=generator).expand(4, 3, 3, 4, 5)
    target = target.permute(0, 1, 3, 2, 4).reshape(4, 12, 15)[:, :, :14].clone()
    target[0, 3:] = IGNORE
    target[:2][target[:2] == 2] = 1
    target[2, :, 3] = IGNORE
    return logits, target


def loss_and_gradient(loss, logits, target):
    logits = logits.clone().requires_grad_()
    value = loss(logits, target, IGNORE)
    value.backward()
    return {"value": value.detach(), "gradient": logits.grad}


def halves(folder):
    logits, target = batch()
    own = slice(2 * distributed.rank(), 2 * distributed.rank() + 2)
    with distributed.joint():
        found = {name: loss_and_gradient(loss, logits[own], target[own]) for name, loss in LOSSES.items()}
        nothing = torch.full_like(target[own], IGNORE)
        found["nothing"] = {name: loss(logits[own], nothing, IGNORE) for name, loss in LOSSES.items()}
    found["alone"] = {name: loss(logits[own], target[own], IGNORE) for name, loss in LOSSES.items()}
    torch.save(found, folder / f"rank{distributed.rank()}.pt")


def test_every_loss_is_that_of_the_whole_batch(tmp_path):
    together(halves, tmp_path)
    logits, target = batch()
    ranks = [torch.load(tmp_path / f"rank{rank}.pt") for rank in (0, 1)]
    for name, loss in LOSSES.items():
        whole = loss_and_gradient(loss, logits, target)
        for rank in ranks:
            torch.testing.assert_close(rank[name]["value"], whole["value"], rtol=1e-5, atol=1e-6)
        gradient = torch.cat([rank[name]["gradient"] for rank in ranks])
        torch.testing.assert_close(gradient, whole["gradient"], rtol=1e-4, atol=1e-7)
        for i, rank in enumerate(ranks):  # outside the block a process is by itself
            own = slice(2 * i, 2 * i + 2)
            torch.testing.assert_close(rank["alone"][name], loss(logits[own], target[own], IGNORE), rtol=0, atol=0)
            assert rank["nothing"][name] == 0
