"""Tiny data sets in folders and archives, and runs of the two data stages."""

import copy
import logging
import sys

import pytest
from click.testing import CliRunner
from ruamel.yaml import YAML

from maskline.cli import whole_params
from maskline.cli.entry import log
from maskline.convert.records import LayoutSettings
from maskline.params import check
from tests.sets import TWO_CLASSES, Run, index_mask, picture, save
from tools.trial import complete_params


@pytest.fixture
def settings():
    """LayoutSettings with some fields changed."""

    def make(**changes):
        values = {
            "classes": TWO_CLASSES,
            "ignore_index": 255,
            "mask_encoding": "index",
            "exif": "error",
            "alpha": "error",
            "channels": None,
            "scale": "error",
        }
        return LayoutSettings(**{**values, **changes})

    return make


@pytest.fixture
def make_set(tmp_path):
    """Write a folder set; ``splits``: name of the split ('' for none) -> number of images."""

    def make(splits=None, name="set"):
        folder = tmp_path / name
        for k, (split, count) in enumerate((splits or {"train": 4, "test": 2}).items()):
            for i in range(count):
                save(picture(100 * k + i), folder / split / "images" / f"{i:02d}.png")
                save(index_mask(100 * k + i), folder / split / "masks" / f"{i:02d}.png")
        return folder

    return make


def check_here(path):
    """What ``check_whole`` does, without a process of its own, which takes a second; nothing is logged there."""
    logging.disable(logging.CRITICAL)
    try:
        code = check.main(path)
    finally:
        logging.disable(logging.NOTSET)
    if code:
        sys.exit(code)


@pytest.fixture
def workspace(tmp_path, monkeypatch, shipped_params):
    """Run download and convert in an empty working folder with a params file of our own."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MASKLINE_MIRROR", raising=False)
    monkeypatch.delenv("DVC_STAGE", raising=False)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(log, "handlers", [])
    monkeypatch.setattr(whole_params, "check_whole", check_here)
    base = complete_params(shipped_params)

    class Workspace:
        path = folder
        raw = folder / "data/raw"
        prepared = folder / "data/prepared"
        problems = folder / ".maskline/convert_problems.csv"

        def params(self, **data):
            values = copy.deepcopy(base)
            values["data"] |= {
                "name": "folder",
                "classes": [{"name": n, "color": list(c)} for n, c in TWO_CLASSES],
                **data,
            }
            with (folder / "params.yaml").open("w") as stream:
                YAML().dump(values, stream)

        def run(self, stage, *options):
            module = __import__(f"stages.{stage}", fromlist=["main"])
            result = CliRunner().invoke(module.main, list(map(str, options)))
            log.handlers.clear()  # bound to the runner's stderr
            if result.exception and not isinstance(result.exception, SystemExit):
                raise result.exception
            return Run(result.exit_code, result.stderr, result.exception)

        def download(self, **data):
            self.params(**data)
            return self.run("download")

        def both(self, **data):
            first = self.download(**data)
            return first if first.code else self.run("convert")

    return Workspace()
