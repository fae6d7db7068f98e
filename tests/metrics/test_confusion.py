import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import contingency_table

from maskline.core.errors import DataError, ShapeError
from maskline.metrics.confusion import confusion_matrix
from maskline.metrics.scores import class_scores, overall_scores


def random_maps(seed: int, *, num: int, size: tuple[int, int], num_classes: int, ignored: float):
    generator = np.random.default_rng(seed)
    target = generator.integers(0, num_classes, (num, *size))
    prediction = np.where(
        generator.random(target.shape) < 0.6, target, generator.integers(0, num_classes, target.shape)
    )
    target[generator.random(target.shape) < ignored] = 255
    return torch.from_numpy(prediction), torch.from_numpy(target)


@pytest.mark.parametrize("num_classes", [2, 19])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.int32, torch.int64])
def test_equals_scikit_image_image_by_image(num_classes, dtype):
    prediction, target = random_maps(0, num=3, size=(31, 17), num_classes=num_classes, ignored=0.2)
    ours = confusion_matrix(prediction.to(dtype), target.to(dtype), num_classes=num_classes, ignore_index=255)
    assert ours.dtype == torch.int64
    for i in range(3):
        scored = target[i] != 255
        theirs = contingency_table(target[i][scored].numpy(), prediction[i][scored].numpy(), normalize=False).toarray()
        np.testing.assert_array_equal(ours[i].numpy(), theirs)


@settings(max_examples=30)
@given(seed=st.integers(0, 1000), row=st.integers(0, 20), column=st.integers(0, 15))
def test_parts_add_up_to_the_whole(seed, row, column):
    prediction, target = random_maps(seed, num=1, size=(20, 15), num_classes=4, ignored=0.1)
    whole = confusion_matrix(prediction, target, num_classes=4, ignore_index=255)
    parts = [
        confusion_matrix(prediction[:, rows, columns], target[:, rows, columns], num_classes=4, ignore_index=255)
        for rows in (slice(0, row), slice(row, None))
        for columns in (slice(0, column), slice(column, None))
    ]
    assert torch.equal(sum(parts), whole)


def test_thread_count_changes_nothing():
    prediction, target = random_maps(3, num=1, size=(1500, 1500), num_classes=3, ignored=0.1)
    threads = torch.get_num_threads()
    try:
        results = []
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            results.append(confusion_matrix(prediction, target, num_classes=3, ignore_index=255))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(result, results[0]) for result in results)


def test_36_megapixels_are_counted_exactly():
    # float32 counters stop at 16,777,216: there, aAcc comes out as 1 and the first IoU as 1.
    target = torch.zeros((1, 6000, 6000), dtype=torch.uint8)
    target[:, 4500:] = 1  # 27 M pixels of class 0, 9 M of class 1
    prediction = target.clone()
    prediction[:, :1000] = 1  # 6 M pixels of class 0 taken for 1
    matrix = confusion_matrix(prediction, target, num_classes=2, ignore_index=255)[0]
    assert matrix.tolist() == [[21_000_000, 6_000_000], [0, 9_000_000]]
    assert overall_scores(matrix, beta=1)["aAcc"] == pytest.approx(30 / 36, abs=1e-12)
    np.testing.assert_allclose(class_scores(matrix, beta=1)["IoU"], [7 / 9, 0.6], atol=1e-12)


def test_unknown_label_names_value_and_count():
    target = torch.zeros((1, 8, 8), dtype=torch.uint8)
    target[0, 1:] = 7
    with pytest.raises(DataError, match=r"labels: value 7 in 56 pixels with classes 0\.\.2"):
        confusion_matrix(torch.zeros_like(target), target, num_classes=3, ignore_index=255)


def test_unknown_label_is_counted_over_the_whole_image():
    target = torch.full((1, 1100, 1000), 9, dtype=torch.uint8)  # more than one chunk
    with pytest.raises(DataError, match="value 9 in 1100000 pixels"):
        confusion_matrix(torch.zeros_like(target), target, num_classes=2, ignore_index=255)


@pytest.mark.parametrize("value", [3, -1, 255, 2**32])
def test_unknown_prediction_is_an_error_even_where_ignored(value):
    prediction = torch.zeros((1, 4, 4), dtype=torch.int64)
    prediction[0, 0, 0] = value
    target = torch.full((1, 4, 4), 255)
    with pytest.raises(DataError, match=rf"prediction: value {value} in 1 pixels"):
        confusion_matrix(prediction, target, num_classes=3, ignore_index=255)


def test_16_bit_label_does_not_wrap():
    target = torch.zeros((1, 4, 4), dtype=torch.uint16)
    target[0, 0, 0] = 300
    with pytest.raises(DataError, match="value 300 in 1 pixels"):
        confusion_matrix(torch.zeros((1, 4, 4), dtype=torch.uint8), target, num_classes=60, ignore_index=65535)


def test_wide_label_does_not_wrap():
    target = torch.full((1, 2, 2), 2**32)
    with pytest.raises(DataError, match=f"value {2**32} in 4 pixels"):
        confusion_matrix(torch.zeros_like(target), target, num_classes=2, ignore_index=255)


def test_all_ignored_counts_nothing():
    target = torch.full((2, 4, 4), 255)
    assert not confusion_matrix(torch.zeros_like(target), target, num_classes=2, ignore_index=255).any()


def test_no_images_and_no_pixels():
    assert confusion_matrix(
        torch.zeros((0, 4, 4), dtype=torch.int64),
        torch.zeros((0, 4, 4), dtype=torch.int64),
        num_classes=2,
        ignore_index=255,
    ).shape == (0, 2, 2)
    empty = torch.zeros((1, 0, 4), dtype=torch.int64)
    assert not confusion_matrix(empty, empty, num_classes=2, ignore_index=255).any()


@pytest.mark.parametrize(
    ("prediction", "target", "message"),
    [
        (torch.zeros((1, 2, 4, 4)), torch.zeros((1, 4, 4), dtype=torch.int64), "NHW"),
        (torch.zeros((1, 4, 4)), torch.zeros((1, 4, 4), dtype=torch.int64), "float32"),
        (torch.zeros((1, 4, 4), dtype=torch.bool), torch.zeros((1, 4, 4), dtype=torch.int64), "bool"),
        (torch.zeros((1, 4, 5), dtype=torch.int64), torch.zeros((1, 4, 4), dtype=torch.int64), "target's size"),
    ],
)
def test_wrong_shape_or_type_is_an_error(prediction, target, message):
    with pytest.raises(ShapeError, match=message):
        confusion_matrix(prediction, target, num_classes=2, ignore_index=255)
