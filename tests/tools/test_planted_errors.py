"""What is planted is what its kind says."""

import numpy as np
import pytest

from maskline.data.labels import LabelSet, bit_palette
from tests.analysis.audit.test_regions import OBJECT, mask
from tools.planted_errors import plant, summed

TRUTH = mask(OBJECT, (2, 24, 20, 9, 9))


@pytest.mark.parametrize("classes", [2, 3])
def test_each_kind(classes):
    labels = LabelSet(class_names=("background", "a", "b")[:classes], palette=bit_palette(classes))
    truth = np.where(classes > TRUTH, TRUTH, 0).astype(np.uint8)
    planted = plant({f"{i:02}": truth for i in range(80)}, labels, seed=0)
    assert len(planted) == 8
    by_kind = {one.kind: one.mask for one in planted.values()}
    counts = {kind: [int((given == c).sum()) for c in range(classes)] for kind, given in by_kind.items()}
    own = [int((truth == c).sum()) for c in range(classes)]
    if classes == 2:
        assert counts["missing"] == [1600, 0]
        assert counts["superfluous"][1] > own[1]
        np.testing.assert_array_equal(by_kind["inverted"], 1 - truth)
    else:
        assert counts["missing"][0] in (own[0] + own[1], own[0] + own[2])
        assert sorted(counts["swapped"]) == sorted(own)
        assert counts["swapped"] != own
        assert counts["wrong_class"] != own
    assert (by_kind["shifted"] != truth).any()
    assert plant({f"{i:02}": truth for i in range(80)}, labels, seed=0).keys() == planted.keys()


def test_shares():
    rows = [{"kind": kind, "images": 30, "audit": rank, "quality": 30} for kind, rank in (("a", 3), ("a", 4), ("b", 7))]
    table = summed(rows)
    assert table["a"] == {"planted": 2, "audit_10": 0.5, "audit_20": 1.0, "quality_10": 0, "quality_20": 0}
    assert table["all"]["audit_20"] == pytest.approx(2 / 3)
