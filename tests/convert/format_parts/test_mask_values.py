"""Values and colors of masks to classes, as the user says."""

import numpy as np
import pytest
import scipy.io
from PIL import Image

from maskline.convert.formats import folder
from maskline.convert.records import MaskValue
from maskline.core.errors import DataError
from maskline.params.data import parsed_values
from tests.sets import picture, save

THREE = [[0, 127, 255], [127, 9, 0]]


@pytest.fixture
def read(tmp_path, settings):
    """Read a mask of the given pixels by a map; returns ids and labels."""

    def run(mapping, pixels, *, classes=(), suffix=".png", **changes):
        save(picture(1, (len(pixels[0]), len(pixels))), tmp_path / "images/a.png")
        target = tmp_path / f"masks/a{suffix}"
        target.parent.mkdir(exist_ok=True)
        if isinstance(pixels, Image.Image):
            pixels.save(target)
        elif suffix == ".npy":
            np.save(target, np.array(pixels))
        elif suffix == ".mat":
            scipy.io.savemat(target, {"mask": np.array(pixels), "note": "text", "scale": 2.0})
        else:
            Image.fromarray(np.array(pixels, dtype=np.uint8)).save(target)
        lines = tuple(MaskValue(*line) for line in parsed_values({str(key): name for key, name in mapping.items()}))
        source = folder.read(tmp_path, settings(classes=classes, mask_values=lines, **changes))
        (record,) = source.records
        return source.read_mask(record.mask).tolist(), source.labels

    return run


def test_sparse_values_ranges_and_merged_classes(read):
    ids, labels = read({"0": "ignore", "127": "leaf", "255": "stem", "1-10": "leaf"}, THREE)
    assert labels.class_names == ("leaf", "stem")
    assert ids == [[255, 0, 1], [0, 0, 255]]


@pytest.mark.parametrize("suffix", [".npy", ".mat"])
def test_arrays(read, suffix):
    ids, _ = read({-1: "ignore", 7: "leaf", 70000: "stem"}, [[-1, 7], [70000, 7]], suffix=suffix)
    assert ids == [[255, 0], [1, 0]]


def test_colors(read):
    rgb = [[[255, 0, 0], [0, 255, 0]], [[0, 0, 0], [0, 254, 0]]]
    colors = {"[255,0,0]": "leaf", "#00ff00": "stem", "#000000": "ignore", "[0, 254, 0]": "stem"}
    ids, labels = read(colors, rgb)
    assert ids == [[0, 1], [255, 1]]
    assert labels.palette == ((255, 0, 0), (0, 255, 0))
    with pytest.raises(DataError, match=r"color \(0, 254, 0\) at row 1, column 1.*1 such pixels.*data.mask_values"):
        read({key: name for key, name in colors.items() if "254" not in key}, rgb)
    with pytest.raises(DataError, match=r"write the keys of .* as colors"):
        read({0: "leaf", 1: "stem"}, rgb)


def test_gray_rgb_is_gray(read):
    ids, _ = read({0: "leaf", 255: "stem"}, [[[0, 0, 0], [255, 255, 255]]])
    assert ids == [[0, 1]]


def test_a_value_without_a_class_names_value_count_file_and_remedy(read):
    with pytest.raises(DataError) as error:
        read({0: "leaf", 127: "stem"}, THREE)
    assert "value 9 in 1 pixels (first at row 1, column 1), value 255 in 1 pixels" in error.value.problem
    assert str(error.value.place).endswith("masks/a.png")
    assert "data.mask_values" in error.value.remedy


@pytest.mark.parametrize(
    ("ignored", "pixels", "expected"),
    [
        (0, [[0, 1, 2]], [[255, 0, 1]]),
        (1, [[0, 1, 2]], [[0, 255, 1]]),
        (2, [[0, 1, 2]], [[0, 1, 2]]),
        (255, [[0, 1, 255]], [[0, 1, 255]]),
    ],
)
def test_any_value_is_ignored(read, ignored, pixels, expected):
    """One below the number of classes is no class: the prepared masks then have another."""
    ids, labels = read({}, pixels, classes=(("a", (0, 0, 0)), ("b", (1, 1, 1))), mask_ignore=ignored,
                       ignore_index=ignored if ignored >= 2 else 255)  # fmt: skip
    assert ids == expected
    assert labels.ignore_index == (ignored if ignored >= 2 else 255)
