"""The files of the user's own code in the receipt of a run, and when its model is loaded again."""

import shutil

import pytest
import torch
from click.testing import CliRunner

from maskline.builders.inference import load_segmentor
from maskline.builders.training import build_training
from maskline.commands.predict import main as predict
from maskline.core import own_code
from maskline.core.errors import CheckpointError
from maskline.data import manifest
from maskline.data.labels import LabelSet
from maskline.params.base.reading import read_yaml
from maskline.params.whole import validate_params
from maskline.runtime import checkpoint
from tests.builders.test_class_weights import row
from tests.sets import picture, save
from tools.trial import TINY

HEAD = """\
from maskline.models.heads.base import Head


class Mine(Head):
    def __init__(self, *, factor=1.0, **options):
        super().__init__(options)
        self.factor = factor
        self.conv_seg = type(self.conv_seg)(self.in_channels, self.num_classes, 1)

    def forward(self, features, previous=None):
        logits = self.factor * self.conv_seg(self.select(features))
        return logits if previous is None else logits + previous

"""
LOSS = """\
from torch.nn import functional as F


def mine(logits, target, ignore_index, *, power=1.0):
    return F.cross_entropy(logits.float(), target, ignore_index=ignore_index) ** power

"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A project's folder with files of the user's own."""
    for name, code in (("heads/mine.py", HEAD), ("losses/mine.py", LOSS)):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(code)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def params(shipped_params):
    """Return a function that gives the shipped params, tiny, with changes of the section model."""

    def made(**model):
        values = read_yaml(shipped_params)
        for key, value in TINY.items():
            section = values
            *path, last = key.split(".")
            for part in path:
                section = section.setdefault(part, {})
            section[last] = value
        values["model"] |= model
        return validate_params(values, place="params.yaml")

    return made


OWN = {"name": "heads/mine.py:Mine", "options": {"factor": 0.5}}


@pytest.fixture
def prepared(folder):
    """Prepared data, as far as building a run reads it, beside the user's own files."""
    labels = LabelSet(class_names=("ground", "thing"), palette=((0, 0, 0), (255, 0, 0)), ignore_index=255)
    manifest.write(folder / "prepared", [row("train", "a", 32000), row("val", "b", 1)], labels)
    return folder / "prepared"


def test_the_receipt_has_the_hash_of_the_files_so_that_no_run_mixes_two_versions(folder, params, prepared):
    def job(**changes):
        return build_training(params(decode_head=OWN | changes), prepared)

    job(losses=[{"name": "losses/mine.py:mine"}])  # whatever is imported late is imported then
    before = job()
    assert before.card["receipt"]["own_code"] == own_code.hashes([OWN["name"]], place="")
    assert job().journal.folder == before.journal.folder
    (folder / "heads/mine.py").write_text(HEAD + "\n")
    edited = job()
    assert edited.journal.folder != before.journal.folder
    assert edited.card["receipt"]["code_sha256"] == before.card["receipt"]["code_sha256"]
    loss = job(losses=[{"name": "losses/mine.py:mine"}])
    assert list(loss.card["receipt"]["own_code"]) == ["heads/mine.py", "losses/mine.py"]
    assert "own_code" not in build_training(params(), prepared).card["receipt"]


def test_a_trained_model_needs_its_file_as_it_was(folder, params, prepared):
    job = build_training(params(decode_head={**OWN, "losses": [{"name": "losses/mine.py:mine"}]}), prepared)
    weights = {name: value.contiguous() for name, value in job.model.state_dict().items()}
    checkpoint.save_model(folder / "models", weights=weights, last=weights, card=job.card)
    (folder / "losses/mine.py").unlink()  # only training needs a loss
    images = torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(load_segmentor(folder / "models")(images), job.model.eval()(images))
    (folder / "heads/mine.py").write_text(HEAD.replace("self.factor *", "2 *"))
    with pytest.raises(CheckpointError, match=r"heads/mine\.py: not what the model was trained with; undo the edit"):
        load_segmentor(folder / "models")
    shutil.rmtree(folder / "heads")
    with pytest.raises(CheckpointError, match=r"heads/mine\.py: no such file, .*; bring it back, or run in"):
        load_segmentor(folder / "models")
    save(picture(0), folder / "eye.png")
    done = CliRunner().invoke(predict, ["models", "eye.png", "--out", "out"])
    assert done.exit_code == 2
    assert done.output.count("\n") == 1
