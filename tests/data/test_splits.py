import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskline.data.records import Record
from maskline.data.splits import assign
from maskline.errors import DataError


def record(id_, group=None, split=None):
    return Record(id=id_, group=group or id_, split=split, image=None, mask=None)


def made(records, val=0.2, test=0.25, seed=0, **options):
    options = {"fold": 0, "num_folds": 0, **options}
    return assign(records, val_fraction=val, test_fraction=test, seed=seed, **options)


def of(splits, name):
    return {id_ for id_, split in splits.items() if split == name}


@given(
    sizes=st.lists(st.integers(1, 4), min_size=4, max_size=30),
    val=st.floats(0.01, 0.4),
    test=st.floats(0.01, 0.4),
    seed=st.integers(0, 2**32 - 1),
)
def test_groups_stay_whole_and_each_split_has_some(sizes, val, test, seed):
    records = [record(f"{g}/{i}", str(g)) for g, size in enumerate(sizes) for i in range(size)]
    splits = made(records, val, test, seed)
    assert set(splits) == {r.id for r in records}
    for group in map(str, range(len(sizes))):
        assert len({splits[r.id] for r in records if r.group == group}) == 1
    groups = {name: {r.group for r in records if splits[r.id] == name} for name in ("train", "val", "test")}
    assert len(groups["test"]) == max(1, round(test * len(sizes)))
    assert len(groups["val"]) == max(1, round(val * (len(sizes) - len(groups["test"]))))
    assert groups["train"]


def test_the_sets_own_splits_stay():
    records = [record(f"a{i}", split="train") for i in range(10)] + [
        record("t", split="test"),
        record("v", split="val"),
    ]
    assert made(records) == {r.id: r.split for r in records}
    no_val = made(records[:-1])
    assert of(no_val, "test") == {"t"}
    assert len(of(no_val, "val")) == 2


def test_fraction_zero_moves_nothing():
    assert set(made([record(str(i)) for i in range(9)], val=0, test=0).values()) == {"train"}


def test_seeds_differ_and_order_does_not_matter():
    records = [record(str(i)) for i in range(20)]
    assert made(records) == made(records[::-1])
    assert of(made(records), "test") != of(made(records, seed=1), "test")


def test_a_new_image_moves_at_most_one_group_in_and_one_out():
    records = [record(str(i)) for i in range(40)]
    before, after = of(made(records, val=0), "test"), of(made([*records, record("new")], val=0), "test")
    assert len(before ^ after) <= 2


def test_equal_pictures_move_together():
    records = [record(str(i)) for i in range(12)]
    pairs = [("1", "5"), ("5", "9"), ("2", "3")]
    for seed in range(30):
        splits = made(records, seed=seed, same_picture=pairs)
        assert splits["1"] == splits["5"] == splits["9"]
        assert splits["2"] == splits["3"]


def test_too_few_groups():
    with pytest.raises(DataError, match=r"1 groups to train on, of which 1 would become the test split.*test_fraction"):
        made([record("a", "g"), record("b", "g")])
    with pytest.raises(DataError, match=r"the val split.*val_fraction to 0"):
        made([record("a"), record("t", split="test")])


def test_folds_cover_every_group_once_and_leave_test_alone():
    records = [record(f"{g}/{i}", str(g)) for g in range(10) for i in range(2)] + [record("t", split="test")]
    records.append(record("v", split="val"))
    held = []
    for fold in range(4):
        splits = made(records, fold=fold, num_folds=4)
        assert of(splits, "test") == {"t"}
        groups = {r.group for r in records if splits[r.id] == "val"}
        assert 2 <= len(groups) <= 3
        assert not groups & {r.group for r in records if splits[r.id] == "train"}
        held += groups
    assert sorted(held) == sorted([*map(str, range(10)), "v"])


def test_more_folds_than_groups():
    with pytest.raises(DataError, match="9 folds of 3 groups"):
        made([record(str(i)) for i in range(3)], test=0, num_folds=9)
