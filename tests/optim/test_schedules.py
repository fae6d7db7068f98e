"""Learning rates: mmengine's numbers."""

import json

import pytest

from maskline.optim.schedules import Schedule


def schedule(**changes):
    return Schedule(
        **{
            "name": "poly",
            "iterations": 40000,
            "power": 0.9,
            "end_factor": 0.01,
            "milestones": (),
            "gamma": 0.1,
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
        assert found == pytest.approx(case["lr"], rel=1e-9, abs=1e-12)


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
