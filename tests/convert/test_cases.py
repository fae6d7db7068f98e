"""Sets as people's tools write them, from the folder to the prepared data; predict reads the same files alike."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from maskline.data.dataset import PreparedSplit
from maskline.reading.as_trained import read_as_trained

FOUR = {"channels": [0, 1, 2, 3], "image_scale": [0.0, 4080.0]}
BINARY = {"mask_encoding": "binary"}

CASES = [
    ("07_tiff_4_bands_uint16.py", ["none"], FOUR, (4,), ("uint16",)),
    ("07_tiff_4_bands_uint16.py", ["zlib", "tile"], FOUR, (4,), ("uint16",)),
    ("07b_tiff_4_bands_lzw.py", [], FOUR, (4,), ("uint16",)),
    ("08_tiff_with_overview.py", [], {}, (3,), ("uint8",)),
    ("10_png_16_bit_grey.py", [], {"image_scale": [0.0, 4080.0]}, (1,), ("uint16",)),
    ("12_one_cmyk_jpeg.py", [], {}, (3,), ("uint8",)),
    ("45_channel_order.py", [], {"channels": [2, 1, 0], **BINARY}, (3,), ("uint8",)),
]


@pytest.mark.parametrize(("program", "options", "data", "bands", "types"), CASES)
def test_predict_reads_what_convert_took(shared_cases, workspace, tmp_path, program, options, data, bands, types):
    drawn = tmp_path / "set"
    subprocess.run([sys.executable, program, str(drawn), *options], cwd=shared_cases, check=True)
    result = workspace.both(archive=str(drawn), **data)
    assert result.code == 0, result.err
    split = PreparedSplit.open(workspace.prepared, "train", cache="stream")
    assert (split.rule.source_bands, split.rule.source_types) == (bands, types)
    for i, name in enumerate(split.ids):
        (file,) = (drawn / "images").glob(f"{name}.*")
        image = split.sample(i).image
        np.testing.assert_array_equal(read_as_trained(file, split.rule), image)
        assert image.shape == (64, 64, split.rule.num_channels)
        assert image.max() - image.min() > 100, "neither cut nor saturated"


MAPS = [
    ("02_sparse_grey_masks.py", ["0,127,255"], {0: "ground", 127: "leaf", 255: "stem"}),
    ("03_palette_masks_0_255.py", [], {0: "ground", 255: "leaf"}),
    ("06_index_masks_zero_is_unlabelled.py", [], {0: "ignore", 1: "a", 2: "b", 3: "c"}),
]


@pytest.mark.parametrize(("program", "options", "mapping"), MAPS)
def test_a_map_of_values(shared_cases, workspace, tmp_path, program, options, mapping):
    drawn = tmp_path / "set"
    subprocess.run([sys.executable, program, str(drawn), *options], cwd=shared_cases, check=True)
    result = workspace.both(archive=str(drawn), classes=[], mask_values=mapping)
    assert result.code == 0, result.err
    split = PreparedSplit.open(workspace.prepared, "train", cache="stream")
    names = [name for name in mapping.values() if name != "ignore"]
    assert split.labels.class_names == tuple(names)
    wanted = [split.labels.ignore_index if name == "ignore" else names.index(name) for name in mapping.values()]
    for i, name in enumerate(split.ids):
        (file,) = (drawn / "masks").glob(f"{name}.*")
        stored = np.array(Image.open(file))
        expected = np.select([stored == value for value in mapping], wanted, default=-1)
        np.testing.assert_array_equal(split.sample(i).mask, expected)


@pytest.fixture(scope="module")
def layouts(shared_cases, tmp_path_factory):
    folder = tmp_path_factory.mktemp("layouts")
    subprocess.run([sys.executable, "make_layouts.py", str(folder)], cwd=shared_cases, check=True)
    return folder


@pytest.mark.parametrize(("folder", "name"), [("via", "via"), ("supervisely", "supervisely"),
                                              ("labelstudio", "label_studio")])  # fmt: skip
def test_labelling_tools(layouts, workspace, folder, name):
    result = workspace.both(archive=str(layouts / folder), name=name, classes=[])
    assert result.code == 0, result.err
    split = PreparedSplit.open(workspace.prepared, "train", cache="stream")
    assert split.labels.class_names == ("background", "leaf")
    for i, id_ in enumerate(split.ids):
        (mask,) = (layouts / "labels/labels").glob(f"{id_.rsplit('img', 1)[1]}.png")
        disc = np.array(Image.open(mask)) > 0  # what is drawn is the square around it
        drawn = split.sample(i).mask == 1
        assert drawn[disc].all()
        assert drawn.sum() == (disc.any(axis=0).sum() + 2) ** 2


ELSEWHERE = [("14_labelme_json_in_another_folder.py", ["\\"]), ("15_labelme_picture_inside_json.py", [])]


@pytest.mark.parametrize(("program", "options"), ELSEWHERE)
def test_labelme_images_elsewhere(shared_cases, workspace, tmp_path, program, options):
    drawn = tmp_path / "set"
    subprocess.run([sys.executable, program, str(drawn), *options], cwd=shared_cases, check=True)
    result = workspace.both(archive=str(drawn), name="labelme", classes=[])
    assert result.code == 0, result.err
    split = PreparedSplit.open(workspace.prepared, "train", cache="stream")
    assert all((split.sample(i).mask == 1).sum() > 300 for i in range(len(split)))


def test_labels_that_differ_by_blank_and_case_are_joined(shared_cases, workspace, tmp_path):
    drawn = tmp_path / "set"
    program = "44_labelme_labels_differ_by_blank_and_case.py"
    subprocess.run([sys.executable, program, str(drawn)], cwd=shared_cases, check=True)
    result = workspace.both(archive=str(drawn), name="labelme", classes=[], mask_values={"Leaf": "leaf"})
    assert result.code == 0, result.err
    assert PreparedSplit.open(workspace.prepared, "train", cache="stream").labels.num_classes == 2
