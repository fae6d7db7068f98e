"""The page of results is that of the committed runs, and each run can be repeated from what it says."""

import json
import re
import shlex

import pytest

from maskline.core.errors import DataError
from maskline.params.whole import load_params
from maskline.projects import recipes
from maskline.projects.overrides import with_overrides
from tools import results
from tools import run_recipe as run_recipe_module
from tools.recipe_measured import MEASURED, Measured
from tools.run_recipe import main as run_recipe

SCORES = (0.81, 0.79, 0.80)


def write(folder, *, recipe="thin", seeds=SCORES, hits=90, settings=(), train=20):
    """Write made runs of two images; the second class has ``hits`` of 100 labelled pixels right."""
    for seed, score in enumerate(seeds):
        content = {
            "recipe": recipe,
            "seed": seed,
            "settings": list(settings),
            "commit": "0123456789abcdef",
            "data": {
                "name": "chase_db1",
                "archive": "eyes.zip",
                "sha256": "f" * 64,
                "images": {"test": 2, "train": train, "val": 0},
                "evaluated": "test",
            },
            "seconds": {"convert": 6.2, "train_and_evaluate": 900.0, "total": 906.2, "cpu": 1700.0, "training": 850.0},
            "threads": 2,
            "hardware": {"processor": "Some CPU", "cores": 2, "memory_gib": 8},
            "receipt": {"device": "cpu", "device_name": "x", "precision": "bf16", "libraries": {"torch": "2.13.0"}},
            "metrics": {
                "mIoU": 0.7,
                "foreground": {"Dice": score},
                "second_annotator": {"foreground": {"Dice": 0.797}},
                "uncertainty_95": {
                    "foreground": {"Dice": {"low": score - 0.01, "high": score + 0.01}},
                    "second_annotator": {"foreground": {"Dice": {"low": 0.78, "high": 0.81}}},
                },
            },
        }
        target = folder / recipe / f"seed-{seed}.json"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(content), encoding="utf-8")
        names = [f"{what}_{key}" for what in ("hits", "labelled", "predicted") for key in ("ground", "vessel")]
        rows = [f"{i},{i},900,{hits - i},900,100,{1000 - hits},{hits}" for i in range(2)]
        target.with_suffix(".csv").write_text("\n".join([",".join(["id", "group", *names]), *rows]), encoding="utf-8")


def test_the_page_is_fresh(root):
    made = results.page(root / "results")
    assert (root / "docs/results.md").read_text(encoding="utf-8") == made, "run: make results"


def test_every_recipe_of_ours_is_on_it(root):
    text = (root / "docs/results.md").read_text(encoding="utf-8")
    for name in MEASURED:
        assert f"Recipe `{name}`." in text


def test_every_command_on_it_can_be_given(root, tmp_path):
    text = (root / "docs/results.md").read_text(encoding="utf-8")
    commands = re.findall(r"`(python -m tools\.run_recipe [^`]+)`", text)
    assert len(commands) >= len(MEASURED)
    for command in commands:
        context = run_recipe.make_context("run_recipe", shlex.split(command)[3:])
        given = context.params
        source = recipes.find(given["recipe"])
        changed = with_overrides(source.read_text(encoding="utf-8"), given["overrides"], place=command)
        (tmp_path / "params.yaml").write_text(changed, encoding="utf-8")
        assert load_params(tmp_path / "params.yaml").model


def test_no_run_names_the_machine_or_a_path(root):
    for run in results.read(root / "results"):
        assert "/" not in run.content["data"]["archive"]
        assert '"/' not in run.place.read_text(encoding="utf-8"), run.place


def test_a_table_of_three_seeds(tmp_path):
    write(tmp_path)
    text = results.page(tmp_path)
    assert "| 0 | 0.8100 | 0.8000 to 0.8200 | 906 | 6 | 900 | 1700 | `0123456789` |" in text
    assert "- 3 seeds: median 0.8000, smallest 0.7900, largest 0.8100" in text
    assert "A second observer against the first, same images: Dice 0.7970 (95 % interval 0.7800 to 0.8100)" in text
    assert "vessel Dice 0.8024 to 0.8047" in text
    assert "2 test, 20 train; scored are the 2 of `test`" in text
    assert "`python -m tools.run_recipe thin --seed 0 --data eyes.zip`" in text
    assert "Some CPU, 2 cores, 8 GiB, train.threads 2, bf16, torch 2.13.0" in text
    assert "| `thin` | eyes.zip | 20, 2 | Dice 0.8000 | 3: 0.7900 to 0.8100 | 0.7970 | 15.1 |" in text


def test_a_long_setting_stands_in_the_command_alone(tmp_path):
    images = "data.split_lists.train=[" + ", ".join(f"image_{number:02d}" for number in range(9)) + "]"
    write(tmp_path, seeds=SCORES[:1], settings=[images])
    text = results.page(tmp_path)
    assert "| `thin` | eyes.zip `data.split_lists.train=...` |" in text
    assert "\n### eyes.zip data.split_lists.train=...\n" in text
    assert f"-S '{images}'" in text


def test_one_seed_is_called_one_seed(tmp_path):
    write(tmp_path, seeds=SCORES[:1])
    assert "- One seed: how far another would be from it is not known" in results.page(tmp_path)


def test_images_of_one_group_are_told(tmp_path):
    write(tmp_path, seeds=SCORES[:1])
    assert "scored are the 2 of `test`. Archive" in results.page(tmp_path)
    table = tmp_path / "thin/seed-0.csv"
    table.write_text(table.read_text(encoding="utf-8").replace("\n1,1,", "\n1,0,"), encoding="utf-8")
    assert "scored are the 2 of `test`, of 1 kinds or people. Archive" in results.page(tmp_path)


def test_runs_with_other_settings_have_a_table_of_their_own(tmp_path):
    write(tmp_path)
    write(tmp_path / "other", settings=("data.name=drive", "augment.crop_size=[64,64]"))
    text = results.page(tmp_path)
    assert text.count("### eyes.zip") == 2
    assert "### eyes.zip data.name=drive augment.crop_size=[64,64]" in text
    assert "--data eyes.zip -S data.name=drive -S 'augment.crop_size=[64,64]'`" in text


def test_what_differs_in_one_thing_is_compared_image_by_image(tmp_path, monkeypatch):
    recipe = Measured(title="Two", about="Both.", changes={}, archive="eyes.zip", beside="without")
    monkeypatch.setattr(results, "MEASURED", {"with": recipe})
    write(tmp_path, recipe="with", seeds=SCORES[:1], hits=90)
    write(tmp_path, recipe="without", seeds=SCORES, hits=60)
    text = results.page(tmp_path)
    # Dice of summed counts: 2 x 179 / (200 + 180) less 2 x 119 / (200 + 120).
    assert "- Minus `without`, seed 0, image by image: Dice +0.1984 (95 % interval" in text
    assert text.count("- Minus") == 1


def test_runs_on_fewer_images_say_what_a_label_buys(tmp_path):
    write(tmp_path, hits=90)
    for number, hits, seeds in ((5, 60, SCORES[:2]), (10, 80, SCORES[:1])):
        few = tmp_path / f"few-{number}"
        write(few, seeds=seeds, hits=hits, settings=[f"++data.train_images={number}"], train=number)
    write(tmp_path / "else", settings=["data.name=drive"])
    write(tmp_path / "all", settings=["+data.train_images=20"], seeds=[0.8])
    text = results.page(tmp_path)
    assert text.count("### What another label buys: eyes.zip") == 1
    rows = text.partition("### What another")[2].split("\n\n")[2].splitlines()[2:]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert [row[:3] for row in cells] == [["5", "0.8000", "2"], ["10", "0.8100", "1"], ["20", "0.8000", "4"]]
    assert cells[0][3:] == ["0.8000 to 0.8200", "", ""]
    # Dice of summed counts: 2 x 159 / (200 + 160) less 2 x 119 / (200 + 120), by five images.
    assert cells[1][4].startswith("+0.1396 (95 % interval +")
    assert cells[1][5] == "+0.0279"
    assert cells[2][4].startswith("+0.0588 (")


def test_a_run_with_settings_takes_no_other_runs_place(tmp_path):
    settings = ("data.train_images=5", "augment.crop_size=[64, 64]")
    assert [run_recipe_module._slug(word) for word in settings] == ["train_images-5", "crop_size-64-64"]
    write(tmp_path, settings=["model.backbone.name=unet"])
    target = tmp_path / "thin/seed-0.json"
    run_recipe_module._check_replaceable(target, ("model.backbone.name=unet",))
    with pytest.raises(DataError, match="holds a run with other settings; give -o another file"):
        run_recipe_module._check_replaceable(target, ("model.decode_head.name=unet",))


def test_a_recipe_without_runs_gives_its_command(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "MEASURED", {"new": Measured(title="New", about="It.", changes={}, archive="a.zip")})
    text = results.page(tmp_path)
    assert "No run is committed yet. To make one: `python -m tools.run_recipe new --seed 0 --data a.zip`" in text


@pytest.mark.pipeline
def test_a_run_in_a_clone(root, shared_data, tmp_path):
    small = ["model.backbone.base_channels=4", "train.iterations=2", "train.val_every=2", "train.batch_size=2"]
    small += ["evaluate.window=[512,512]", "evaluate.stride=[512,512]", "evaluate.bootstrap=20", "train.threads=1"]
    words = [word for setting in small for word in ("-S", setting)]
    recipe, target = "unet-s5-d16_fcn_1xb16-40k_chase-db1-128x128", tmp_path / "runs/seed-3.json"
    archive = str(shared_data / "CHASEDB1.zip")
    run_recipe.main([recipe, "--seed", "3", "--data", archive, "-o", str(target), *words], standalone_mode=False)
    (run,) = results.read(tmp_path / "runs")
    assert run.content["data"]["images"] == {"test": 8, "train": 16, "val": 4}
    assert run.content["seconds"]["total"] > run.content["seconds"]["train_and_evaluate"] > 0
    assert f"`{run.content['commit'][:10]}`" in results.page(tmp_path / "runs")
    assert str(tmp_path) not in target.read_text(encoding="utf-8")
