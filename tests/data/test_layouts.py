import typing

import pytest

from maskline.data import catalog
from maskline.data.formats import chase_db1
from maskline.data.layouts import layout
from maskline.errors import DataError
from maskline.params import DataParams


def test_every_set_has_a_layout_and_a_source():
    for name in typing.get_args(DataParams.model_fields["name"].annotation):
        assert callable(layout(name))
        catalog.published(name)  # None or an archive; an unknown name raises
    assert layout("chase_db1") is chase_db1.read


def test_an_unknown_set():
    with pytest.raises(DataError, match="unknown data set 'drives'; choose one of ade20k, camvid"):
        layout("drives")
