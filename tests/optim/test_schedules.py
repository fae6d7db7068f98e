"""Learning rates: mmengine's numbers."""

import json

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, CosineAnnealingWarmRestarts, ExponentialLR, OneCycleLR, StepLR

from maskline.optim.schedules import Schedule


def schedule(**changes):
    return Schedule(
        **{
            "name": "poly",
            "iterations": 40000,
            "power": 0.9,
            "end_factor": 0.01,
            "end_lr": None,
            "milestones": (),
            "step_every": 0,
            "gamma": 0.1,
            "cycle_start": 0.04,
            "cycle_peak": 0.3,
            "cycles": 1,
            "warmup": "linear",
            "warmup_iterations": 0,
            "warmup_factor": 0.0,
            **changes,
        }
    )


@pytest.mark.parametrize(
    ("iterations", "iteration", "lr"),
    [  # printed by mmengine 0.10.7 for lr 0.01, eta_min 1e-4, power 0.9
        (40000, 0, 0.01),
        (40000, 1, 0.00999977724),
        (40000, 100, 0.00997772166),
        (40000, 20000, 0.00540515927),
        (40000, 39998, 0.000100714153),
        (40000, 39999, 0.0001),
        (20000, 10000, 0.00540503989),
        (80000, 40000, 0.00540521895),
        (160000, 80000, 0.0054052488),
    ],
)
def test_poly(iterations, iteration, lr):
    assert 0.01 * schedule(iterations=iterations).factor(iteration) == pytest.approx(lr, rel=1e-8)


@pytest.mark.parametrize(
    ("iteration", "lr"),
    [  # SegFormer's: AdamW 6e-5, linear warm-up of 1500 from 1e-6, poly of power 1 to 0
        (0, 6e-11),
        (1, 4.00866444e-08),
        (750, 3.00200433e-05),
        (1499, 6e-05),
        (1500, 6e-05),
        (1501, 5.99996214e-05),
        (80000, 3.02837242e-05),
        (159999, 0.0),
    ],
)
def test_warmup_then_poly(iteration, lr):
    segformer = schedule(iterations=160000, power=1.0, end_factor=0.0, warmup_iterations=1500, warmup_factor=1e-6)
    assert 6e-5 * segformer.factor(iteration) == pytest.approx(lr, rel=1e-8, abs=1e-18)


NAMES = {"PolyLR": "poly", "CosineAnnealingLR": "cosine", "MultiStepLR": "step"}


def test_numbers_that_mmsegmentation_computed(shared_conformance):
    cases = json.loads((shared_conformance / "numbers" / "schedules.json").read_text())
    assert cases
    for case in cases:
        *warmup, main = case["schedulers"]
        made = schedule(
            name=NAMES[main["type"]],
            iterations=case["iterations"],
            power=main.get("power", 1.0),
            end_factor=main.get("eta_min", 0.0) / case["base_lr"],
            milestones=tuple(main.get("milestones", ())),
            gamma=main.get("gamma", 1.0),
            warmup_iterations=warmup[0]["end"] if warmup else 0,
            warmup_factor=warmup[0]["start_factor"] if warmup else 0.0,
        )
        found = [case["base_lr"] * made.factor(i) for i in range(case["iterations"])]
        assert found == pytest.approx(case["lr"], rel=0, abs=1e-12)


def test_cosine_ends_at_its_factor():
    cosine = schedule(name="cosine", iterations=100, end_factor=0.2)
    assert cosine.factor(0) == pytest.approx(1.0)
    assert cosine.factor(50) == pytest.approx(0.6)
    assert cosine.factor(100) == pytest.approx(0.2)


def test_step_falls_at_its_milestones():
    step = schedule(name="step", iterations=100, milestones=(30, 60), gamma=0.5)
    assert [step.factor(i) for i in (0, 29, 30, 59, 60, 99)] == [1, 1, 0.5, 0.5, 0.25, 0.25]


def test_constant():
    assert schedule(name="constant").factor(12345) == 1.0


def test_a_run_of_one_iteration():
    assert schedule(iterations=1).factor(0) == 1.0


def torchs(scheduler, iterations, lr=0.5):
    """Learning rates of one of torch's schedulers."""
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=lr)
    made = scheduler(optimizer)
    found = []
    for _ in range(iterations):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        made.step()
    return found


def ours(iterations, lr=0.5, **changes):
    made = schedule(iterations=iterations, **changes)
    return [made.rate(i, lr) for i in range(iterations)]


def test_exponential_is_torchs():
    expected = torchs(lambda o: ExponentialLR(o, 0.97), 60)
    assert ours(60, name="exponential", gamma=0.97) == pytest.approx(expected, abs=1e-12)


def test_step_every_is_torchs():
    expected = torchs(lambda o: StepLR(o, 7, 0.3), 60)
    assert ours(60, name="step", step_every=7, gamma=0.3) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("peak", [0.1, 0.3, 0.77])
def test_one_cycle_is_torchs(peak):
    expected = torchs(
        lambda o: OneCycleLR(o, 0.5, 60, pct_start=peak, div_factor=25, final_div_factor=100, cycle_momentum=False), 60
    )
    found = ours(60, name="one_cycle", cycle_start=1 / 25, cycle_peak=peak, end_factor=1 / 2500)
    assert found == pytest.approx(expected, abs=1e-12)


def test_cosine_is_torchs():
    expected = torchs(lambda o: CosineAnnealingLR(o, 60, eta_min=0.01), 60)
    assert ours(60, name="cosine", end_lr=0.01) == pytest.approx(expected, abs=1e-12)
    assert ours(60, name="cosine", end_factor=0.02) == pytest.approx(expected, abs=1e-12)


def test_cycles_of_cosine_are_torchs_restarts():
    expected = torchs(lambda o: CosineAnnealingWarmRestarts(o, 20, eta_min=0.01), 60)
    assert ours(60, name="cosine", end_lr=0.01, cycles=3) == pytest.approx(expected, abs=1e-12)
    stays = schedule(name="cosine", iterations=60, end_factor=0.02, cycles=3)
    assert stays.factor(60) == stays.factor(90) == pytest.approx(0.02)


def test_an_end_that_all_groups_share():
    poly = schedule(iterations=100, end_lr=1e-4)
    for full in (0.01, 0.1):
        assert poly.rate(0, full) == pytest.approx(full)
        assert poly.rate(99, full) == pytest.approx(1e-4, abs=1e-15)
        # mmengine's PolyLR with eta_min, written out.
        assert poly.rate(40, full) == pytest.approx((full - 1e-4) * (1 - 40 / 99) ** 0.9 + 1e-4, abs=1e-12)


def test_an_end_before_the_runs_end():
    early = schedule(iterations=50, end_factor=0.1)
    assert early.factor(49) == pytest.approx(0.1)
    assert [early.factor(i) for i in (50, 77, 1000)] == [early.factor(49)] * 3
    assert schedule(name="one_cycle", iterations=50, end_factor=0.01).factor(80) == pytest.approx(0.01)
    assert schedule(name="exponential", iterations=3, gamma=0.5).factor(9) == 0.25


@pytest.mark.parametrize(
    ("warmup", "expected"),
    [
        ("linear", [0.01, 0.2575, 0.505, 0.7525, 1.0]),
        ("exponential", [0.01, 0.01**0.75, 0.1, 0.01**0.25, 1.0]),
        ("constant", [0.01, 0.01, 0.01, 0.01, 1.0]),  # mmengine's ConstantLR gives the full rate on its last iteration
    ],
)
def test_warmups(warmup, expected):
    made = schedule(name="constant", warmup=warmup, warmup_iterations=5, warmup_factor=0.01)
    assert [made.factor(i) for i in range(5)] == pytest.approx(expected, abs=1e-12)
    assert made.factor(5) == 1.0


def test_a_shape_begins_where_the_warmup_ends():
    for name in ("poly", "cosine", "exponential"):
        made = schedule(name=name, iterations=100, warmup_iterations=10)
        alone = schedule(name=name, iterations=90)
        assert [made.factor(i + 10) for i in range(90)] == [alone.factor(i) for i in range(90)]
