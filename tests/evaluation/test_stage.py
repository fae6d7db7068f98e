"""The stage as DVC runs it, on an untrained network and synthetic images."""

import csv
import io
import json
import shutil
import subprocess
import sys
from itertools import product

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from ruamel.yaml import YAML

from maskline.builders.model import segmentor
from maskline.convert.shards import ShardWriter
from maskline.data import manifest
from maskline.data.reading_rule import ReadingRule
from maskline.metrics import scores_table
from maskline.params.whole import load_params
from maskline.runtime.checkpoint import save_model
from maskline.runtime.torch_seeds import seed_torch
from stages import evaluate
from tests.evaluation.conftest import TWO, draw
from tests.processes import together
from tools.trial import complete_params

CHANGES = {
    "model.backbone.base_channels": 4,
    "model.backbone.num_stages": 2,
    "model.decode_head.channels": 4,
    "model.auxiliary_heads": [],
    "train.threads": 1,
    "evaluate.bootstrap": 20,
    "evaluate.gallery": 1,
}


def write_params(shipped_params, path, changes):
    values = complete_params(shipped_params)
    for dotted, value in changes.items():
        *sections, key = dotted.split(".")
        place = values
        for section in sections:
            place = place[section]
        place[key] = value
    with path.open("w") as stream:
        YAML().dump(values, stream)


def png(pixels):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG")
    return stream.getvalue()


def write_prepared(folder, split, *, splits=("test",)):
    folder.mkdir()
    shards, rows = ShardWriter(folder), []
    for name, picture in product(splits, split.pictures):
        parts = {"image": picture.image, "mask": picture.mask, "second": picture.second}
        parts["valid"] = picture.valid.astype("uint8") * 255
        rows.append(
            {
                "id": f"{name}-{picture.id}" if len(splits) > 1 else picture.id,
                "split": name,
                "group": f"{name}-{picture.group}" if len(splits) > 1 else picture.group,
                "source": f"{picture.id}.png",
                "height": picture.mask.shape[0],
                "width": picture.mask.shape[1],
                **shards.add({part: png(pixels) for part, pixels in parts.items()}),
                **{f"pixels_{c}": int((picture.mask == c).sum()) for c in range(2)},
                "pixels_ignored": int((picture.mask == 255).sum()),
            }
        )
    manifest.write(folder, rows, split.labels)


@pytest.fixture(scope="module")
def project(shipped_params, tmp_path_factory):
    """A folder with params.yaml, prepared data and an untrained model."""
    folder = tmp_path_factory.mktemp("project")
    write_params(shipped_params, folder / "params.yaml", CHANGES)
    write_prepared(folder / "prepared", draw(TWO, number=4, second=True))
    settings = load_params(folder / "params.yaml")
    seed_torch(0)
    weights = segmentor(settings.model, num_classes=2).state_dict()
    card = {
        "params": settings.model_dump(mode="json", include={"model", "train"}),
        "labels": TWO.to_dict(),
        "preprocessing": {"mean": list(settings.model.mean), "std": list(settings.model.std), "scale": 255},
        "receipt": {},
    }
    save_model(folder / "models", weights=weights, last=weights, card=card)
    return folder


def places(project, out):
    return {
        "params": project / "params.yaml",
        "prepared": project / "prepared",
        "model": project / "models",
        "curves": project / "curves.csv",
        "metrics": out / "metrics.json",
        "scores": out / "scores.csv",
        "per-image": out / "per_image.csv",
        "per-class": out / "per_class.csv",
        "confusion": out / "confusion.csv",
        "conventions": out / "conventions.csv",
        "gallery": out / "gallery",
        "report": out / "report.html",
    }


def tree(made):
    return scores_table.from_csv(made["scores.csv"].decode(), place="scores.csv")


def options(values):
    return [text for name, path in values.items() for text in (f"--{name}", str(path))]


def run(project, out, **changes):
    arguments = options(places(project, out) | changes)
    return CliRunner().invoke(evaluate.main, arguments)


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def share(folder):
    """Be one of several processes that evaluate."""
    torch.set_num_threads(1)
    evaluate.main.main(json.loads((folder / "options.json").read_text()), standalone_mode=False)


def files_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def several(shipped_params, project, tmp_path_factory):
    """Settings with all that is chosen on the val split and all measures, and the files that one process writes."""
    folder = tmp_path_factory.mktemp("several")
    changes = {"evaluate.threshold": "tune", "evaluate.crf.enabled": True, "evaluate.crf.tune": True}
    write_params(shipped_params, folder / "params.yaml", {**CHANGES, **changes})
    write_prepared(folder / "prepared", draw(TWO, number=5, second=True), splits=("test", "val"))
    result = run(project, folder / "alone", params=folder / "params.yaml", prepared=folder / "prepared")
    assert result.exit_code == 0, result.output
    return folder


def test_three_processes_write_the_bytes_of_one(project, several):
    given = places(project, several / "three") | {
        "params": several / "params.yaml",
        "prepared": several / "prepared",
    }
    (several / "options.json").write_text(json.dumps(options(given)))
    together(share, several, count=3)
    assert len(files_of(several / "alone")) >= 6
    assert files_of(several / "three") == files_of(several / "alone")


def test_the_stage_starts_two_processes_that_write_the_bytes_of_one(root, shipped_params, project, several, tmp_path):
    changes = {**CHANGES, "machine.evaluate_devices": 2, "evaluate.device": "cpu"}
    write_params(shipped_params, tmp_path / "params.yaml", changes)
    assert run(project, tmp_path / "alone", params=tmp_path / "params.yaml").exit_code == 0
    given = places(project, tmp_path / "two") | {"params": tmp_path / "params.yaml"}
    command = [sys.executable, "-m", "stages.evaluate", *options(given)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True, timeout=200)
    assert "evaluate: 2 processes (gloo)" in done.stderr
    assert done.stderr.count("evaluate: 4 images of test") == 1
    assert files_of(tmp_path / "two") == files_of(tmp_path / "alone")


def test_writes_the_same_bytes_twice(project, tmp_path):
    for name in ("a", "b"):
        result = run(project, tmp_path / name)
        assert result.exit_code == 0, result.output
    made = files(tmp_path / "a")
    assert made == files(tmp_path / "b")
    assert set(made) == {
        "metrics.json", "scores.csv", "per_image.csv", "per_class.csv", "confusion.csv", "conventions.csv",
        "report.html",
        "gallery/worst_01.jpg", "gallery/median_01.jpg", "gallery/best_01.jpg",
    }  # fmt: skip
    assert set(tree(made)["second_annotator"]["foreground"]) == {
        "Dice", "sensitivity", "specificity",
    }  # fmt: skip


def test_params_choose_window_and_valid_area(shipped_params, project, tmp_path):
    changes = {"evaluate.inference": "slide", "evaluate.window": [16, 16], "evaluate.stride": [12, 12]}
    write_params(shipped_params, tmp_path / "params.yaml", {**CHANGES, **changes, "evaluate.within_valid": True})
    assert run(project, tmp_path / "whole").exit_code == 0
    assert run(project, tmp_path / "slide", params=tmp_path / "params.yaml").exit_code == 0
    whole, slide = files(tmp_path / "whole"), files(tmp_path / "slide")
    assert whole["metrics.json"] != slide["metrics.json"]
    assert b"inside the valid area only" in slide["report.html"]


def test_model_of_other_classes_is_one_line_and_changes_nothing(project, tmp_path):
    card = json.loads((project / "models" / "model.json").read_text())
    card["labels"]["class_names"] = ["background", "disc"]
    other = tmp_path / "models"
    other.mkdir()
    (other / "model.json").write_text(json.dumps(card))
    (other / "model.safetensors").write_bytes((project / "models" / "model.safetensors").read_bytes())
    result = run(project, tmp_path / "out", model=other)
    assert result.exit_code == 2
    assert "was trained with class_names ['background', 'disc']" in result.output
    assert result.output.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_no_model_is_one_line(project, tmp_path):
    result = run(project, tmp_path / "out", model=tmp_path / "none")
    assert result.exit_code == 2
    assert "no such file; train first" in result.output


def test_every_step_and_measure_by_params(shipped_params, project, tmp_path):
    changes = {
        "evaluate.tta.scales": [1.0, 1.25],
        "evaluate.tta.flips": ["none", "horizontal"],
        "evaluate.crf.enabled": True,
        "evaluate.threshold": 0.4,
        "evaluate.min_component_px": 4,
        "evaluate.max_hole_px": 3,
        "evaluate.metrics": "full",
        "evaluate.title": "Eyes of here",
        "evaluate.extra_metrics": ["boundary", "surface", "cldice", "ranking", "calibration"],
    }
    write_params(shipped_params, tmp_path / "params.yaml", CHANGES | changes)
    for name in ("a", "b"):
        result = run(project, tmp_path / name, params=tmp_path / "params.yaml")
        assert result.exit_code == 0, result.output
    made = files(tmp_path / "a")
    assert made == files(tmp_path / "b")
    metrics = tree(made)
    assert set(json.loads(made["metrics.json"])["per_class"]) == set(metrics["per_class"])
    assert b"<h1>Eyes of here</h1>" in made["report.html"]
    assert list(metrics["steps"]) == ["1_network", "2_views", "3_crf", "4_threshold", "5_cleanup"]
    assert metrics["steps"]["5_cleanup"]["mIoU"] == metrics["mIoU"]
    assert metrics["threshold"] == 0.4
    assert {"AUC", "AP", "ECE"} <= set(metrics["measures"])


@pytest.mark.parametrize(
    "change",
    [
        {"evaluate.threshold": "tune"},
        {"evaluate.crf.enabled": True, "evaluate.crf.tune": True},
        {"evaluate.guarantee": {"at_most": 0.5}},
    ],
)
def test_no_val_split_to_tune_on_is_one_line(shipped_params, project, tmp_path, change):
    write_params(shipped_params, tmp_path / "params.yaml", {**CHANGES, **change})
    result = run(project, tmp_path / "out", params=tmp_path / "params.yaml")
    assert result.exit_code == 2
    assert "no images in the split val" in result.output
    assert result.output.count("\n") == 1


def test_a_promise_is_kept_on_val_and_held_against_test(shipped_params, project, several, tmp_path, caplog):
    write_params(shipped_params, tmp_path / "params.yaml", {**CHANGES, "evaluate.guarantee": {"at_most": 0.5}})
    given = {"params": tmp_path / "params.yaml", "prepared": several / "prepared"}
    result = run(project, tmp_path / "out", **given)
    assert result.exit_code == 0, result.output
    metrics = tree(files(tmp_path / "out"))
    rows = list(csv.DictReader((tmp_path / "out" / "per_image.csv").read_text().splitlines()))
    missed = np.mean([1 - float(row["sensitivity"]) for row in rows])
    assert metrics["guarantee"] == {"at_most": 0.5, "images": 5, "miss_rate": pytest.approx(missed, abs=1e-5)}
    # val holds the images of test, so the bound that chose the threshold can be told from the scores
    assert (5 * missed + 1) / 6 <= 0.5
    assert f"Seen on the test split: {missed:.1%}." in files(tmp_path / "out")["report.html"].decode()
    assert "(promised: 0.5 at most)" in caplog.text


def test_every_convention_side_by_side(shipped_params, project, several, tmp_path):
    changes = {"evaluate.conventions": True, "evaluate.conventions_size": [12, 18]}
    write_params(shipped_params, tmp_path / "params.yaml", CHANGES | changes)
    given = {"params": tmp_path / "params.yaml", "prepared": several / "prepared"}
    result = run(project, tmp_path / "out", **given)
    assert result.exit_code == 0, result.output
    made = files(tmp_path / "out")
    metrics, rows = tree(made), list(csv.DictReader(made["conventions.csv"].decode().splitlines()))
    assert len(rows) == len({row["convention"] for row in rows}) == 16
    by_name = {row["convention"]: row for row in rows}
    plain = by_name["the more likely class, whole image, native, pooled over pixels"]
    assert float(plain["Dice"]) == metrics["foreground"]["Dice"]
    assert float(plain["mIoU"]) == metrics["mIoU"]
    inside = by_name["the more likely class, inside the valid area, native, pooled over pixels"]
    assert float(inside["Dice"]) == metrics["valid_area"]["inside"]["Dice"]
    images = list(csv.DictReader(made["per_image.csv"].decode().splitlines()))
    mean = by_name["the more likely class, whole image, native, mean over images"]
    assert float(mean["Dice"]) == pytest.approx(np.mean([float(row["Dice"]) for row in images]), abs=1e-6)
    tuned = by_name["threshold tuned on val, whole image, native, pooled over pixels"]
    assert float(tuned["Dice"]) >= float(plain["Dice"])  # val holds the images of test
    assert by_name["the more likely class, whole image, 12 x 18 px, pooled over pixels"]["Dice"] != plain["Dice"]
    assert "Under every convention" in made["report.html"].decode()


def test_too_few_images_for_a_promise_is_one_line(shipped_params, project, several, tmp_path):
    write_params(shipped_params, tmp_path / "params.yaml", {**CHANGES, "evaluate.guarantee": {"at_most": 0.1}})
    given = {"params": tmp_path / "params.yaml", "prepared": several / "prepared"}
    result = run(project, tmp_path / "out", **given)
    assert result.exit_code == 2
    assert "a miss rate of at most 0.1 needs 9 val images, there are 5" in result.output
    assert result.output.count("\n") == 1


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"evaluate.threshold": "tune"}, "evaluate.threshold"),
        ({"evaluate.crf.enabled": True, "evaluate.crf.tune": True}, "evaluate.crf.tune"),
        ({"evaluate.guarantee": {"at_most": 0.5}}, "evaluate.guarantee"),
    ],
)
def test_val_never_chooses_and_scores(shipped_params, project, tmp_path, change, key):
    shutil.copytree(project / "prepared", tmp_path / "prepared")
    table = tmp_path / "prepared" / "manifest.csv"
    table.write_text(table.read_text().replace(",test,", ",val,"))
    write_params(shipped_params, tmp_path / "params.yaml", {**CHANGES, **change})
    result = run(project, tmp_path / "out", params=tmp_path / "params.yaml", prepared=tmp_path / "prepared")
    assert result.exit_code == 2
    assert f"{key}: it would be chosen on the val split, which is the one that is scored" in result.output
    assert result.output.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_set_read_in_another_way_is_refused(project, tmp_path):
    for name in ("prepared", "models"):
        shutil.copytree(project / name, tmp_path / name)
    card = json.loads((project / "models" / "model.json").read_text())
    card["reading"] = ReadingRule(channels=(2, 1, 0)).to_dict()
    (tmp_path / "models" / "model.json").write_text(json.dumps(card))
    ReadingRule(channels=(0, 1, 2)).write(tmp_path / "prepared")
    places = {"prepared": tmp_path / "prepared", "model": tmp_path / "models"}
    result = run(project, tmp_path / "out", **places)
    assert result.exit_code == 2
    assert "was trained with channels (2, 1, 0), the prepared data has (0, 1, 2); train again" in result.output


def test_bf16_scores_nearly_the_same(shipped_params, project, tmp_path):
    found = {}
    for precision in ("fp32", "bf16"):
        write_params(shipped_params, tmp_path / "params.yaml", {**CHANGES, "evaluate.precision": precision})
        result = run(project, tmp_path / precision, params=tmp_path / "params.yaml")
        assert result.exit_code == 0, result.output
        found[precision] = json.loads(files(tmp_path / precision)["metrics.json"])["aAcc"]
    assert found["bf16"] == pytest.approx(found["fp32"], abs=0.02)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_no_gpu_is_one_line(shipped_params, project, tmp_path):
    write_params(shipped_params, tmp_path / "params.yaml", {**CHANGES, "evaluate.device": "cuda"})
    result = run(project, tmp_path / "out", params=tmp_path / "params.yaml")
    assert result.exit_code == 2
    assert "evaluate.device: cuda, but torch sees no GPU here; set evaluate.device to auto or cpu" in result.output
    assert result.output.count("\n") == 1
