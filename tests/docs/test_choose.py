"""What the pages on choosing say of published recipes is what the recipes say."""

import re

import pytest

from maskline.params.whole import load_params
from maskline.projects import recipes
from maskline.projects.published import published
from tools import choose

PAGES = ("head", "loss", "crop", "schedule")
ROW = re.compile(r"^\| `([a-z0-9.+-]+_[a-z0-9_.+-]+-[a-z0-9_.+-]+)` \| (.+) \|$", re.MULTILINE)  # names of recipes


@pytest.fixture(scope="module")
def rows(root):
    text = {page: (root / "docs" / "choose" / f"{page}.md").read_text(encoding="utf-8") for page in PAGES}
    return {page: [(name, cells.split(" | ")) for name, cells in ROW.findall(text[page])] for page in PAGES}


def test_published_scores(rows):
    assert (len(rows["head"]), len(rows["loss"])) == (14, 8)
    for name, (score, *terms) in [*rows["head"], *rows["loss"]]:
        if terms:
            assert terms == [choose.terms(name)]
        assert re.search(rf"\b{re.escape(score)}[,.]", recipes.head_result(name) + "."), name


def test_crops(rows):
    assert len(rows["crop"]) == 6
    for name, (crop, _) in rows["crop"]:
        height, width = load_params(recipes.find(name)).augment.crop_size
        assert crop == f"{height}x{width}"


def test_schedules(rows):
    assert len(rows["schedule"]) == 3
    for name, cells in rows["schedule"]:
        loaded = load_params(recipes.find(name))
        assert cells == [
            loaded.optimizer.name,
            str(loaded.optimizer.lr),
            loaded.schedule.name,
            str(loaded.train.iterations),
        ]


def test_the_defaults_are_the_shipped_ones(shipped_params):
    loaded = load_params(shipped_params)
    assert (loaded.model.backbone.name, loaded.model.decode_head.name) == ("unet", "fcn")
    assert [(loss.name, loss.weight) for loss in loaded.model.decode_head.losses] == [
        ("cross_entropy", 1.0),
        ("dice", 1.0),
    ]
    assert loaded.augment.crop_size == (128, 128)
    told = (loaded.optimizer.name, loaded.optimizer.lr, loaded.train.batch_size, loaded.train.iterations)
    assert told == ("adamw", 0.002, 8, 1200)
    assert loaded.schedule.name == "poly"


def test_the_smallest_segformer_has_the_parameters_told(root):
    from maskline.analysis.network_size import describe

    size = describe("segformer_mit-b0_1xb16-160k_ade20k-512x512", size=(64, 64), classes=19)
    assert f"{size.parameters / 1e6:.1f} million" in (root / "docs/choose/backbone.md").read_text(encoding="utf-8")


def test_the_tables_of_backbones_are_those_of_the_recipes(root):
    """But for the sizes, of which one is counted."""
    text = (root / "docs/choose/backbone.md").read_text(encoding="utf-8")
    sizes = dict(re.findall(r"^\| `([^`]+)` \| (\d+\.\d) \|", text, re.MULTILINE))
    for table in choose.tables(lambda one: sizes[one.shown_name]).values():
        assert table in text, "run: make reference"
    one = published()["fast_scnn_8xb4-160k_cityscapes-512x1024"]
    assert choose.millions(one) == sizes[one.shown_name]
