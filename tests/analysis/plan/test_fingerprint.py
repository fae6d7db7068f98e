"""What a set is like, read off its train split alone."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from maskline.analysis.plan import fingerprint as module
from maskline.analysis.plan import planning
from maskline.analysis.plan.fingerprint import fingerprint
from maskline.core.errors import DataError


def test_a_strip_has_its_width_however_it_is_turned():
    rows, columns = np.mgrid[:400, :400]
    for degrees in (0, 30, 45, 77):
        turned = np.deg2rad(degrees)
        across = (columns - 200) * np.cos(turned) + (rows - 200) * np.sin(turned)
        mask = (np.abs(across) < 5).astype(np.uint8)
        mask[:3] = 255  # never counts
        area, border = (mask == 1).sum(), module._borders(mask, 2)[1]
        assert 2 * area / border == pytest.approx(10, rel=0.3)


def test_the_train_split_alone_is_read(monkeypatch, tmp_path):
    """Images of sky over ground; val and test are counted and never opened."""
    mask = np.zeros((60, 80), np.uint8)
    mask[30:] = 1
    image = np.repeat(np.arange(80, dtype=np.uint8)[None, :, None], 60, 0).repeat(3, 2)
    frame = pd.DataFrame(
        {"split": ["train", "train", "val", "test", "test"], "pixels_0": [2400] * 5, "pixels_1": [2400] * 5}
    )
    opened = []

    class Split:
        sizes, channels = [(60, 80)] * 2, 3

        def __len__(self):
            return 2

        def sample(self, i):
            return SimpleNamespace(image=image * (i + 1), mask=mask)

    monkeypatch.setattr(module.PreparedSplit, "open", lambda _, name, *, cache: opened.append(name) or Split())
    monkeypatch.setattr(module.manifest, "read", lambda _: (frame, SimpleNamespace(num_classes=2)))
    (tmp_path / "manifest.csv").touch()
    seen = fingerprint(tmp_path)
    assert opened == ["train"]
    assert (seen.train, seen.val, seen.test, seen.scored) == (2, 1, 2, 2)
    assert (seen.height, seen.width, seen.shares, seen.gray) == (60, 80, (0.5, 0.5), True)
    assert seen.up == 1.0
    assert (seen.brightness, seen.uneven) == ((79, 158), False), "twice as bright is not more than that"
    assert replace(seen, brightness=(56, 255)).uneven
    assert not replace(seen, brightness=(56, 255), gray=False).uneven
    assert planning._hints(seen) == []
    said = " ".join(planning._hints(replace(seen, brightness=(56, 255))))
    assert "from 56 to 255): data.image_scale [p1, p99.8]" in said


def test_a_folder_that_was_not_prepared(tmp_path):
    with pytest.raises(DataError, match=r"no prepared data set: no manifest\.csv; .* maskline new DIR --data DATA"):
        fingerprint(tmp_path)
