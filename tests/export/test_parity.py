import numpy as np
import pytest

from maskline.core.errors import ExportError
from maskline.export import parity
from maskline.export.interface import Prediction

LIMITS = {"max_disagreement": 0.01, "max_metric_change": 0.01}


class Threshold:
    """Class 1 where the red channel is above a level; the level's distance gives no other probability than 0.9."""

    def __init__(self, level: int, *, sure: float = 0.9) -> None:
        self.level, self.sure = level, sure

    def predict(self, images):
        labels = (images[..., 0] > self.level).astype(np.uint8)
        one = np.where(labels == 1, self.sure, 1 - self.sure).astype(np.float32)
        return Prediction(labels, np.stack([1 - one, one], 1))


def ramp(name: str = "image a", *, rows: int = 1) -> parity.Case:
    """Red rises from 0 to 99; the right half is class 1."""
    images = np.zeros((1, rows, 100, 3), np.uint8)
    images[..., 0] = np.arange(100)
    return parity.Case(name=name, images=images, masks=(images[..., 0] >= 50).astype(np.uint8))


def compare(candidate, cases, reference=Threshold(49)):  # noqa: B008
    return parity.compare(reference, candidate, cases, class_names=("vessel", "disc"), ignore_index=255)


def test_equal_models():
    found = compare(Threshold(49), [ramp(), ramp("image b", rows=3)])
    assert (found.cases, found.pixels, found.differing_pixels) == (2, 400, 0)
    assert (found.reference_miou, found.metric_change, found.moved_probability) == (1, 0, 0)
    parity.check(found, where="here", place="model.onnx", max_disagreement=0, max_metric_change=0)


def test_counts_by_hand():
    found = compare(Threshold(59), [ramp()])
    # Ten pixels of class 1 are lost: IoU of class 0 is 50/60, of class 1 40/50; 0.8 of the probability moves in each.
    assert found.differing_pixels == 10
    assert found.candidate_miou == pytest.approx((50 / 60 + 40 / 50) / 2)
    assert found.moved_probability == pytest.approx(10 * 0.8 / 100)
    assert found.to_dict()["mIoU_change"] == pytest.approx(1 - (50 / 60 + 40 / 50) / 2, abs=1e-6)


def test_too_many_other_classes_names_the_worst_image():
    class LateInTall(Threshold):
        def predict(self, images):
            return Threshold(50 if images.shape[1] < 3 else 52).predict(images)

    found = compare(LateInTall(0), [ramp(), ramp("image tall", rows=4), ramp("image c", rows=2)])
    with pytest.raises(ExportError, match=r"0.0214 of the pixels.*max_disagreement 0.01.*image tall \(4x100\): 0.03, "):
        parity.check(found, where="here", place="model.onnx", **LIMITS)


def test_same_classes_with_other_probabilities_are_refused():
    found = compare(Threshold(49, sure=0.6), [ramp()])
    assert found.differing_pixels == 0
    with pytest.raises(ExportError, match=r"0.3 of the probability .*image a \(1x100\): 0.3"):
        parity.check(found, where="here", place="model.onnx", **LIMITS)


def test_nan_is_refused():
    found = compare(Threshold(49, sure=float("nan")), [ramp()])
    with pytest.raises(ExportError, match=r"inf of the probability .*image a"):
        parity.check(found, where="here", place="model.onnx", **LIMITS)


def test_change_of_the_metric_is_refused_by_its_own_limit():
    found = compare(Threshold(50), [ramp()])
    assert found.disagreement == 0.01
    with pytest.raises(ExportError, match=r"0.01\d+ difference in mIoU to torch \(export.max_metric_change 0.001\)"):
        parity.check(found, where="here", place="model.onnx", max_disagreement=0.01, max_metric_change=0.001)


def test_all_pixels_ignored_gives_no_metric():
    case = ramp()
    found = compare(Threshold(49), [parity.Case(name="x", images=case.images, masks=np.full((1, 1, 100), 255))])
    assert found.to_dict()["mIoU_torch"] is None
    assert found.metric_change == 0


def test_odd_cases_are_odd_and_come_from_the_images(pictures):
    cases = list(parity.odd_cases(pictures.sample(i) for i in range(len(pictures))))
    assert [case.images.shape[1:3] for case in cases] == list(parity.ODD_SIZES)
    assert all(side % 2 for size in parity.ODD_SIZES for side in size)
    for case in cases:
        assert case.images.shape[0] == 2
        assert case.masks.shape == case.images.shape[:3]
        known = case.masks != 255
        expected = np.digitize(case.images[..., 0], (85, 170))
        np.testing.assert_array_equal(case.masks[known], expected[known])  # image and mask are cropped alike
    again = list(parity.odd_cases(pictures.sample(i) for i in range(len(pictures))))
    assert all(np.array_equal(a.images, b.images) for a, b in zip(cases, again, strict=True))


def test_one_image_is_enough_for_odd_sizes(pictures):
    assert len(list(parity.odd_cases([pictures.sample(0)]))) == len(parity.ODD_SIZES)


def test_the_message_names_pixel_and_class():
    class Blind(Threshold):
        def predict(self, images):
            found = super().predict(images)
            found.labels[0, 2, 70] = 0
            found.probabilities[0, :, 2, 70] = (1.0, 0.0)
            return found

    with pytest.raises(
        ExportError,
        match=r"most in image a \(3x100\): 0.00333, there at row 2, column 70 \(disc in torch, vessel in the file\); "
        r"of the classes, disc loses most pixels",
    ):
        parity.check(
            compare(Blind(49), [ramp(rows=3)]),
            where="here",
            place="model.onnx",
            max_disagreement=0,
            max_metric_change=0,
        )


def test_a_pixel_of_another_class_counts_more_than_moved_probability():
    class Both(Threshold):
        def predict(self, images):
            found = super().predict(images)
            found.probabilities[0, :, 0, 3] = (0.5, 0.5)
            found.labels[0, 0, 80] = 0
            return found

    assert compare(Both(49), [ramp()]).worst_pixel == "row 0, column 80 (disc in torch, vessel in the file)"
