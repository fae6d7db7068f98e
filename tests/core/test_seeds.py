import hashlib
import subprocess
import sys

import numpy as np
import torch

from maskline.core import seeds
from maskline.runtime.torch_seeds import seed_torch, torch_generator


def test_a_seed_is_the_hash_of_its_coordinates():
    digest = hashlib.blake2b(b"7\x1fcrop\x1f12", digest_size=4).digest()
    assert seeds.derive(7, "crop", 12) == int.from_bytes(digest, "little")


def test_coordinates_do_not_run_into_each_other():
    drawn = {seeds.derive(0, *c) for c in [("a", 1, 2), ("a", 12), ("a1", 2), ("a", "1", "2", ""), ("a",), ()]}
    assert len(drawn) == 6


def test_seeds_fill_32_bits_evenly():
    drawn = np.array([seeds.derive(0, "sample", i) for i in range(4096)])
    assert len(np.unique(drawn)) > 4090
    counts = np.bincount(drawn >> 29, minlength=8)
    assert counts.min() > 400  # 512 expected; the standard deviation is 21
    assert drawn.max() < 2**32


def test_generators_repeat_and_differ_by_coordinate():
    assert seeds.numpy_generator(3, "x").random() == seeds.numpy_generator(3, "x").random()
    assert seeds.numpy_generator(3, "x").random() != seeds.numpy_generator(3, "y").random()
    first = torch.rand(2, generator=torch_generator(3, "x"))
    assert torch.equal(first, torch.rand(2, generator=torch_generator(3, "x")))


def test_seed_torch_sets_the_global_generator():
    seed_torch(3, "weights")
    expected = torch.rand(3, generator=torch_generator(3, "weights"))
    assert torch.equal(torch.rand(3), expected)


def test_seed_torch_seeds_an_accelerator_too(monkeypatch):
    seen = []
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch, "manual_seed", seen.append)
    seed_torch(3, "weights")
    assert seen == [seeds.derive(3, "weights")]


def test_drawing_numbers_does_not_load_torch():
    code = "import sys; from maskline.core import seeds as s; s.numpy_generator(0); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
