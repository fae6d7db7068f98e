"""``maskline replay``: the network's own input on disk, beside what a person looks at."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import load_file

from maskline.builders.augment import build_batches
from maskline.commands.replay import main
from maskline.data.dataset import PreparedSplit
from maskline.params.whole import load_params
from tools.trial import write_params

VALUES = {
    "data.synthetic.num_train": 6,
    "data.val_fraction": 0.34,
    "data.synthetic.num_test": 2,
    "data.synthetic.size": 96,
    "augment.crop_size": [48, 64],
    "augment.perspective.prob": 0.5,
    "augment.elastic.prob": 0.5,
    "augment.erase.prob": 0.5,
    "augment.cutmix.prob": 0.5,
    "augment.mixup.prob": 0.5,
    "augment.photometric.mode": "mmseg",
    "train.batch_size": 3,
    "train.accumulate": 2,
    "train.iterations": 5,
    "schedule.warmup_length": 0,
}


@pytest.fixture(scope="module")
def project(shipped_params, tmp_path_factory):
    """Settings and prepared data."""
    from stages import convert, download

    folder = tmp_path_factory.mktemp("replay")
    (folder / "params.yaml").write_bytes((shipped_params).read_bytes())
    write_params(folder / "params.yaml", VALUES)
    shared = ["--params", str(folder / "params.yaml"), "--raw", str(folder / "raw")]
    download.main(shared, standalone_mode=False)
    made = []
    for option in convert.main.params:
        if option.name not in {"params_path", "raw"}:
            made += [option.opts[0], str(folder / option.name)]
    convert.main([*shared, *made], standalone_mode=False)
    return folder


def replay(project, *arguments):
    options = ["--params", str(project / "params.yaml"), "--prepared", str(project / "prepared")]
    return CliRunner().invoke(main, [*map(str, arguments), *options])


def test_what_is_written_is_what_training_gets(project, tmp_path):
    settings = load_params(project / "params.yaml")
    split = PreparedSplit.open(project / "prepared", "train", cache="ram")
    batches = build_batches(split, augment=settings.augment, look=settings.model, train=settings.train)
    second = batches.augmentation.apply(batches.batch(2 * 2 + 1), torch.device("cpu"))
    done = replay(project, 2, 4, "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    tensors = load_file(tmp_path / "out" / "input.safetensors")
    assert torch.equal(tensors["image"], second.images[1])
    assert torch.equal(tensors["target"], second.targets[1])
    assert ("other_target" in tensors) == (second.other_targets is not None)
    np.testing.assert_array_equal(np.array(Image.open(tmp_path / "out" / "mask.png")), second.targets[1].numpy())
    gray = np.array(Image.open(tmp_path / "out" / "image.png")).astype(float)
    back = second.images[1].permute(1, 2, 0).numpy() * settings.model.std + settings.model.mean
    assert np.abs(gray - back).max() <= 0.51


def test_the_drawn_parameters_are_printed_and_kept(project, tmp_path):
    done = replay(project, 0, 1, "-o", tmp_path / "out")
    printed = json.loads(done.stdout)
    assert printed == json.loads((tmp_path / "out" / "params.json").read_text())
    assert (printed["iteration"], printed["position"]) == (0, 1)
    assert printed["geometry"]["scaled_size"]
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"before-after.png", "image.png", "mask.png"}


def test_the_preview_says_the_same(project, tmp_path):
    from stages import augment_preview

    paths = {name: tmp_path / name for name in ("picture.png", "draws.json")}
    options = ["--params", str(project / "params.yaml"), "--prepared", str(project / "prepared")]
    targets = ["--picture", str(paths["picture.png"]), "--draws", str(paths["draws.json"])]
    augment_preview.main([*options, *targets], standalone_mode=False)
    shown = json.loads(paths["draws.json"].read_text())
    assert [(each["iteration"], each["position"]) for each in shown] == [divmod(i, 6) for i in range(8)]
    for each in shown[::3]:
        done = replay(project, each["iteration"], each["position"], "-o", tmp_path / "out")
        assert json.loads(done.stdout) == each


def test_twice_gives_the_same_bytes(project, tmp_path):
    for name in ("one", "two"):
        assert replay(project, 1, 3, "-o", tmp_path / name).exit_code == 0
    for path in sorted((tmp_path / "one").iterdir()):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


@pytest.mark.parametrize(
    ("place", "message"),
    [((5, 0), "replay: ITERATION: 5, but there are 5; give 0 to 4"), ((0, 6), "POSITION: 6, but there are 6")],
)
def test_a_sample_that_no_training_sees(project, place, message, tmp_path):
    done = replay(project, *place, "-o", tmp_path / "out")
    assert done.exit_code == 2
    assert message in done.stderr
    assert not (tmp_path / "out").exists()


def test_the_folder_is_named_after_the_sample(project, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert replay(project, 0, 2).exit_code == 0
    assert Path("replay-0-2/params.json").is_file()
