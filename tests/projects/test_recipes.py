"""Every recipe is fresh, named by what it does, and builds the network that it names."""

import json
import statistics

import pytest
import torch

from maskline.builders.losses import criteria
from maskline.builders.model import segmentor, without_start_weights
from maskline.core.errors import ParamsError
from maskline.params.base.reading import read_yaml
from maskline.params.whole import load_params
from maskline.projects import naming, recipes
from tools import recipes as written
from tools.recipe_few_labels import FEW_LABELS
from tools.recipe_measured import MEASURED
from tools.recipe_papers import PAPERS

CLASSES = {"cityscapes": 19, "ade20k": 150, "camvid": 11}
# Parameters by MMSegmentation's own count, auxiliary heads included; in units of 10,000 where rounded there.
COUNTS = {
    "fcn_r50-d8_1xb8-80k_cityscapes-512x1024": (4950, 10_000),
    "pspnet_r50-d8_1xb8-80k_cityscapes-512x1024": (4898, 10_000),
    "deeplabv3_r50-d8_1xb8-80k_cityscapes-512x1024": (6811, 10_000),
    "deeplabv3plus_r50-d8_1xb8-80k_cityscapes-512x1024": (4359, 10_000),
    "upernet_r50_1xb8-80k_cityscapes-512x1024": (6642, 10_000),
    "segformer_mit-b0_1xb8-160k_cityscapes-1024x1024": (372, 10_000),
    "unet-s5-d16_fcn_1xb16-40k_drive-64x64": (29_060_676, 1),
    # W-Net's 68,482, and a second logit of nine weights in each network: it gives one.
    "little-unet_fcn-x2_1xb4-4k_chase-db1-512x512": (68_482 + 2 * 9, 1),
    "unet-s5-d16_pspnet_1xb16-40k_drive-64x64": (29_046_276, 1),
    "unet-s5-d16_deeplabv3_1xb16-40k_drive-64x64": (29_064_996, 1),
}


@pytest.fixture(scope="module")
def everything(root):
    return {path.stem: load_params(path) for path in sorted((root / "recipes").glob("*.yaml"))}


@pytest.fixture(scope="module")
def settings(everything):
    """Those that are named by what they do: MMSegmentation's."""
    return {name: loaded for name, loaded in everything.items() if name not in {*MEASURED, *FEW_LABELS}}


def on_meta(loaded):
    with torch.device("meta"):
        model = without_start_weights(loaded.model)
        return segmentor(model, num_classes=CLASSES.get(loaded.data.name, 2))


def test_they_are_fresh(root):
    made = written.recipes()
    found = {path.name: path.read_text(encoding="utf-8") for path in (root / "recipes").glob("*.yaml")}
    assert sorted(found) == sorted(made)
    stale = [name for name in made if found[name] != made[name]]
    assert stale == [], "run: make reference"


def test_each_says_what_differs_from_the_defaults_and_no_more(root, everything):
    lengths = []
    for name, loaded in everything.items():
        path = root / "recipes" / f"{name}.yaml"
        said, differing = read_yaml(path), loaded.model_dump(mode="json", exclude_defaults=True)
        # Nothing of an earlier recipe may be left: all of them say these two.
        assert set(said.pop("machine")) == {"cache", "journal_every"}
        differing.pop("machine", None)
        assert said == differing, name
        lengths.append(len(path.read_text(encoding="utf-8").splitlines()))
    assert statistics.median(lengths) <= 40
    assert max(lengths) <= 50


def test_each_is_named_by_what_it_does(settings):
    assert len(settings) == 79
    assert sum(map(len, (path.read_text(encoding="utf-8").splitlines() for path in recipes.files().values()))) <= 3375
    for name, loaded in settings.items():
        assert naming.name(loaded) == name
        assert recipes.find(name).stem == name


def test_each_tells_its_published_result(root, settings):
    for name in settings:
        lines = (root / "recipes" / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
        assert lines[0] == "# yaml-language-server: $schema=../params.schema.json"
        assert lines[1] == f"# {name}"
        assert lines[2].startswith("# Published: ")
        assert any(line.startswith("# Source: ") for line in lines[3:5])
        assert name in PAPERS or lines[3].startswith("# Source: MMSegmentation 1.2.2")


def test_each_of_ours_says_what_it_is_for(root, everything):
    assert set(MEASURED) <= set(everything)
    for name in MEASURED:
        lines = (root / "recipes" / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
        assert lines[:2] == ["# yaml-language-server: $schema=../params.schema.json", f"# {name}"]
        assert "# Measured: docs/results.md" in lines
        assert recipes.head_result(name) == ""


def test_ours_choose_nothing_on_the_images_that_they_are_scored_on(everything):
    scored_on_val = [everything[name] for name in MEASURED if everything[name].evaluate.split == "val"]
    assert scored_on_val
    for loaded in scored_on_val:
        assert loaded.train.val_every == loaded.train.iterations
        assert loaded.train.early_stop == 0
        assert loaded.evaluate.threshold is None
        assert not loaded.evaluate.crf.tune


def test_from_scratch_is_the_same_but_for_the_weights(everything):
    pairs = [
        (everything[name], everything[recipe.beside])
        for name, recipe in MEASURED.items()
        if recipe.beside == f"{name}-scratch"
    ]
    assert pairs
    for one, other in pairs:
        assert (one.model.smp.pretrained, other.model.smp.pretrained) == (True, False)
        assert without_start_weights(one.model) == without_start_weights(other.model)
        for section in ("data", "augment", "schedule", "train", "evaluate"):
            assert getattr(one, section) == getattr(other, section)


def test_each_network_is_built(everything):
    networks = {
        json.dumps(without_start_weights(s.model).model_dump(mode="json")) + s.data.name[:1]: s
        for s in everything.values()
    }
    assert len(networks) > 30
    for loaded in networks.values():
        model = on_meta(loaded)
        # A whole architecture counts its decoder among the losses alone.
        heads = [*model.heads(), *(["decode_head"] if loaded.model.type == "smp" else [])]
        assert heads[-1].startswith("decode_head")
        heads += [f"refiners.{i}.{head}" for i, network in enumerate(model.refiners) for head in network.heads()]
        assert sorted(heads) == sorted(criteria(loaded.model))


@pytest.mark.parametrize("name", COUNTS)
def test_parameter_counts(name, settings):
    expected, unit = COUNTS[name]
    assert round(sum(p.numel() for p in on_meta(settings[name]).parameters()) / unit) == expected


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(ParamsError, match=r"did you mean .*fcn_r50-d8_1xb8-80k_cityscapes-512x1024"):
        recipes.find("fcn_r50-d8_1xb8-80k_cityscapes")
    with pytest.raises(ParamsError, match="see maskline recipe list"):
        recipes.find("?")


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("fcn_r50-d8_4xb2-80k_cityscapes-512x1024", "fcn_r50-d8_1xb8-80k_cityscapes-512x1024"),
        ("configs/fcn/fcn_r50-d8_4xb2-80k_cityscapes-512x1024.py", "fcn_r50-d8_1xb8-80k_cityscapes-512x1024"),
        (
            "unet-s5-d16_fcn_4xb4-ce-1.0-dice-3.0-40k_chase-db1-128x128",
            "unet-s5-d16_fcn_1xb16-ce-1.0-dice-3.0-40k_chase-db1-128x128",
        ),
        ("segformer_mit-b0_8xb2-160k_ade20k-512x512.py", "segformer_mit-b0_1xb16-160k_ade20k-512x512"),
        ("segformer_mit-b0_8xb1-160k_cityscapes-1024x1024", "segformer_mit-b0_1xb8-160k_cityscapes-1024x1024"),
    ],
)
def test_their_names_find_ours(theirs, ours):
    assert recipes.find(theirs).stem == ours


def test_another_batch_is_another_recipe():
    with pytest.raises(ParamsError, match=r"no such recipe; did you mean fcn_r50-d8_1xb8-80k_cityscapes-512x1024"):
        recipes.find("fcn_r50-d8_4xb4-80k_cityscapes-512x1024.py")
