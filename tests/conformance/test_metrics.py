"""Scores against numbers that MMSegmentation computed, and an annotator's score that papers report."""

import io
import json
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from maskline.metrics.confusion import confusion_matrix
from maskline.metrics.scores import class_scores, foreground_scores, overall_scores


@pytest.mark.parametrize("index", [0, 1, 2])
def test_equals_mmsegmentation(shared_conformance, index):
    case = json.loads((shared_conformance / "numbers" / "metrics.json").read_text())[index]
    maps = np.load(shared_conformance / "numbers" / case["file"])
    matrix = sum(
        confusion_matrix(
            torch.from_numpy(maps[f"pred_{i}"])[None],
            torch.from_numpy(maps[f"label_{i}"])[None],
            num_classes=case["classes"],
            ignore_index=case["ignore_index"],
        )[0]
        for i in range(case["images"])
    )
    ours = class_scores(matrix, beta=1)
    overall = overall_scores(matrix, beta=1)
    assert overall["aAcc"] == pytest.approx(case["expected"].pop("aAcc"), abs=1e-6)
    for name, expected in case["expected"].items():
        np.testing.assert_allclose(ours[name], expected, atol=1e-6, err_msg=name)
        assert overall[f"m{name}"] == pytest.approx(np.nanmean(expected), abs=1e-6)


def test_second_observer_of_chase_db1(shared_data):
    # The usual split of CHASE_DB1: the last eight images by name are the test set.
    with zipfile.ZipFile(shared_data / "CHASEDB1.zip") as archive:
        names = sorted(archive.namelist())
        masks = {
            observer: [
                (np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("L")) > 127).astype(np.uint8)
                for name in names
                if name.endswith(f"_{observer}.png")
            ][-8:]
            for observer in ("1stHO", "2ndHO")
        }
    assert len(masks["1stHO"]) == 8
    first, second = (torch.from_numpy(np.stack(masks[observer])) for observer in ("1stHO", "2ndHO"))
    matrix = confusion_matrix(second, first, num_classes=2, ignore_index=255).sum(0)
    assert float(foreground_scores(matrix)["Dice"]) == pytest.approx(0.797, abs=5e-4)
