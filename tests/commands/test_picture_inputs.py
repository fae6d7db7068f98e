import pytest

from maskline.core.errors import DataError
from maskline.predict.image_inputs import find_sources


def names(inputs, out):
    return [source.name for source in find_sources([str(text) for text in inputs], out=out)]


def test_folder_with_subfolders(pictures, tmp_path):
    assert names([pictures], tmp_path / "out") == ["eye", "left/alpha", "left/eye", "turned"]


def test_file_of_any_suffix(pictures, tmp_path):
    assert names([pictures / "notes.txt"], tmp_path / "out") == ["notes"]


def test_pattern_names_from_its_first_wildcard(pictures, tmp_path):
    assert names([pictures / "*" / "e*.png"], tmp_path / "out") == ["left/eye"]
    assert names([pictures / "**" / "*.png"], tmp_path / "out") == ["eye", "left/alpha", "left/eye"]


def test_relative_pattern(pictures, tmp_path, monkeypatch):
    monkeypatch.chdir(pictures)
    assert names(["*.[pj][np]g"], tmp_path / "out") == ["eye", "turned"]


def test_a_file_named_twice_counts_once(pictures, tmp_path):
    assert names([pictures / "eye.png", pictures / "*.png"], tmp_path / "out") == ["eye"]


@pytest.mark.parametrize("text", ["nothing", "nothing/*.png", "*.bmp"])
def test_nothing_found(pictures, tmp_path, monkeypatch, text):
    monkeypatch.chdir(pictures)
    with pytest.raises(DataError, match="no such file, folder or image of this pattern"):
        find_sources([text], out=tmp_path / "out")


def test_folder_without_images(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no image in this folder"):
        find_sources([str(tmp_path / "empty")], out=tmp_path / "out")


def test_two_images_of_one_name(pictures, tmp_path):
    with pytest.raises(DataError, match=r"left/eye.png: would be written over the result of .*eye.png"):
        find_sources([str(pictures / "eye.png"), str(pictures / "left" / "eye.png")], out=tmp_path / "out")


def test_former_results_are_no_inputs(pictures):
    out = pictures / "out"
    (out / "index").mkdir(parents=True)
    (out / "index" / "eye.png").write_bytes((pictures / "eye.png").read_bytes())
    assert names([pictures], out) == ["eye", "left/alpha", "left/eye", "turned"]
    with pytest.raises(DataError, match="lies in the output folder"):
        find_sources([str(out / "index" / "eye.png")], out=out)
    with pytest.raises(DataError, match="lies in the output folder"):
        find_sources([str(pictures)], out=pictures)
