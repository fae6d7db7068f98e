import json

import pytest

from maskline.core.errors import DataError
from maskline.data.reading_rule import UNKNOWN, ReadingRule

RULE = ReadingRule(
    channels=(3, 0, 1),
    image_scale=(0.0, 4080.0),
    alpha="error",
    exif="ignore",
    source_bands=(4,),
    source_types=("uint16",),
)
OWN = ReadingRule(image_scale=("p1", "p99.8"))


def test_a_rule_is_read_as_it_was_written(tmp_path):
    for rule in (RULE, UNKNOWN, ReadingRule(image_scale="full_range", channels=(0,)), OWN):
        rule.write(tmp_path)
        assert ReadingRule.read(tmp_path) == rule
        assert ReadingRule.from_dict(json.loads(json.dumps(rule.to_dict())), place="model.json") == rule
    assert ReadingRule.read(tmp_path / "none") is None


@pytest.mark.parametrize(
    "change",
    [
        {"gamma": 2.2},
        {"channels": []},
        {"channels": ["red"]},
        {"image_scale": [4, 2]},
        {"image_scale": "half"},
        {"image_scale": ["p9", "p2"]},
        {"image_scale": [0, "p101"]},
        {"image_scale": [0, "99"]},
        {"exif": "error"},
        {"color_order": "BGR"},
    ],
)
def test_a_rule_of_another_version_is_refused(change):
    with pytest.raises(DataError, match=r"model\.json: not a reading rule of this version"):
        ReadingRule.from_dict({**RULE.to_dict(), **change}, place="model.json")


def test_damaged_file(tmp_path):
    (tmp_path / "reading.json").write_text("{")
    with pytest.raises(DataError, match=r"reading\.json: not JSON"):
        ReadingRule.read(tmp_path)


def test_what_a_rule_says_of_itself():
    said = "channels [3, 0, 1] of images of 4 bands of uint16, scaled from 0 to 4080"
    assert RULE.describe() == said
    assert RULE.num_channels == 3
    assert UNKNOWN.describe() == "RGB of images"
    assert OWN.describe() == "RGB of images, scaled from p1 to p99.8 of each image"
    assert [rule.of_each_image for rule in (OWN, RULE, UNKNOWN, ReadingRule(image_scale=(0.0, "p90")))] == [1, 0, 0, 1]


def test_rules_differ_where_the_same_file_gives_other_images():
    other = ReadingRule(channels=(3, 0, 1), image_scale=(0.0, 4080.0), source_bands=(5,))
    assert RULE.difference(other) is None
    assert RULE.difference(UNKNOWN) == "channels"
    assert RULE.difference(ReadingRule(channels=(3, 0, 1))) == "image_scale"
    assert OWN.difference(UNKNOWN) == "image_scale"
