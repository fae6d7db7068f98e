"""Folders of soft labels: named by their hash, read whole or not at all; a second annotator's masks."""

import json

import numpy as np
import pytest

from maskline.augment.soft_labels import LIST_NAME, SecondAnnotator, SoftFolder, write_soft_labels
from maskline.core.errors import DataError
from maskline.data.dataset import Sample
from maskline.data.labels import LabelSet

LABELS = LabelSet(class_names=("background", "leaf", "stem"), palette=((0, 0, 0), (1, 1, 1), (2, 2, 2)))


def sample(name="a", size=(4, 6), second=None):
    mask = np.zeros(size, np.uint8)
    return Sample(id=name, group=name, image=np.zeros((*size, 3), np.uint8), mask=mask, valid=None, second=second)


def fields(seed=0):
    drawn = np.random.default_rng(seed).random((2, 3, 4, 6))
    return dict(zip(("a", "b/c"), drawn / drawn.sum(1, keepdims=True), strict=True))


@pytest.fixture
def folder(tmp_path):
    return write_soft_labels(tmp_path, LABELS, fields().items())


def test_what_is_written_is_read_to_a_255th(folder, tmp_path):
    soft = SoftFolder.open(folder, LABELS, keeps=True)
    for name, expected in fields().items():
        planes = soft.read(sample(name))
        assert planes.dtype == np.uint8
        assert np.abs(planes / 255 - np.moveaxis(expected, 0, -1)).max() <= 0.5 / 255 + 1e-9
    assert np.shares_memory(soft.read(sample("b/c")), soft.read(sample("b/c"))), "kept"
    part = slice(1, 3), slice(2, 6)
    assert (soft.read(sample("b/c"), part) == soft.read(sample("b/c"))[part]).all()
    assert not soft.read(sample("other")).any(), "an image without soft labels"
    assert soft.read(sample("other"), part).shape == soft.read(sample("b/c"), part).shape
    assert write_soft_labels(tmp_path, LABELS, fields().items()) == folder, "the same name for the same labels"
    assert write_soft_labels(tmp_path, LABELS, fields(seed=1).items()) != folder
    assert {path.name[:12] for path in tmp_path.iterdir()} == {"soft_labels-"}


def test_what_was_changed_or_is_missing_is_one_line(folder, tmp_path):
    soft = SoftFolder.open(folder, LABELS, keeps=False)
    with pytest.raises(DataError, match=r"needs uint8 of \(5, 6, 3\); make the folder again"):
        soft.read(sample("a", size=(5, 6)))
    (folder / "000000.npz").write_bytes(b"other")
    with pytest.raises(DataError, match="soft labels of a are not what was written"):
        soft.read(sample("a"))
    (folder / "000001.npz").unlink()
    with pytest.raises(DataError, match=r"000001.npz: no such file"):
        soft.read(sample("b/c"))
    with pytest.raises(DataError, match=r"is about the classes .*, not \['background', 'leaf'\]"):
        SoftFolder.open(folder, LabelSet(class_names=LABELS.class_names[:2], palette=LABELS.palette[:2]), keeps=False)
    listed = json.loads((folder / LIST_NAME).read_text())
    listed["images"].pop("a")
    (folder / LIST_NAME).write_text(json.dumps(listed))
    with pytest.raises(DataError, match=f"was changed: it is not the list of {folder.name}"):
        SoftFolder.open(folder, LABELS, keeps=False)
    (folder / LIST_NAME).write_text("[]")
    with pytest.raises(DataError, match="no list of soft labels"):
        SoftFolder.open(folder, LABELS, keeps=False)
    with pytest.raises(DataError, match=r"soft_labels.json: no such file; make it again \(maskline folds --soft"):
        SoftFolder.open(tmp_path / "soft_labels-0123456789abcdef", LABELS, keeps=False)


def test_the_other_mask_of_a_second_annotator():
    second = np.zeros((4, 6), np.uint8)
    second[0], second[1] = 2, 255
    planes = SecondAnnotator(LABELS).read(sample(second=second))
    assert planes.dtype == np.uint8
    assert (planes.sum(2) == [[255], [0], [255], [255]]).all()
    assert (planes[0, :, 2] == 255).all()
    part = slice(1, 3), slice(2, 6)
    assert (SecondAnnotator(LABELS).read(sample(second=second), part) == planes[part]).all()
    assert not SecondAnnotator(LABELS).read(sample()).any()
    assert SecondAnnotator(LABELS).read(sample(), part).shape == planes[part].shape
