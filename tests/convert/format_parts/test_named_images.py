"""Images by the names that others give them."""

import unicodedata
from pathlib import PurePosixPath

import pytest

from maskline.convert.format_parts.named_images import NamedImages

PLACE = PurePosixPath("a.json")


@pytest.mark.parametrize("on_disk", ["NFC", "NFD"])
@pytest.mark.parametrize("named", ["NFC", "NFD"])
def test_letters_with_accents_in_one_or_two_characters(tmp_path, on_disk, named):
    for folder in ("früh", "spät"):
        path = tmp_path / unicodedata.normalize(on_disk, f"{folder}/Blüte.jpg")
        path.parent.mkdir()
        path.touch()
    images = NamedImages(tmp_path)
    name = unicodedata.normalize(named, "spät/Blüte.jpg")
    assert images.has(name)
    assert images.place(images.find(name, place=PLACE)).parts[0].startswith("sp")


def test_of_both_forms_the_very_name_is_meant(tmp_path):
    names = [unicodedata.normalize(form, "Blüte.jpg") for form in ("NFC", "NFD")]
    for name in names:
        (tmp_path / name).touch()
    images = NamedImages(tmp_path)
    assert [images.find(name, place=PLACE).name for name in names] == names
