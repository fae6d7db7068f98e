"""The simulation of several GPUs: its arithmetic, and two processes beside it."""

import math

import pytest

from tools.scaling_study import Cluster, Network, Plan, computed, network, simulate

TWO = Cluster("two", 2, bytes_s=1e9, used=1.0, latency_s=0.0)
# 40 MB in one bucket, since the last tensor fills it: 40 ms over that link.
SMALL = Network("small", 0.1, 4, [5_000_000, 1_250_000, 1_250_000, 1_250_000, 1_250_000])


def test_a_ring_sends_all_but_one_share_twice_and_a_tree_has_fewer_hops() -> None:
    assert Cluster("one", 1, math.inf).seconds(1e9) == 0.0
    assert Cluster("eight", 8, 1e9, used=0.5, latency_s=0.0).seconds(1e9) == pytest.approx(2 * 7 / 8 * 2)
    assert Cluster("many", 64, 1e9, latency_s=1e-3).seconds(8.0) == pytest.approx(12e-3, rel=1e-3)


def test_what_is_sent_while_backward_runs_costs_nothing() -> None:
    fast = Cluster("fast", 2, bytes_s=1e12, used=1.0, latency_s=0.0)
    assert computed(SMALL, fast) == pytest.approx(0.1, rel=1e-3)
    slow = Cluster("slow", 2, bytes_s=1e8, used=1.0, latency_s=0.0)
    # Nothing is sent before the first bucket is full, after all five tensors.
    assert computed(SMALL, slow) == pytest.approx(0.095 + SMALL.bytes / 1e8 + 0.005, rel=1e-3)


def test_two_processes_take_what_arithmetic_says_or_longer() -> None:
    plan = Plan(stretch=4, steps=2, spread=0.0)
    assert simulate(SMALL, TWO, plan) > computed(SMALL, TWO) * 0.99
    waiting = simulate(SMALL, TWO, Plan(stretch=4, steps=2, spread=0.0, images_s=10))
    assert waiting > 0.39  # four images, ten a second


def test_the_gradients_of_the_networks_are_those_of_their_parameters() -> None:
    unet = network("unet-s5-d16", "UNet", 0.01, 16)
    assert unet.bytes == 4 * sum(unet.parameters)
    assert 28e6 < sum(unet.parameters) < 30e6
