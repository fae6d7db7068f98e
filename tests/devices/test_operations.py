"""A training step is made of as many operations as the table says: more do not come in unseen."""

import json

import pytest
import torch

from tools.operations import TABLE, counted

MARGIN = 0.03
RECORDED = json.loads(TABLE.read_text(encoding="utf-8"))
# The others take a CPU long, and their steps are made of the same functions.
COUNTED = [("unet-s5-d16", "cpu"), ("vit-b-linear", "cpu"), *((case, "meta") for case in RECORDED["cases"])]


@pytest.mark.parametrize(("case", "device"), COUNTED)
def test_as_many_as_recorded(prepared, case, device):
    if torch.__version__.partition("+")[0] != RECORDED["torch"]:
        pytest.skip(f"recorded with torch {RECORDED['torch']}")
    recorded, found = RECORDED["cases"][case][device], counted(prepared, case, device)
    assert found.keys() == recorded.keys()
    apart = {
        part: (number, recorded[part])
        for part, number in found.items()
        if abs(number - recorded[part]) > max(MARGIN * recorded[part], 1)
    }
    assert not apart, f"operations now and before; if it is meant, python -m tools.operations: {apart}"
