import numpy as np
import pytest
import torch

from maskline.metrics.confusion import confusion_matrix
from maskline.metrics.scores import all_scores, class_scores, flatten, foreground_scores, overall_scores
from maskline.runtime.libraries import declare_missing_operators


def golden_matrix():
    """A label map of four classes, of which the last is absent, with one ignored pixel."""
    target = torch.tensor([[[0, 0, 1, 1], [0, 2, 2, 255], [1, 1, 2, 2]]])
    prediction = torch.tensor([[[0, 1, 1, 1], [0, 2, 0, 2], [1, 0, 2, 2]]])
    return confusion_matrix(prediction, target, num_classes=4, ignore_index=255)[0]


def test_equals_mmsegmentation_on_a_small_case():
    # Computed by MMSegmentation 1.2.2 (per cent, two decimals).
    expected = {
        "aAcc": 72.73, "mIoU": 58.33, "mAcc": 72.22, "mDice": 72.62, "mFscore": 72.62, "mPrecision": 75.00,
    }  # fmt: skip
    scores = overall_scores(golden_matrix(), beta=1)
    assert {name: round(100 * float(scores[name]), 2) for name in expected} == expected


def test_absent_class_is_nan_and_leaves_the_mean():
    scores = class_scores(golden_matrix(), beta=1)
    for name, values in scores.items():
        assert np.isnan(values[3]), name
        assert not np.isnan(values[:3]).any(), name


def test_equals_torchmetrics():
    declare_missing_operators()  # torchmetrics imports torchvision
    from torchmetrics.functional import classification as reference

    generator = torch.Generator().manual_seed(0)
    target = torch.randint(0, 5, (2, 40, 30), generator=generator)
    noise = torch.randint(0, 5, (2, 40, 30), generator=generator)
    prediction = torch.where(torch.rand((2, 40, 30), generator=generator) < 0.5, target, noise)
    target[0, :5] = 255
    matrix = confusion_matrix(prediction, target, num_classes=5, ignore_index=255).sum(0)
    ours = class_scores(matrix, beta=1)
    theirs = {
        "IoU": reference.multiclass_jaccard_index,
        "Acc": reference.multiclass_accuracy,
        "Fscore": reference.multiclass_f1_score,
        "Dice": reference.multiclass_f1_score,
        "Precision": reference.multiclass_precision,
    }
    for name, function in theirs.items():
        expected = function(prediction, target, num_classes=5, average=None, ignore_index=255)
        np.testing.assert_allclose(ours[name], expected.numpy(), atol=1e-6, err_msg=name)


def test_predicted_but_never_labelled():
    scores = class_scores([[5, 3], [0, 0]], beta=1)
    assert scores["IoU"][1] == 0
    assert scores["Dice"][1] == 0
    assert scores["Precision"][1] == 0
    assert np.isnan(scores["Recall"][1])


def test_fscore_weighs_recall_by_beta():
    matrix = [[50, 10], [30, 60]]
    precision, recall = 60 / 70, 60 / 90
    expected = 5 * precision * recall / (4 * precision + recall)
    assert class_scores(matrix, beta=2)["Fscore"][1] == pytest.approx(expected, abs=1e-12)


def test_foreground_by_hand():
    scores = foreground_scores([[70, 10], [5, 15]])
    assert scores["Dice"] == pytest.approx(2 * 15 / (2 * 15 + 10 + 5))
    assert scores["sensitivity"] == pytest.approx(15 / 20)
    assert scores["specificity"] == pytest.approx(70 / 80)


def test_a_stack_of_matrices_is_scored_one_by_one():
    stack = np.random.default_rng(1).integers(0, 50, (4, 6, 3, 3))
    together = overall_scores(stack, beta=1)
    for i in range(4):
        for j in range(6):
            alone = overall_scores(stack[i, j], beta=1)
            assert all(alone[name] == together[name][i, j] for name in alone)


def test_empty_matrix_defines_no_score():
    assert all(
        np.isnan(value).all() for value in flatten(all_scores(np.zeros((2, 2), int), class_keys=("a", "b"))).values()
    )


def test_tree_starts_with_the_overall_scores():
    names = list(flatten(all_scores([[3, 1], [0, 2]], class_keys=("background", "vessel"))))
    assert names[:4] == ["aAcc", "mIoU", "mAcc", "mDice"]
    assert "foreground.Dice" in names
    assert names[-1] == "per_class.vessel.Precision"


def test_tree_of_many_classes_has_no_foreground():
    assert "foreground" not in all_scores(np.eye(3, dtype=int), class_keys=("a", "b", "c"))


def test_fractional_counts_are_refused():
    with pytest.raises(AssertionError, match="whole numbers"):
        class_scores(np.ones((2, 2)), beta=1)
