import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from maskline.data import manifest
from maskline.data.labels import LabelSet
from maskline.data.manifest import PARTS
from maskline.report import convert as report

LABELS = LabelSet(class_names=("background", "Road Sign"), palette=((0, 0, 0), (255, 0, 0)))


@pytest.fixture
def prepared(tmp_path):
    """A prepared folder of five images whose shard holds one image and one mask."""
    Image.fromarray(np.full((20, 30, 3), 90, np.uint8)).save(tmp_path / "image.png")
    mask = np.zeros((20, 30), np.uint8)
    mask[:10] = 1
    Image.fromarray(mask).save(tmp_path / "mask.png")
    from maskline.convert.shards import ShardWriter

    target = tmp_path / "prepared"
    target.mkdir()
    shards = ShardWriter(target)
    rows = []
    for i, split in enumerate(["train", "train", "train", "val", "test"]):
        parts = {"image": (tmp_path / "image.png").read_bytes(), "mask": (tmp_path / "mask.png").read_bytes()}
        if i == 1:
            parts |= {"second": parts["mask"], "valid": parts["mask"]}
        cells = {"id": str(i), "split": split, "group": str(max(i, 1)), "source": f"{i}.png"}
        cells |= {"height": 20, "width": 30, "pixels_0": 300 - i, "pixels_1": 300, "pixels_ignored": i}
        rows.append({**cells, **shards.add(parts)})
    assert set(PARTS) == {"image", "mask", "valid", "second"}
    manifest.write(target, rows, LABELS)
    return target


def written(prepared, folder, warnings=()):
    report.write(
        prepared,
        warnings,
        summary=folder / "summary.json",
        class_shares=folder / "shares.csv",
        sizes=folder / "sizes.csv",
        grid=folder / "grid.png",
    )
    return json.loads((folder / "summary.json").read_text())


def test_summary(prepared, tmp_path):
    warnings = [("0", "single class: Road Sign"), ("1", "single class: Road Sign"), ("2", "the same image as 1")]
    assert written(prepared, tmp_path, warnings) == {
        "splits": [
            {"split": "train", "images": 3, "groups": 2},
            {"split": "val", "images": 1, "groups": 1},
            {"split": "test", "images": 1, "groups": 1},
        ],
        "class_share": {"background": round(1490 / 2990, 6), "road_sign": round(1500 / 2990, 6)},
        "ignored_share": round(10 / 3000, 6),
        "with_second_annotator": 1,
        "with_valid_area": 1,
        "warnings": {"total": 3, "single_class_road_sign": 2, "the_same_picture": 1},
    }


def test_tables(prepared, tmp_path):
    written(prepared, tmp_path)
    shares = pd.read_csv(tmp_path / "shares.csv")
    assert list(shares.columns) == ["split", "class", "pixels", "share", "images"]
    assert len(shares) == 6
    row = shares[(shares["split"] == "train") & (shares["class"] == "background")].iloc[0]
    assert (row["pixels"], row["share"], row["images"]) == (897, round(897 / 1797, 6), 3)
    assert pd.read_csv(tmp_path / "sizes.csv").to_dict("records") == [
        {"size": "30x20", "width": 30, "height": 20, "images": 5}
    ]


def test_the_grid_shows_image_and_mask(prepared, tmp_path):
    written(prepared, tmp_path)
    with Image.open(tmp_path / "grid.png") as picture:
        pixels = np.array(picture.convert("RGB")).astype(int)
    reddish = (pixels[..., 0] - pixels[..., 1] > 60) & (pixels[..., 1] < 60)
    gray = (np.abs(pixels - 90) < 4).all(-1)
    assert reddish.sum() >= 4 * 300 * 0.9, "half of the masked tile of each sample shown"
    assert gray.sum() >= 4 * 600, "the images themselves"


def test_there_is_no_empty_column_without_a_second_observer(prepared, tmp_path):
    written(prepared, tmp_path)
    with Image.open(tmp_path / "grid.png") as grid:
        with_second = grid.width
    frame, _ = manifest.read(prepared)
    tiles = report._tiles(prepared, frame, second=False)
    assert len(tiles) == 2 * 4
    assert all((image < 255).any() for _, image in tiles)
    assert with_second > 6 * 200


def test_the_same_bytes_each_time(prepared, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        written(prepared, tmp_path / name)
    for file in ("summary.json", "shares.csv", "sizes.csv", "grid.png"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_many_sizes_are_put_together():
    frame = pd.DataFrame({"width": range(100, 300), "height": 50})
    sizes = report._sizes(frame)
    assert len(sizes) <= 40
    assert sizes["images"].sum() == 200
    assert sizes["width"].iloc[0] <= 100
