"""maskline recipe, name and summary."""

import json
import re

import pytest
from click.testing import CliRunner

from maskline.commands.main import main
from maskline.params.base.reading import read_yaml
from maskline.params.whole import load_params
from maskline.projects import recipes

NAME = "unet-s5-d16_fcn_1xb16-40k_chase-db1-128x128"


def invoke(*arguments, answer=None):
    return CliRunner().invoke(main, [*map(str, arguments)], input=answer)


@pytest.fixture
def own(tmp_path, shipped_params):
    """A copy of the shipped params.yaml."""
    path = tmp_path / "params.yaml"
    path.write_bytes((shipped_params).read_bytes())
    return path


def test_list_and_its_filter():
    some = invoke("recipe", "list", "unet", "chase-db1").output.splitlines()
    assert [line.split()[0] for line in some] == [
        name for name in recipes.names() if "unet" in name and "chase-db1" in name
    ]
    assert len(some) == 7
    assert some[0].split()[0] == "little-unet_fcn-x2_1xb4-4k_chase-db1-512x512"
    assert some[1].endswith("  vessel Dice 80.47, mDice 89.57")
    everything = invoke("recipe", "list", "--all").output.splitlines()
    assert [line.split()[0] for line in everything] == recipes.names()


def test_the_short_list_counts_families():
    printed = invoke("recipe", "list").output
    assert len(printed.splitlines()) < 70
    assert "nuclei-10min\n" in printed
    assert re.search(r"^  segformer +13  ade20k 7, cityscapes 6$", printed, re.MULTILINE)
    assert "673 of MMSegmentation's configurations" in printed


@pytest.mark.parametrize(
    ("options", "count", "one"),
    [
        (["--data", "ade20k", "--model", "segformer"], 7, "segformer_mit-b0_1xb16-160k_ade20k-512x512"),
        (["--data", "CHASE-DB1"], 10, NAME),
        (["--model", "knet"], 7, "knet-s3_swin-t_upernet_8xb2-adamw-80k_ade20k-512x512"),
        (
            ["160k", "--model", "swin-l", "--data", "ade20k"],
            3,
            "mask2former_swin-l-in22k-384x384-pre_8xb2-160k_ade20k-640x640",
        ),
    ],
)
def test_a_list_by_data_and_model(options, count, one):
    lines = [line.split()[0] for line in invoke("recipe", "list", *options).output.splitlines()]
    assert len(lines) == count
    assert one in lines


def test_list_for_a_script(root):
    rows = json.loads(invoke("recipe", "list", "unet", "--data", "chase_db1", "--json").output)
    assert len(rows) == 7
    (row,) = [row for row in rows if row["name"] == NAME]
    assert row["published"].startswith("vessel Dice 80.24")
    assert (row["data"], row["family"]) == ("chase_db1", "unet")
    assert row["file"] == str(root / "recipes" / f"{NAME}.yaml")
    (row,) = json.loads(invoke("recipe", "list", "ddrnet_23_in1k", "--json").output)
    assert row["file"] is None


def test_use_a_configuration_that_has_no_file(own):
    theirs = "ddrnet_23-slim_in1k-pre_2xb6-120k_cityscapes-1024x1024"
    result = invoke("recipe", "use", f"configs/ddrnet/{theirs}.py", "--params", own, "--yes", "--with-data")
    assert result.exit_code == 0, result.output
    assert f"+++ {theirs}\n" in result.output
    loaded = load_params(own)
    assert (loaded.model.backbone.name, loaded.data.name, loaded.train.batch_size) == (
        "ddrnet23_slim",
        "cityscapes",
        12,
    )
    shown = invoke("recipe", "show", theirs).output
    assert f"# Source: MMSegmentation 1.2.2, {theirs}; one run" in shown


def test_use_with_values_on_top(tmp_path):
    path = tmp_path / "params.yaml"
    options = ["-S", "optimizer.lr=0.5", "-S", "evaluate.window=[96,96]", "-S", "train.ema_decay=0.9"]
    assert invoke("recipe", "use", NAME, "--params", path, "--yes", *options).exit_code == 0
    loaded = load_params(path)
    assert (loaded.optimizer.lr, loaded.evaluate.window, loaded.train.iterations) == (0.5, (96, 96), 40000)
    assert loaded.train.ema_decay == 0.9
    wrong = invoke("recipe", "use", NAME, "--params", path, "--yes", "-S", "optimizer.rl=0.5")
    assert wrong.exit_code == 2
    assert wrong.output.startswith(f"error: {path} with {NAME}: optimizer.rl: unknown key; did you mean lr?")
    assert load_params(path).optimizer.lr == 0.5


def test_show_tells_the_published_result(root):
    shown = invoke("recipe", "show", NAME).output
    assert shown == (root / "recipes" / f"{NAME}.yaml").read_text(encoding="utf-8")
    assert "# Published: vessel Dice 80.24" in shown


def test_use_asks_first(own):
    before = own.read_bytes()
    declined = invoke("recipe", "use", NAME, "--params", own, answer="n\n")
    assert "-  iterations: 1200" in declined.output
    assert "+  iterations: 40000" in declined.output
    assert "nothing written" in declined.output
    assert own.read_bytes() == before


def test_show_prints_every_key(tmp_path):
    path = tmp_path / "whole.yaml"
    path.write_text(invoke("recipe", "show", NAME, "--whole").output, encoding="utf-8")
    whole = load_params(path)
    assert whole == load_params(recipes.find(NAME))
    assert read_yaml(path) == whole.model_dump(mode="json")


def test_use_without_a_file_makes_the_shipped_one_with_the_data(tmp_path):
    path = tmp_path / "params.yaml"
    assert invoke("recipe", "use", NAME, "--params", path, "--yes").exit_code == 0
    assert path.read_text(encoding="utf-8").startswith("# yaml-language-server: $schema=./params.schema.json\n")
    assert load_params(path) == load_params(recipes.find(NAME))
    assert "has unet-s5" in invoke("recipe", "use", NAME, "--params", path).output
    assert invoke("name", path).output == f"{NAME}\n"


def test_use_keeps_the_data_unless_told(own):
    assert invoke("recipe", "use", NAME, "--params", own, "--yes").exit_code == 0
    assert load_params(own).data.name == "synthetic_fundus"
    assert invoke("recipe", "use", NAME, "--params", own, "--yes", "--with-data").exit_code == 0
    assert load_params(own).data.name == "chase_db1"


def test_use_groups_of_two_recipes(own):
    upernet, theirs = "upernet_r50_1xb16-160k_ade20k-512x512", "segformer_mit-b0_8xb2-160k_ade20k-512x512.py"
    assert invoke("recipe", "use", upernet, "--only", "model", "--params", own, "--yes").exit_code == 0
    result = invoke("recipe", "use", theirs, "--only", "schedule,runtime", "--params", own, "--yes")
    assert "+++ segformer_mit-b0_1xb16-160k_ade20k-512x512\n" in result.output
    loaded = load_params(own)
    assert (loaded.model.decode_head.name, loaded.optimizer.lr, loaded.train.batch_size) == ("uper", 6e-5, 16)
    assert (loaded.augment.crop_size, loaded.machine.cache) == ((128, 128), "stream")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--only", "models"], "error: --only models: 'models' is no group; give some of data,model,schedule,runtime"),
        (["--only", "model", "--with-data"], "--with-data goes without --only"),
        (["-S", "train.sed=3"], "train.sed: unknown key; did you mean seed?"),
        (["-S", "train.seed"], "error: -S train.seed: "),
        (["-S", "train.iterations=-3"], "train.iterations: -3 is wrong"),
    ],
)
def test_wrong_options_write_nothing(own, options, message):
    before = own.read_bytes()
    result = invoke("recipe", "use", NAME, "--params", own, "--yes", *options)
    assert result.exit_code == 2
    assert message in result.output
    assert own.read_bytes() == before


def test_use_tells_what_is_wrong_in_the_file(own):
    own.write_text("train:\n  sed: 1\n", encoding="utf-8")
    result = invoke("recipe", "use", NAME, "--params", own, "--yes")
    assert result.exit_code == 2
    assert result.output == f"error: {own}: train.sed: unknown key; did you mean seed?\n"


def test_an_unknown_recipe_is_one_line():
    result = invoke("recipe", "show", "unet-s5-d16_fcn_1xb16-40k_chase")
    assert result.exit_code == 2
    assert result.output.startswith("error: recipe unet-s5-d16_fcn_1xb16-40k_chase: no such recipe; did you mean")


def test_summary_of_a_recipe():
    result = invoke("summary", NAME, "--size", 64, 64)
    assert result.exit_code == 0, result.output
    rows = dict(line.split() for line in result.output.splitlines()[1:6])
    counts = {name: int(count.replace(",", "")) for name, count in rows.items()}
    assert counts["whole"] == counts["trained"] == 29_060_676
    assert counts["backbone"] + counts["decode_head"] + counts["auxiliary_head"] == counts["whole"]
    assert "multiply-adds of one 64x64 image, without auxiliary heads:" in result.output


def test_summary_for_a_script():
    found = json.loads(invoke("summary", NAME, "--size", 64, 64, "--json").output)
    assert found["parameters"] == found["trained"] == sum(found["parts"].values()) == 29_060_676
    assert (found["height"], found["width"]) == (64, 64)
    assert found["multiply_adds"] > 1e9


@pytest.mark.parametrize("size", [(256, 256), (512, 256)])
def test_multiply_adds_grow_with_the_image(trained_folder, size):
    result = invoke("summary", trained_folder, "--size", *size)
    assert result.exit_code == 0, result.output
    per_pixel = float(result.output.split()[-2]) * 1e9 / (size[0] * size[1])
    small = float(invoke("summary", trained_folder, "--size", 256, 256).output.split()[-2]) * 1e9 / 256**2
    assert per_pixel == pytest.approx(small, rel=0.05)


def test_summary_of_nothing():
    assert invoke("summary", "nonsense").exit_code == 2
