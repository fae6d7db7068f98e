"""A recipe put into a params file: what it says, what stays, and what DVC makes of the file."""

import itertools
import random

import pytest
from dvc.utils.hydra import apply_overrides

from maskline.core.errors import ParamsError
from maskline.params.whole import SECTIONS, load_params
from maskline.projects import recipes
from maskline.projects.recipe_merge import GROUPS, groups, merged

FCN = "fcn_r50-d8_1xb8-80k_cityscapes-512x1024"
OCR = "ocrnet_hr18_1xb16-160k_ade20k-512x512"
SEGFORMER = "segformer_mit-b0_1xb16-160k_ade20k-512x512"
VESSELS = "unet-s5-d16_deeplabv3_1xb16-ce-1.0-dice-3.0-40k_chase-db1-128x128"
THIN = "thin-structures-5min"
SCENES = "natural-scenes-10min"
PAIRS = [
    *itertools.permutations((FCN, OCR, THIN, SCENES), 2),
    (VESSELS, SEGFORMER),
    (SEGFORMER, "pointrend_r50_1xb8-80k_cityscapes-512x1024"),
    ("pointrend_r50_1xb8-80k_cityscapes-512x1024", VESSELS),
    *random.Random(0).sample(list(itertools.permutations(recipes.files(), 2)), 8),
    ("knet-s3_swin-t_upernet_8xb2-adamw-80k_ade20k-512x512", "convnext-tiny_upernet_8xb2-amp-160k_ade20k-512x512"),
]
MINE = """\
# My project.
data:
  name: folder   # mine
  archive: ../set
  classes:
  - {name: ground, color: [0, 0, 0]}
  - {name: dune, color: [255, 0, 0]}

train:
  # Nightly runs.
  ema_decay: 0.5
  log_every: 7
  iterations: 200  # few
model:
    decode_head:
        # What I tried last.
        channels: 24
        name: psp   # pyramid
    smp: {encoder: resnet34}
    backbone:
        frozen_stages: 0
machine:
  workers: 4
export:
  opset: 19
# The end.
"""


@pytest.fixture
def path(tmp_path, shipped_params):
    """A copy of the shipped params.yaml."""
    file = tmp_path / "params.yaml"
    file.write_bytes((shipped_params).read_bytes())
    return file


@pytest.fixture
def mine(tmp_path):
    """A file of a person's own making."""
    file = tmp_path / "mine.yaml"
    file.write_text(MINE, encoding="utf-8")
    return file


def put(path, name, *, with_data=True, only=tuple(GROUPS)):
    """Put a recipe into a file; return its text."""
    text = merged(path, recipes.find(name), only=only, with_data=with_data)
    path.write_text(text, encoding="utf-8")
    return text


@pytest.mark.parametrize("name", [*recipes.files(), "mask2former_r50_8xb2-90k_cityscapes-512x1024"])
def test_the_shipped_file_with_a_recipe_says_what_the_recipe_says(path, name):
    comments = [line for line in path.read_text(encoding="utf-8").splitlines() if line.lstrip().startswith("#")]
    text = put(path, name)
    assert load_params(path) == load_params(recipes.find(name))
    assert [line for line in text.splitlines() if line.lstrip().startswith("#")] == comments
    assert put(path, name) == text


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_nothing_is_left_of_an_earlier_recipe(path, first, second):
    fresh = path.read_bytes()
    put(path, first)
    after_both = put(path, second)
    path.write_bytes(fresh)
    assert put(path, second) == after_both


@pytest.mark.parametrize("name", [FCN, OCR, SEGFORMER, VESSELS, THIN, SCENES])
def test_an_experiment_changes_the_value_alone(path, name):
    text = put(path, name)
    apply_overrides(path, ["train.seed=0", "optimizer.dampening=0.0"])
    assert path.read_text(encoding="utf-8") == text
    apply_overrides(path, ["train.seed=4"])
    assert path.read_text(encoding="utf-8") == text.replace("  seed: 0\n", "  seed: 4\n")


def test_the_data_stay_unless_told_otherwise(path):
    before = load_params(path)
    put(path, THIN, with_data=False)
    assert load_params(path).data == before.data
    assert load_params(path).augment == load_params(recipes.find(THIN)).augment
    put(path, THIN)
    assert load_params(path).data.name == "chase_db1"


def test_a_file_of_ones_own_keeps_its_comments_its_data_and_its_sections(mine):
    before, recipe = load_params(mine), load_params(recipes.find(THIN))
    text = put(mine, THIN, with_data=False)
    after = load_params(mine)
    for section in SECTIONS:
        expected = before if section in {"data", "export", "preview", "predict"} else recipe
        if section != "machine":
            assert getattr(after, section) == getattr(expected, section), section
    assert after.machine == before.machine.model_copy(update={"journal_every": 500})
    assert text[: text.index("train:")] == MINE[: MINE.index("train:")]
    for comment in ("  # Nightly runs.\n  ema_decay: 0.99\n", "  iterations: 6000  # few\n", "\n# The end.\n"):
        assert comment in text


def test_a_key_with_a_comment_stays_with_its_default_and_another_goes(mine):
    text = put(mine, FCN, with_data=False)
    assert "  # Nightly runs.\n  ema_decay: 0.0\n" in text
    assert "log_every" not in text
    assert "frozen_stages" not in text
    assert "        # What I tried last.\n        channels: 512\n" in text
    assert "name: fcn   # pyramid\n" in text
    assert load_params(mine).model == load_params(recipes.find(FCN)).model


def test_of_a_head_only_keys_that_the_new_one_has_stay(path):
    head = "    num_convs: 1\n"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(head, f"    # One is enough.\n{head}", 1), encoding="utf-8")
    assert "num_convs: 2\n" in put(path, FCN)
    assert "# One is enough.\n" in put(path, SEGFORMER)
    assert load_params(path) == load_params(recipes.find(SEGFORMER))


def test_groups_of_several_recipes_make_one_file(path):
    for name, only in ((OCR, "model"), (SEGFORMER, "schedule"), (VESSELS, "data"), (THIN, "runtime")):
        put(path, name, only=groups(only))
    found = load_params(path)
    ocr, segformer, vessels, thin = (load_params(recipes.find(name)) for name in (OCR, SEGFORMER, VESSELS, THIN))
    assert found.model == ocr.model
    assert (found.optimizer, found.schedule) == (segformer.optimizer, segformer.schedule)
    assert (found.data, found.augment) == (vessels.data, vessels.augment)
    assert found.machine == thin.machine
    assert (found.train.iterations, found.train.ema_decay) == (160_000, 0.99)
    assert (found.evaluate.window, found.evaluate.tta) == ((128, 128), thin.evaluate.tta)


def test_all_groups_together_are_the_whole(path):
    fresh = path.read_bytes()
    for group in GROUPS:
        put(path, OCR, only=(group,))
    in_turn = path.read_text(encoding="utf-8")
    path.write_bytes(fresh)
    assert put(path, OCR) == in_turn


def test_an_unknown_group_is_told():
    for words in ("models", "", "model,"):
        with pytest.raises(ParamsError, match=f"--only {words}: .* is no group; give some of data,model,schedule,"):
            groups(words)


def test_names_that_keys_had_before_do_no_harm(path):
    text = path.read_text(encoding="utf-8").split("machine:\n")[0].replace("  seed: 0\n", "  seed: 0\n  workers: 3\n")
    path.write_text(text, encoding="utf-8")
    put(path, FCN)
    assert load_params(path).machine == load_params(recipes.find(FCN)).machine.model_copy(update={"workers": 3})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: &a\n  seed: 1\nschedule: *a\n", "unknown key"),
        ("augment:\n  # Both.\n  grayscale: &b\n    prob: 0.5\n  # Alike.\n  channel_dropout: *b\n", "in a form that"),
        ('{"train": {"seed": 1}}', "in a form that"),
        ("train: {seed: 1}\n", "in a form that"),
        ("train:\n  sed: 1\n", "train.sed: unknown key"),
        ("train: [\n", "not YAML"),
        ("- 1\n", "not a mapping"),
    ],
)
def test_a_file_that_cannot_take_a_recipe(tmp_path, text, message):
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ParamsError, match=message) as caught:
        put(path, FCN)
    assert str(path) in str(caught.value)
    assert path.read_text(encoding="utf-8") == text
