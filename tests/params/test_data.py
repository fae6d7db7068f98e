"""data.mask_values and data.classes: keys, and what is refused before any work."""

import pytest

from maskline.core.errors import ParamsError
from maskline.params.data import parsed_values
from maskline.params.whole import load_params, validate_params

CLASSES = [{"name": name, "color": [i, i, i]} for i, name in enumerate(("leaf", "stem"))]


def test_keys():
    lines = parsed_values(
        {"0": "ignore", "-1": "leaf", "1-10": "stem", "-5--2": "stem", "#fF0010": "a", "[1, 2, 3]": "b"}
    )
    assert [line.values for line in lines] == [(0, 0), (-1, -1), (1, 10), (-5, -2), None, None]
    assert [line.color for line in lines[4:]] == [(255, 0, 16), (1, 2, 3)]
    assert [line.class_name for line in lines] == [None, "leaf", "stem", "stem", "a", "b"]
    assert parsed_values({"Leaf ": "leaf"})[0] == ("Leaf ", None, None, "leaf")


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ({"0": "leef", "1": "stem"}, "did you mean leaf"),
        ({"0": "leaf", "1": "ignore"}, "no value of the class 'stem'"),
        ({"0-9": "leaf", "5": "stem"}, "values in common"),
        ({"9-1": "leaf", "20": "stem"}, "'9-1' is no value, range or color"),
        ({"red": "leaf", "20": "stem"}, "'red' is no value, range or color"),
        ({"[256, 0, 0]": "leaf", "#000000": "stem"}, "'[256, 0, 0]' is no value"),
        ({"#ff0000": "leaf", "1": "stem"}, "colors and numbers"),
        ({"#ff0000": "leaf", "[255,0,0]": "stem"}, "stands twice"),
    ],
)
def test_refused(mapping, words):
    with pytest.raises(ParamsError) as error:
        validate_params({"data": {"name": "folder", "classes": CLASSES, "mask_values": mapping}})
    assert words in str(error.value)
    assert "data" in error.value.place


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"classes": [*CLASSES, CLASSES[0]]}, r"the name 'leaf' stands twice; give each class its own"),
        ({"classes": [*CLASSES, {"name": "x" * 201, "color": [9, 9, 9]}]}, "at most 200 characters"),
        ({"mask_values": {"0": "x" * 201}}, "at most 200 characters"),
    ],
)
def test_names_of_classes(data, words):
    with pytest.raises(ParamsError, match=words) as error:
        validate_params({"data": {"name": "folder", **data}})
    assert len(str(error.value)) < 500


def test_labels_of_tools_are_keys_too():
    data = {"name": "labelme", "mask_values": {"Leaf": "leaf", "blur": "ignore"}}
    assert validate_params({"data": data}).data.mask_values["blur"] == "ignore"


@pytest.mark.parametrize("keys", ["{0: leaf, '1-3': stem}", "{[255, 0, 0]: leaf, [0, 0, 0]: stem}"])
def test_keys_that_dvc_cannot_sort(tmp_path, keys):
    path = tmp_path / "params.yaml"
    path.write_text(f"data:\n  mask_values: {keys}\n")
    with pytest.raises(ParamsError, match=r"data.mask_values: the key .* put all keys .* in the file itself"):
        load_params(path)
    path.write_text("data:\n  name: labelme\n  mask_values: {0: leaf, 1: stem}\n")
    assert load_params(path).data.mask_values == {"0": "leaf", "1": "stem"}
