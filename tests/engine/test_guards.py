"""The page's lines for a saved batch work on what a run saves."""

import re

import torch

from maskline.builders.model import segmentor
from maskline.engine.guards import REPLAY_FILE, is_out_of_memory
from maskline.params.whole import load_params


def test_the_lines_of_the_page_show_what_is_not_finite(root, shipped_params, tmp_path, monkeypatch, capsys):
    page = (root / "docs/how-to/training.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text((shipped_params).read_text(encoding="utf-8"), encoding="utf-8")
    model = segmentor(load_params(tmp_path / "params.yaml").model, num_classes=2)
    torch.nn.init.constant_(model.decode_head.conv_seg.bias, float("nan"))
    content = {
        "images": [torch.randn(2, 3, 32, 32)],
        "targets": [torch.zeros(2, 32, 32, dtype=torch.int64)],
        "model": model.state_dict(),
    }
    torch.save(content, tmp_path / REPLAY_FILE)
    exec(compile(code, "training.md", "exec"), {})
    assert capsys.readouterr().out.splitlines() == [
        "auxiliary_head.0 [True, True]",
        "decode_head [False, False]",
    ]


def test_what_is_no_lack_of_memory():
    assert not is_out_of_memory(RuntimeError("else"))
