"""The optimizer explained: a row for each trained tensor, as a table, CSV and image."""

import csv
import json
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from PIL import Image
from ruamel.yaml import YAML

from maskline.commands.explain import main
from maskline.data.dataset import PreparedSplit
from tools.trial import complete_params


class Split(SimpleNamespace):
    def __len__(self):
        return 20


@pytest.fixture
def explain(tmp_path, shipped_params, monkeypatch):
    """Run the command with changed optimizer settings; the prepared data is four images of two classes."""
    split = Split(labels=SimpleNamespace(num_classes=2))
    monkeypatch.setattr(PreparedSplit, "open", lambda *_, **__: split)

    def run(*options, **paramwise):
        values = complete_params(shipped_params)
        values["model"]["backbone"] |= {"base_channels": 4, "num_stages": 2}
        values["optimizer"]["paramwise"] |= paramwise
        values["train"]["iterations"] = 80
        with (tmp_path / "params.yaml").open("w") as stream:
            YAML().dump(values, stream)
        return CliRunner().invoke(main, ["optimizer", "--params", str(tmp_path / "params.yaml"), *options])

    return run


def test_table_csv_and_image(explain, tmp_path):
    table, picture = tmp_path / "groups.csv", tmp_path / "rates.png"
    custom = [{"key": "auxiliary_head", "lr_mult": 10.0, "decay_mult": 1.0}]
    result = explain("--csv", str(table), "--png", str(picture), custom_keys=custom, norm_decay_mult=0.0)
    assert result.exit_code == 0, result.output
    rows = {row["tensor"]: row for row in csv.DictReader(table.read_text().splitlines())}
    assert rows["auxiliary_head.conv_seg.bias"] == {
        "tensor": "auxiliary_head.conv_seg.bias",
        "shape": "2",
        "lr": "0.02",
        "weight_decay": "0.01",
        "rule": "custom_keys.auxiliary_head",
    }
    assert {row["rule"] for row in rows.values()} == {"base", "norm_decay_mult", "custom_keys.auxiliary_head"}
    assert all(name in result.output for name in rows)
    printed = {
        row["tensor"]: row for row in json.loads(explain("--json", custom_keys=custom, norm_decay_mult=0).output)
    }
    assert printed.keys() == rows.keys()
    assert printed["auxiliary_head.conv_seg.bias"]["lr"] == 0.02
    with Image.open(picture) as image:
        assert image.size == (960, 540)
        assert len(image.convert("RGB").getcolors(100000)) > 10
    before = picture.read_bytes()
    explain("--png", str(picture), custom_keys=custom, norm_decay_mult=0.0)
    assert picture.read_bytes() == before


def test_a_rule_without_effect(explain, caplog):
    custom = [{"key": "decode_haed", "lr_mult": 10.0, "decay_mult": 1.0}]
    result = explain(custom_keys=custom)
    assert result.exit_code == 2
    assert "optimizer.paramwise.custom_keys.decode_haed: matches no tensor" in result.output
    assert "nearest names are decode_head" in result.output
    result = explain(custom_keys=custom, strict=False)
    assert result.exit_code == 0
    assert "warning: params.yaml: optimizer.paramwise.custom_keys.decode_haed" in caplog.text
