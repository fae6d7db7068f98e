"""Models of experiments joined: fetched once, scored on the test split, one model and one exported file."""

import json
import shutil

import pytest
import torch

from maskline.analysis.ensembles import join_experiments
from maskline.builders.inference import load_segmentor
from maskline.data.labels import LabelSet
from tests.builders.test_training import SMALL, save, settings, tiny_set

LABELS = LabelSet(class_names=("c0", "c1"), palette=((0, 0, 0), (0, 0, 0)))


def test_one_model_and_one_file_of_all(shipped_params, tmp_path, monkeypatch):
    made = settings(
        shipped_params, **SMALL, evaluate__bootstrap=0, export__max_disagreement=0.01, export__max_metric_change=0.01
    )
    monkeypatch.setattr("maskline.analysis.experiments.find_commit", lambda ref: ref)
    kept, asked = tmp_path / "cache", []
    for seed in range(2):
        save(kept / f"seed-{seed}" / "data" / "models", made, 2)
    prepared = kept / "seed-0" / "data" / "prepared"
    prepared.mkdir()
    tiny_set(prepared, LABELS, {"a": "test", "b": "train", "c": "val"})

    def dvc(arguments):
        values = dict(zip(arguments[4::2], arguments[5::2], strict=True))
        asked.append(arguments[3])
        shutil.copytree(kept / values["--rev"].rsplit("/", maxsplit=1)[1] / arguments[3], values["--out"])
        return 0

    refs = {f"seed-{seed}": f"refs/exps/01/23456789/seed-{seed}" for seed in range(2)}
    joined = join_experiments(made, refs, tmp_path / "out", run=dvc)
    assert joined.split == "test"
    assert asked == ["data/models", "data/models", "data/prepared"]
    assert json.loads((tmp_path / "out" / "scores.json").read_text()) == joined.as_dict()
    # Both are of the same weights, and so is their mean, but for a pixel whose classes are as likely.
    first, second = (member["mIoU"] for member in joined.members)
    assert first == second == pytest.approx(joined.ensemble["mIoU"], abs=1e-3)
    image = torch.randn(1, 3, 48, 64)
    one, both = load_segmentor(kept / "seed-0" / "data" / "models"), load_segmentor(tmp_path / "out" / "model")
    torch.testing.assert_close(both(image).softmax(1), one(image).softmax(1))
    assert (tmp_path / "out" / "export" / "model.onnx").is_file()
    join_experiments(made, refs, tmp_path / "out", run=dvc)
    assert len(asked) == 3, "what is there is not fetched again"
