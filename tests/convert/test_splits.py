from itertools import permutations, product

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from maskline.convert.records import Record
from maskline.convert.splitting.splits import assign, spare
from maskline.core.errors import DataError


def record(id_, group=None, split=None):
    return Record(id=id_, group=group or id_, split=split, image=None, mask=None)


def made(records, val=0.2, test=0.25, seed=0, **options):
    options = {"fold": 0, "num_folds": 0, **options}
    return assign(records, val_fraction=val, test_fraction=test, seed=seed, **options)


def of(splits, name):
    return {id_ for id_, split in splits.items() if split == name}


SIZES = st.lists(st.integers(1, 4), min_size=3, max_size=30)
SEEDS = st.integers(0, 2**32 - 1)


def of_sizes(sizes):
    return [record(f"{g}/{i}", str(g)) for g, size in enumerate(sizes) for i in range(size)]


@given(sizes=SIZES, val=st.floats(0.01, 0.4), test=st.floats(0.01, 0.4), seed=SEEDS)
@example(sizes=[1, 4, 1, 1], val=0.25, test=0.375, seed=0)  # near the fraction are the three small ones
def test_groups_stay_whole_and_each_split_has_some(sizes, val, test, seed):
    records = of_sizes(sizes)
    splits = made(records, val, test, seed)
    assert set(splits) == {r.id for r in records}
    for group in map(str, range(len(sizes))):
        assert len({splits[r.id] for r in records if r.group == group}) == 1
    count = {name: len(of(splits, name)) for name in ("train", "val", "test")}
    assert all(count.values())
    assert abs(count["test"] - test * len(records)) <= max(sizes)
    assert abs(count["val"] - val * (len(records) - count["test"])) <= max(sizes)


@given(sizes=SIZES, val=st.floats(0.01, 0.99), test=st.floats(0.01, 0.99), seed=SEEDS, data=st.data())
def test_three_groups_are_enough_for_three_splits_whatever_the_fractions(sizes, val, test, seed, data):
    records = of_sizes(sizes)
    present = {r.id: data.draw(st.sets(st.integers(0, 3))) for r in records} if data.draw(st.booleans()) else None
    splits = made(records, val, test, seed, present=present)
    assert set(splits.values()) == {"train", "val", "test"}


@given(sizes=SIZES, test=st.floats(0.01, 0.99), seed=SEEDS, own_val=st.booleans())
@example(sizes=[1, 4, 1, 1], test=0.375, seed=0, own_val=True)
def test_the_test_split_leaves_a_group_to_each_fold(sizes, test, seed, own_val):
    records = of_sizes(sizes) + [record("v", split="val")] * own_val
    num_folds = len(sizes) - 1 + own_val
    for fold in range(num_folds):
        splits = made(records, test=test, seed=seed, fold=fold, num_folds=num_folds)
        assert set(splits.values()) == {"train", "val", "test"}


def test_of_two_groups_the_one_nearer_to_the_fraction_is_taken():
    for seed in range(10):
        splits = made(of_sizes([100, 1]), val=0, test=0.9, seed=seed)
        assert len(of(splits, "test")) == 100


def test_groups_of_one_size_are_rounded_to_the_fraction():
    records = [record(f"{g}/{i}", str(g)) for g in range(12) for i in range(2)]
    assert len(of(made(records, val=0.15, test=0), "val")) == 4  # 1.8 groups


def test_a_fraction_is_one_of_images_where_groups_are_of_many_sizes():
    sizes = [40, 1, 1, 25, 8, 6, 1, 3, 10, 5]  # 100 images; of groups alone, 0.2 could be two of one image
    records = [record(f"{g}/{i}", str(g)) for g, size in enumerate(sizes) for i in range(size)]
    for seed in range(20):
        splits = made(records, val=0.2, test=0.2, seed=seed)
        assert 14 <= len(of(splits, "test")) <= 26
        assert 10 <= len(of(splits, "val")) <= 26


def present_of(splits, name, present):
    return sum(1 for id_ in of(splits, name) if present in CLASSES[id_])


# Class 2 is in 8 images of 60, class 3 in 4: by chance a split often has none of them.
CLASSES = {
    str(i): {0} | ({1} if i % 2 else set()) | ({2} if i < 8 else set()) | ({3} if i > 55 else set()) for i in range(60)
}


def test_stratified_splits_have_their_share_of_every_class():
    records = [record(id_) for id_ in CLASSES]
    for seed in range(10):
        splits = made(records, val=0.25, test=0.25, seed=seed, present=CLASSES)
        assert present_of(splits, "test", 2) == 2
        assert present_of(splits, "test", 3) == 1
        assert 1 <= present_of(splits, "val", 2) <= 2
        assert present_of(splits, "val", 3) == 1
        assert 13 <= len(of(splits, "test")) <= 17
        assert splits == made(records[::-1], val=0.25, test=0.25, seed=seed, present=CLASSES)
    assert made(records, present=CLASSES) != made(records, seed=1, present=CLASSES)


def test_stratified_folds_share_the_rare_classes():
    records = [record(id_) for id_ in CLASSES]
    folds = [made(records, test=0, fold=fold, num_folds=4, present=CLASSES) for fold in range(4)]
    assert [present_of(splits, "val", 2) for splits in folds] == [2, 2, 2, 2]
    assert [present_of(splits, "val", 3) for splits in folds] == [1, 1, 1, 1]
    assert sorted(id_ for splits in folds for id_ in of(splits, "val")) == sorted(CLASSES)


def test_stratified_groups_stay_whole():
    records = [record(id_, str(int(id_) // 3)) for id_ in CLASSES]
    splits = made(records, present=CLASSES)
    for i in range(0, 60, 3):
        assert splits[str(i)] == splits[str(i + 1)] == splits[str(i + 2)]
    assert all(of(splits, name) for name in ("train", "val", "test"))


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


def test_equal_images_move_together():
    records = [record(str(i)) for i in range(12)]
    pairs = [("1", "5"), ("5", "9"), ("2", "3")]
    for seed in range(30):
        splits = made(records, seed=seed, same_image=pairs)
        assert splits["1"] == splits["5"] == splits["9"]
        assert splits["2"] == splits["3"]


CHAIN = [("1/0", "5/0"), ("5/1", "9/0"), ("9/1", "2/0")]  # no image of group 1 is one of groups 9 and 2


@pytest.mark.parametrize("turned", [*product((1, -1), repeat=3)])
def test_groups_that_share_images_by_way_of_others_move_together(turned):
    records = [record(f"{group}/{i}", str(group)) for group in range(12) for i in range(2)]
    for pairs in permutations(pair[::step] for pair, step in zip(CHAIN, turned, strict=True)):
        for seed in range(10):
            for options in ({}, {"num_folds": 4}):
                splits = made(records, seed=seed, same_image=pairs, **options)
                assert len({splits[id_] for pair in CHAIN for id_ in pair}) == 1


def test_too_few_groups():
    with pytest.raises(DataError, match=r"1 groups to train on, of which 1 would become the test split.*test_fraction"):
        made([record("a", "g"), record("b", "g")])
    with pytest.raises(DataError, match=r"the val split.*val_fraction to 0"):
        made([record("a"), record("t", split="test")])


def test_ways_out_of_too_few_groups_lead_on():
    alike = [("a", "b"), ("b", "c")]
    with pytest.raises(DataError, match=r"set data\.near_duplicates to off"):
        made([record("a"), record("b"), record("c")], test=0, same_image=alike)
    scene = [record("a", "lab"), record("b", "lab"), record("c", "lab")]
    with pytest.raises(DataError, match=r"of a group \(lab\) stay together .*; set data.val_fraction to 0"):
        made(scene, test=0, same_image=alike)  # joined anyway, so that near_duplicates would change nothing
    assert set(made(scene, test=0, val=0, same_image=alike).values()) == {"train"}


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


@given(count=st.integers(1, 30), seed=SEEDS, data=st.data())
def test_fewer_train_images_are_some_of_more(count, seed, data):
    splits = {str(i): "train" for i in range(count)} | {"a": "test", "b": "val"}
    many = data.draw(st.integers(1, count))
    few = data.draw(st.integers(1, many))
    out, more = (spare(splits, keep=keep, seed=seed) for keep in (many, few))
    assert out <= more <= of(splits, "train")
    assert (len(out), len(more)) == (count - many, count - few)


def test_more_train_images_than_there_are():
    with pytest.raises(DataError, match=r"data\.train_images: 3 of 2 train images; give at most 2"):
        spare({"a": "train", "b": "train", "c": "val"}, keep=3, seed=0)
    assert spare({"a": "train", "b": "train", "c": "val"}, keep=2, seed=0) == set()
    with pytest.raises(DataError, match=r"data\.train_images: 1 of 0 train images; set it to null"):
        spare({"c": "test"}, keep=1, seed=0)
