"""The rules of a plan: pure functions, which choose on three sets what the measured recipes chose by trials."""

import dataclasses

import pytest

from maskline.analysis.plan import rules, writing
from maskline.analysis.plan.fingerprint import Fingerprint
from maskline.params.base.reading import read_yaml
from maskline.params.whole import load_params, validate_params

# As read off the archives that the recipes were measured on.
VESSELS = Fingerprint(
    train=20,
    val=0,
    test=8,
    classes=2,
    channels=3,
    height=960,
    width=999,
    shares=(0.928, 0.072),
    widths=(76.5, 5.9),
    up=0.007,
    gray=False,
    brightness=(180, 255),
)
SCENES = Fingerprint(
    train=24,
    val=8,
    test=0,
    classes=11,
    channels=3,
    height=360,
    width=480,
    shares=(0.185, 0.237, 0.01, 0.301, 0.043, 0.113, 0.014, 0.014, 0.077, 0.003, 0.003),
    widths=(23.5, 43.3, 2.8, 107.4, 17.8, 19.4, 11.0, 26.4, 35.5, 4.4, 14.2),
    up=0.963,
    gray=False,
    brightness=(180, 255),
)
NUCLEI = Fingerprint(
    train=36,
    val=11,
    test=13,
    classes=2,
    channels=3,
    height=256,
    width=256,
    shares=(0.885, 0.115),
    widths=(90.0, 11.7),
    up=0.001,
    gray=True,
    brightness=(255, 255),
)


def planned(seen, minutes=20.0, *, packaged=True):
    return validate_params(writing.nested(rules.choices(seen, minutes=minutes, packaged=packaged)), place="plan")


@pytest.mark.parametrize(
    ("recipe", "seen", "minutes"),
    [
        ("thin-structures-20min", VESSELS, 20.0),
        ("thin-structures-5min", VESSELS, 5.0),
        ("natural-scenes-10min", SCENES, 10.0),
        ("nuclei-10min", NUCLEI, 10.0),
        ("nuclei-10min-scratch", NUCLEI, 10.0),
    ],
)
def test_it_chooses_what_trials_chose(root, recipe, seen, minutes):
    ours = planned(seen, minutes, packaged="scratch" not in recipe)
    theirs = load_params(root / "recipes" / f"{recipe}.yaml")
    assert ours.augment == theirs.augment
    assert ours.model.type == theirs.model.type
    assert (ours.model.mean, ours.model.std) == (theirs.model.mean, theirs.model.std)
    if ours.model.type == "smp":
        assert ours.model.smp == theirs.model.smp
    else:
        assert ours.model == theirs.model
    assert ours.optimizer == theirs.optimizer
    assert ours.schedule.name == theirs.schedule.name
    assert (ours.train.batch_size, ours.train.ema_decay) == (theirs.train.batch_size, theirs.train.ema_decay)
    assert ours.evaluate.tta == theirs.evaluate.tta
    assert ours.evaluate.precision == theirs.evaluate.precision


def test_finer_structures_are_seen_at_their_own_size():
    assert planned(VESSELS).model.backbone.strides == (2, 1, 1)
    fine = planned(dataclasses.replace(VESSELS, widths=(70.0, 2.4)))
    assert (fine.model.backbone.strides, fine.model.backbone.base_channels, fine.model.refiners) == (None, 16, ())


def test_large_objects_are_seen_smaller_and_scored_at_that_scale():
    large = dataclasses.replace(NUCLEI, height=1200, width=1600, widths=(400.0, 200.0))
    ours = planned(large)
    assert rules.input_scale(large) == 0.37
    assert ours.augment.ratio_range == (0.185, 0.74)
    assert ours.augment.crop_size == (288, 384)
    assert ours.evaluate.tta.scales == (0.37,)
    assert rules.input_scale(dataclasses.replace(large, widths=(400.0, 18.0))) == 0.44
    assert planned(dataclasses.replace(large, widths=(400.0, 8.0), classes=9, up=0.5)).evaluate.inference == "slide"


def test_other_channels_are_normalized_by_the_set_itself():
    ours = planned(dataclasses.replace(VESSELS, channels=5)).model
    assert (ours.in_channels, ours.mean, ours.std) == (5, "auto", "auto")


COSTS = rules.Costs(iteration=0.1, scored_image=3.0, start=30.0, entry=0.5)


def test_the_run_ends_within_the_time():
    number = rules.iterations(COSTS, VESSELS, minutes=20)
    journal = number * COSTS.iteration / 30 * COSTS.entry
    total = COSTS.start + 8 * COSTS.scored_image + number * COSTS.iteration + journal
    assert 0.95 * 1200 < total < 1200
    more = rules.iterations(COSTS, dataclasses.replace(VESSELS, val=100), minutes=20)
    assert number - more == pytest.approx(100 * COSTS.scored_image / COSTS.iteration, rel=0.05)
    assert rules.iterations(COSTS, dataclasses.replace(VESSELS, test=10_000), minutes=1) == 1


def test_warm_up_and_journal_fit_a_short_run():
    keys = rules.length(dataclasses.replace(COSTS, iteration=5.0), VESSELS, minutes=5).keys
    assert keys["train.iterations"] == keys["train.val_every"] == 46
    assert (keys["schedule.warmup_length"], keys["machine.journal_every"]) == (4, 6)


def test_a_plan_is_a_recipe_with_a_reason_above_each_choice(tmp_path):
    chosen = [*rules.choices(VESSELS, minutes=20, packaged=False), rules.length(COSTS, VESSELS, minutes=20)]
    text = writing.text("A plan", ["of a set"], chosen)
    assert text.splitlines()[1:3] == ["# A plan", "# of a set"]
    joined = " ".join(line.strip().lstrip("# ") for line in text.splitlines())
    assert all(choice.reason in joined for choice in chosen)
    path = tmp_path / "plan.yaml"
    path.write_text(text)
    assert validate_params(read_yaml(path), place=path) == validate_params(writing.nested(chosen), place=path)
