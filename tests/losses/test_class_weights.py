import math

import pytest

from maskline.core.errors import DataError
from maskline.losses.class_weights import class_weights


def test_values_by_hand():
    # Shares 0.8 and 0.2: 1.25 and 5, over their mean 3.125.
    assert class_weights([800, 200], rule="inverse_frequency") == pytest.approx([0.4, 1.6])
    one, other = 1 / math.log(1.82), 1 / math.log(1.22)
    assert class_weights([800, 200], rule="enet_log") == pytest.approx(
        [2 * one / (one + other), 2 * other / (one + other)]
    )
    # n = 1 and 2 thousand: 1 and 1 / (1 + 0.9999).
    rare, common = 1.0, 1 / 1.9999
    expected = [2 * common / (rare + common), 2 * rare / (rare + common)]
    assert class_weights([2000, 1000], rule="effective_number") == pytest.approx(expected)


@pytest.mark.parametrize("rule", ["inverse_frequency", "enet_log", "effective_number"])
def test_rarer_weighs_more_and_absent_nothing(rule):
    weights = class_weights([10**9, 10**6, 0, 10**3], rule=rule)
    assert weights[0] < weights[1] < weights[3]
    assert weights[2] == 0
    assert sum(weights) / 3 == pytest.approx(1)
    with pytest.raises(DataError, match="no pixel of any class"):
        class_weights([0, 0], rule=rule)
