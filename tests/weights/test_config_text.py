"""Configurations are parsed and never run."""

import pytest

from maskline.core.errors import CheckpointError
from maskline.weights.config_text import parse_config, read_config

TEXT = '''
"""Written by print_config."""
norm_cfg = dict(type='SyncBN', requires_grad=True)
model = dict(
    type='EncoderDecoder',
    pretrained=None,
    backbone=dict(strides=(1, 2, 1, 1), drop=-0.5, **norm_cfg),
    heads=[dict(norm_cfg=norm_cfg)])
eta = {'min': 1e-4}
'''


def test_literals_calls_of_dict_and_earlier_names():
    assert parse_config(TEXT, place="config.py") == {
        "norm_cfg": {"type": "SyncBN", "requires_grad": True},
        "model": {
            "type": "EncoderDecoder",
            "pretrained": None,
            "backbone": {"strides": [1, 2, 1, 1], "drop": -0.5, "type": "SyncBN", "requires_grad": True},
            "heads": [{"norm_cfg": {"type": "SyncBN", "requires_grad": True}}],
        },
        "eta": {"min": 1e-4},
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import os", "line 1 is code"),
        ("a = 1\nb = open('x')", "line 2 is code"),
        ("a = dict(1)", "line 1 is code"),
        ("a = unknown", r"line 1 is code \(unknown\)"),
        ("a = [x for x in (1, 2)]", "line 1 is code"),
        ("a = (", "not a configuration"),
        ("_base_ = ['../x.py']", "_base_ points to other files"),
        ("a = " + "[" * 5000 + "]" * 5000, "not a configuration"),
        ("a = -'x'", "not a configuration"),
        ("a = {[]: 1}", "not a configuration"),
    ],
)
def test_anything_else_is_refused(text, message):
    with pytest.raises(CheckpointError, match=message) as caught:
        parse_config(text, place="config.py")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("c.json", b"{", "not JSON"),
        ("c.json", b"[]", "not a mapping"),
        ("c.py", b"\xff\xfe", "cannot be read"),
    ],
)
def test_damaged_files(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        read_config(tmp_path / name)
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_config(tmp_path / "absent.py")


DOUBLING = "a0 = ['x', 'x']\n" + "".join(f"a{i} = [{', '.join([f'a{i - 1}'] * 10)}]\n" for i in range(1, 12))


@pytest.mark.parametrize(
    "text",
    [
        DOUBLING,  # 10**11 values, each of which stands there once
        f"a = '{'x' * 100_000}'\nb = [{'a, ' * 10_000}]",
        f"a = dict({', '.join(f'k{i}=1' for i in range(2000))})\nb = [{'dict(**a), ' * 2000}]",
        "a = " + "-" * 50_000 + "1",
        "a = " + "[" * 60 + "]" * 60,
        "a = 1\n" * 300_000,
    ],
)
def test_no_text_makes_more_than_a_configuration_has(tmp_path, text):
    with pytest.raises(CheckpointError, match=r"more than 100000 values|too deep|too large") as caught:
        parse_config(text, place="config.py")
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("depth", [60, 50_000])
def test_json_of_many_levels(tmp_path, depth):
    (tmp_path / "c.json").write_text('{"a": ' + "[" * depth + "]" * depth + "}")
    with pytest.raises(CheckpointError, match=r"levels|not JSON"):
        read_config(tmp_path / "c.json")
