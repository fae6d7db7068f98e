"""A set of train and val alone, as its makers publish it, from dvc repro to the model card without an edit."""

import json
import subprocess
import sys

import pytest

from tools.trial import TINY, copy_of


@pytest.mark.pipeline
def test_loveda_to_the_model_card(root, shared_cases, tmp_path):
    drawn = tmp_path / "loveda"
    program = shared_cases / "61_loveda_train_and_val_only.py"
    subprocess.run([sys.executable, str(program), str(drawn)], cwd=shared_cases, check=True)
    limits = {"export.max_disagreement": 1.0, "export.max_metric_change": 1.0}
    set_ = {"data.name": "loveda", "data.archive": str(drawn), "augment.crop_size": [48, 48]}
    project = copy_of(root, tmp_path, {**TINY, **limits, **set_})
    for stage in ("download", "convert", "train", "evaluate", "export"):  # as dvc repro runs them
        project.run("python", "-m", f"stages.{stage}")
    scores = json.loads((project.folder / "reports/evaluate/metrics.json").read_text())
    assert '\n"fp32, val",fp32,val,6,' in (project.folder / "reports/export/agreement.csv").read_text()
    card = (project.folder / "data/export/README.md").read_text()
    assert "scores are of 6 val images, which training has\nnot learned from; but it chose its weights" in card
    assert "mIoU on the val split" in card
    assert f"| mIoU | {scores['mIoU']:.4f} |" in card
