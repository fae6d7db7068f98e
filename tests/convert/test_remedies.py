"""What an error tells a user to set is set, and something else comes of it: at last a converted set."""

import re

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML

from tests.sets import index_mask, picture, save

SET = re.compile(r"data\.(\w+)(?: to|:) (\{.*?\}|\[.*?\]|\w+)")
ROTATED = Image.Exif()
ROTATED[0x0112] = 6


def white(mode="L"):
    return lambda i: index_mask(i).point(lambda value: 255 * value).convert(mode)


def colored(i):
    return Image.fromarray(np.array([(0, 0, 0), (255, 0, 0)], np.uint8)[np.array(index_mask(i))])


def blurred(i):
    return Image.fromarray(np.where(np.array(index_mask(i)), 250, 3).astype(np.uint8))


def deep(i):
    return Image.fromarray(np.array(picture(i, mode="L")).astype(np.uint16) * 200)


def alike(i):
    image = np.array(picture(0, (64, 64)))
    image[i, i] = 0
    return Image.fromarray(image)


CASES = {
    "0/255 as ids": (picture, white(), {}),
    "0/255 in a palette, as ids": (picture, white("P"), {}),
    "0/255 in a palette, as 0/255": (picture, white("P"), {"mask_encoding": "binary"}),
    "ids in a palette": (picture, lambda i: index_mask(i).convert("P"), {}),
    "gray, called a palette": (picture, index_mask, {"mask_encoding": "palette"}),
    "gray, called colors": (picture, index_mask, {"mask_encoding": "color"}),
    "0/255, called colors": (picture, white(), {"mask_encoding": "color"}),
    "colors as ids": (picture, colored, {}),
    "colors as 0/255": (picture, colored, {"mask_encoding": "binary"}),
    "0/255 with values in between": (picture, blurred, {"mask_encoding": "binary"}),
    "alpha channel": (lambda i: picture(i).convert("RGBA"), index_mask, {}),
    "more than 8 bits": (deep, index_mask, {}),
    "full range of signed values": (deep, index_mask, {"image_scale": "full_range"}),
    "one scene": (alike, lambda i: index_mask(i, (64, 64)), {}),
}
MOST_STEPS = 3


@pytest.mark.parametrize("name", CASES)
def test_each_remedy_leads_on(workspace, tmp_path, name):
    image, mask, data = CASES[name]
    for i in range(6):
        save(image(i), tmp_path / f"set/images/{i}.png")
        save(mask(i), tmp_path / f"set/masks/{i}.png")
    outcomes = []
    for _ in range(MOST_STEPS):
        result = workspace.both(archive=str(tmp_path / "set"), **data)
        if result.code == 0:
            break
        problem = result.lines[-1].split(": ", 2)[-1]
        assert problem not in outcomes, f"the remedy changes nothing: {problem}"
        outcomes.append(problem)
        key, value = SET.search(problem).groups()
        assert data.get(key) != value
        data = {**data, key: YAML(typ="safe").load(value)}
    assert result.code == 0, outcomes


def test_a_turned_image(workspace, tmp_path):
    for i in range(3):
        (tmp_path / "set/images").mkdir(parents=True, exist_ok=True)
        picture(i, (12, 10)).save(tmp_path / f"set/images/{i}.png", exif=ROTATED)
        save(index_mask(i, (10, 12)), tmp_path / f"set/masks/{i}.png")
    result = workspace.both(archive=str(tmp_path / "set"))
    assert "set data.exif to apply (masks drawn on the rotated image) or ignore (on the stored pixels)" in result.err
    assert workspace.both(archive=str(tmp_path / "set"), exif="apply").code == 0
    assert "12x10 pixels" not in workspace.both(archive=str(tmp_path / "set"), exif="ignore").err.split("its image")[0]
