"""Masks in .npy and .mat files: hostile and damaged ones."""

import struct
import tracemalloc
import zlib

import numpy as np
import pytest
import scipy.io

from maskline.core.errors import DataError
from maskline.reading.arrays import read_array


def refused(path, words):
    with pytest.raises(DataError, match=words):
        read_array(path)


def test_pickles_are_not_loaded(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}], dtype=object), allow_pickle=True)
    refused(tmp_path / "a.npy", "not a plain .npy file")


def test_a_header_cannot_ask_for_memory(tmp_path):
    with (tmp_path / "a.npy").open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": (10**6, 10**6)})
    refused(tmp_path / "a.npy", "not a plain .npy file|too large")
    with (tmp_path / "a.npy").open("r+b") as stream:  # a sparse file as long as the header says
        stream.truncate(128 + 10**10)
        stream.seek(0)
        np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": (10**5, 10**5)})
    refused(tmp_path / "a.npy", "too large")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([[0.5, 1.0]], r"value 0.5 at row 0, column 0 is no whole number \(1 such pixels\)"),
        ([[np.nan, 1.0]], "no whole number"),
        ([[2**40, 1]], "more than 32 bits"),
        ([1, 2], r"shape \(2,\)"),
        ([[[1, 2, 3]] * 2] * 2, r"shape \(2, 2, 3\)"),
    ],
)
def test_other_forms(tmp_path, values, words):
    np.save(tmp_path / "a.npy", np.array(values))
    refused(tmp_path / "a.npy", words)


def test_one_band_and_booleans(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((1, 2, 3), dtype=bool))
    assert read_array(tmp_path / "a.npy").tolist() == [[1, 1, 1]] * 2


def test_matlab_with_two_masks_or_damage(tmp_path):
    scipy.io.savemat(tmp_path / "a.mat", {"one": np.eye(3), "two": np.eye(3)})
    refused(tmp_path / "a.mat", r"2 arrays that could be the mask \(one, two\)")
    (tmp_path / "a.mat").write_bytes(b"MATLAB 7.3 MAT-file" + bytes(200))
    refused(tmp_path / "a.mat", "MAT|7.3")


@pytest.mark.parametrize("options", [{}, {"do_compression": True}, {"format": "4"}])
@pytest.mark.parametrize("kind", [np.uint8, np.float64, np.int16])
def test_matlab_of_each_version_with_other_variables(tmp_path, options, kind):
    mask = np.random.default_rng(0).integers(0, 9, (200, 300)).astype(kind)
    others = {} if options.get("format") else {"about": {"a": np.zeros((90, 90))}, "deep": np.ones((3, 4, 5))}
    scipy.io.savemat(tmp_path / "a.mat", {**others, "text": "words", "number": 3, "mask": mask}, **options)
    np.testing.assert_array_equal(read_array(tmp_path / "a.mat"), mask)


def test_matlab_that_unpacks_to_more_than_it_states(tmp_path):
    scipy.io.savemat(tmp_path / "a.mat", {"mask": np.zeros((40, 48), np.uint8)})
    plain = (tmp_path / "a.mat").read_bytes()
    size = 64 << 20
    begin = plain[:128]
    body = plain[136 : len(plain) - 8 - 40 * 48]
    element = body + struct.pack("<II", 2, size) + bytes(size)
    packed = zlib.compress(struct.pack("<II", 14, len(element)) + element)
    (tmp_path / "a.mat").write_bytes(begin + struct.pack("<II", 15, len(packed)) + packed)
    del element
    tracemalloc.start()
    refused(tmp_path / "a.mat", "unpacks to more than the size that it states")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20
