"""Two processes with synchronized batch norm compute what one process computes on both halves."""

import os
import subprocess
import sys

import torch
from torch import nn

from maskline.models.sync_norm import SyncBatchNorm, share_statistics, synchronize

CODE = """
import sys
import torch
from torch import distributed
from maskline.models.sync_norm import SyncBatchNorm

rank, store, out = int(sys.argv[1]), sys.argv[2], sys.argv[3]
distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
try:
    torch.nn.SyncBatchNorm(3).train()(torch.zeros(2, 3, 4, 4))
except ValueError as error:
    assert "GPU" in str(error)
else:
    raise AssertionError("torch's own works on a CPU: use it")
layer = SyncBatchNorm(3)
images = torch.load(f"{out}/images.pt")[2 * rank : 2 * rank + 1 + rank].requires_grad_()
result = layer.train()(images)
weights = torch.arange(1.0, 4.0).view(1, 3, 1, 1)
(result.square() * weights).sum().add(result.sum()).backward()
torch.save({"result": result.detach(), "grad": images.grad, "state": layer.state_dict()}, f"{out}/rank{rank}.pt")
distributed.destroy_process_group()
"""


def test_two_processes_are_one(tmp_path):
    torch.manual_seed(0)
    images = torch.randn(4, 3, 5, 6) * 2 + 1
    torch.save(images, tmp_path / "images.pt")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", CODE]
    running = [
        subprocess.Popen([*command, str(rank), str(tmp_path / "store"), str(tmp_path)], env=environment)
        for rank in (0, 1)
    ]
    assert [process.wait(timeout=120) for process in running] == [0, 0]
    ranks = [torch.load(tmp_path / f"rank{rank}.pt") for rank in (0, 1)]

    # One image in the first process and two in the second: shares of different size must weigh by their pixels.
    whole = torch.cat([images[0:1], images[2:4]]).requires_grad_()
    layer = nn.BatchNorm2d(3)
    expected = layer.train()(whole)
    weights = torch.arange(1.0, 4.0).view(1, 3, 1, 1)
    (expected.square() * weights).sum().add(expected.sum()).backward()
    torch.testing.assert_close(torch.cat([rank["result"] for rank in ranks]), expected.detach(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(torch.cat([rank["grad"] for rank in ranks]), whole.grad, atol=1e-4, rtol=1e-4)
    for rank in ranks:
        torch.testing.assert_close(rank["state"], layer.state_dict(), atol=1e-5, rtol=1e-5)


def test_one_process_is_batch_norm():
    torch.manual_seed(0)
    ours, torchs = SyncBatchNorm(3), nn.BatchNorm2d(3)
    for training in (True, False):
        images = torch.randn(2, 3, 4, 4)
        assert torch.equal(ours.train(training)(images), torchs.train(training)(images))
    torch.testing.assert_close(ours.state_dict(), torchs.state_dict(), atol=0, rtol=0)


class Fused(nn.BatchNorm2d):
    """More than a batch norm."""


def test_plain_batch_norms_are_exchanged_and_keep_their_tensors():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, eps=1e-3, momentum=0.3), nn.Sequential(Fused(4)))
    model[1].eval().weight.requires_grad_(False)
    before = dict(model.state_dict(keep_vars=True))
    assert synchronize(model) == 1
    assert type(model[1]) is SyncBatchNorm
    assert (model[1].eps, model[1].momentum, model[1].training) == (1e-3, 0.3, False)
    assert all(tensor is before[name] for name, tensor in model.state_dict(keep_vars=True).items())
    assert synchronize(model) == 1


def test_statistics_of_one_process_stay():
    model = nn.Sequential(nn.BatchNorm2d(2))
    model(torch.randn(2, 2, 3, 3))
    before = model[0].running_var.clone()
    share_statistics(model)
    assert torch.equal(model[0].running_var, before)
