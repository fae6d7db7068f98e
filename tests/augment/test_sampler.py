"""Which image stands where: a new order each epoch, the same for whoever asks."""

import pytest

from maskline.augment.sampler import batch_indices


def orders(epochs, *, seed=0, length=20, batch_size=5):
    """Return the order of the images in each of some epochs that end with a batch."""
    batches = length // batch_size
    return [
        sum((batch_indices(seed, i, batch_size=batch_size, length=length) for i in range(first, first + batches)), ())
        for first in range(0, epochs * batches, batches)
    ]


def test_each_epoch_shows_every_image_once_in_an_order_of_its_own():
    found = orders(8)
    assert all(sorted(order) == list(range(20)) for order in found)
    assert len(set(found)) == 8


def test_another_seed_gives_another_order():
    assert len({tuple(orders(2, seed=seed)) for seed in range(4)}) == 4


@pytest.mark.parametrize("batch_size", [3, 7, 50])
def test_an_epoch_may_end_within_a_batch(batch_size):
    asked = range(60 // batch_size + 1)
    flat = [i for at in asked for i in batch_indices(0, at, batch_size=batch_size, length=20)]
    assert flat[:60] == [i for order in orders(3) for i in order]


def test_a_batch_is_the_same_whatever_was_asked_before():
    asked = [7, 0, 30, 2, 7]
    found = {at: batch_indices(0, at, batch_size=5, length=20) for at in asked}
    assert found == {at: batch_indices(0, at, batch_size=5, length=20) for at in sorted(asked)}
