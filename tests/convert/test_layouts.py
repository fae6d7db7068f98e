import typing

import numpy as np
import pytest

from maskline.builders.convert import build_layout
from maskline.convert.formats import chase_db1
from maskline.convert.layouts import layout, names, own_layout
from maskline.core.errors import DataError, MasklineError
from maskline.data import manifest
from maskline.download import catalog
from maskline.params.data import DataParams
from tests.sets import index_mask, picture, save


def test_every_set_has_a_layout():
    """Its file alone makes it one: params and layouts look at the folder."""
    known = typing.get_args(DataParams.model_fields["name"].annotation)
    assert list(known) == names()
    assert len(known) == 32
    for name in known:
        assert callable(layout(name))
    assert layout("chase_db1") is chase_db1.read
    assert {name for name in known if catalog.published(name)} < set(known)


def test_an_unknown_set():
    with pytest.raises(DataError, match="unknown data set 'drives'; choose one of ade20k, camvid"):
        layout("drives")


def documented(root):
    """The layout that the documents show."""
    text = (root / "docs/how-to/data-layout.md").read_text(encoding="utf-8")
    return text.split("```python\n")[1].split("```")[0]


def test_the_documented_layout_converts(workspace, root, tmp_path):
    code = documented(root)
    assert len([line for line in code.splitlines() if line.strip()]) < 30
    (workspace.path / "layouts").mkdir()
    (workspace.path / "layouts/slides.py").write_text(code)
    for i, patient in enumerate(("ann", "bob", "cid", "dee")):
        save(picture(i), tmp_path / f"slides/{patient}/a.png")
        save(index_mask(i, values=(0, 7, 9)), tmp_path / f"slides/{patient}/a_labels.png")
    own = {"layout": "layouts/slides.py:slides", "archive": str(tmp_path / "slides"), "classes": []}
    run = workspace.both(**own)
    assert run.code == 0, run.err
    frame, labels = manifest.read(workspace.prepared)
    assert labels.class_names == ("ground", "tumour")
    assert sorted(frame["group"]) == ["ann", "bob", "cid", "dee"]
    expected = np.array(index_mask(0, values=(0, 7, 9)))
    row = frame.set_index("id").loc["ann/a"]
    assert (row["pixels_1"], row["pixels_ignored"]) == ((expected == 7).sum(), (expected == 9).sum())
    (tmp_path / "slides/bob/a.png").unlink()
    run = workspace.both(**own)
    assert (run.code, "mask without an image" in run.err) == (2, True)


@pytest.mark.parametrize(
    ("code", "text", "message"),
    [
        ("def read(", "f.py:read", "cannot be imported"),
        ("x = 1", "f.py:read", "nothing called read in it"),
        ("read = 1", "f.py:read", "no function"),
        ("x = 1", "g.py:read", "no such file"),
        ("x = 1", "f.py", "not of the form"),
        ("def read(folder, settings): return 1", "f.py:read", "returned int"),
    ],
)
def test_own_layouts_that_do_not_work(tmp_path, monkeypatch, settings, code, text, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "f.py").write_text(code)
    with pytest.raises(MasklineError, match=f"data.layout: {text}: {message}"):
        own_layout(text)(tmp_path, settings())


def test_a_map_that_a_set_does_not_read_is_told(caplog):
    mapping = {"0": "a", "1": "b"}
    with caplog.at_level("WARNING", logger="maskline"):
        build_layout(DataParams(name="cvat", mask_values=mapping))
        assert caplog.messages == []
        build_layout(DataParams(name="camvid", mask_values=mapping))
    assert caplog.messages == ["convert: data.mask_values is not read by data.name camvid, whose values are known"]
