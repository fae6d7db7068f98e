"""The web folder without a browser: what is in it, the same bytes twice, and where it cannot be made."""

import base64
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from maskline.core.errors import DataError, ExportError
from maskline.data.reading_rule import ReadingRule
from maskline.export import card, package
from maskline.export.onnx_passes import phases
from maskline.export.web import onnxruntime_web, variant
from maskline.reading.bands import to_bytes
from tests.export.web.archive import write_archive
from tests.server import serving

LIMITS = package.Limits(max_disagreement=1e-4, max_metric_change=1e-4)
SOURCE = Path(variant.__file__).parent


@pytest.fixture
def web(tmp_path):
    archive = write_archive(tmp_path / "package.tgz")
    return variant.WebVariant(package=archive, convert=phases.in_phases, limits=LIMITS)


def test_the_folder_has_all_files_and_the_same_bytes_each_time(web, content, tmp_path):
    written = []
    for name in ("one", "two"):
        web.write(tmp_path / name, program=None, content=content)
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        assert {str(path.relative_to(tmp_path / name)) for path in files} == set(web.files)
        written.append([path.read_bytes() for path in files])
    assert written[0] == written[1]
    kept = {f"web/{path.name}" for path in SOURCE.iterdir() if path.suffix in {".html", ".css", ".js"}}
    assert kept < set(web.files)
    assert "Permission is hereby granted" in (tmp_path / "one/web/onnxruntime-LICENSE.txt").read_text()


def test_its_model_passes_the_gate(web, trained, pictures, content, tmp_path):
    web.write(tmp_path, program=None, content=content)
    model = web.open(tmp_path, threads=1)
    seen = package.check_parity(trained.runtime(threads=1), model, pictures, place=tmp_path, limits=LIMITS)
    agreement = {"bytes": 1, **seen}
    text = card.card_text(
        trained, {**agreement, "web": agreement}, variants=(web,), data_set="folder", images=3, scores={}
    )
    assert "python -m http.server -d web" in text
    text = card.card_text(trained, agreement, variants=(), data_set="folder", images=3, scores={})
    assert "http.server" not in text


def test_the_page_may_load_nothing_from_elsewhere_and_runs_no_inline_code():
    page = (SOURCE / "index.html").read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    assert policy.startswith("default-src 'none';")
    assert "unsafe-inline" not in policy
    assert "http" not in policy
    assert not re.search(r"<script(?![^>]* src=)|<style| style=| on[a-z]+=", page)
    for path in SOURCE.iterdir():
        if path.suffix in {".html", ".css", ".js"}:
            assert not re.search(r"https?://|//[a-z0-9-]+\.[a-z]", path.read_text()), path.name


READABLE = {
    "not known": (None, 3),
    "rgb": (ReadingRule(source_bands=(3,), source_types=("uint8",)), 3),
    "gray": (ReadingRule(source_bands=(1,), source_types=("uint8",)), 3),
    "bgr": (ReadingRule(channels=(2, 1, 0), source_bands=(3,)), 3),
    "one channel": (ReadingRule(channels=(0,), source_bands=(1,)), 1),
    "own percentiles": (ReadingRule(image_scale=("p1", "p99.8"), source_types=("uint8",)), 3),
    "8 bits too": (ReadingRule(image_scale="full_range", source_types=("uint8", "uint16")), 3),
}
UNREADABLE = {
    "input of 4": (None, 4, "an input of 4 channels"),
    "infrared": (ReadingRule(channels=(3, 0, 1), source_bands=(4,)), 3, r"channels \[3, 0, 1\] of images of 4 bands"),
    "some of 4": (ReadingRule(channels=(0, 1, 2), source_bands=(4,)), 3, r"channels \[0, 1, 2\] of images of 4 bands"),
    "twelve": (ReadingRule(channels=tuple(range(12)), source_bands=(12,)), 12, "of images of 12 bands"),
    "16 bits": (ReadingRule(image_scale=(500.0, 3500.0), source_types=("uint16",)), 3, "of uint16, scaled from 500"),
}


@pytest.mark.parametrize("name", READABLE)
def test_what_a_browser_reads(name):
    rule, channels = READABLE[name]
    variant.check_readable(rule, channels=channels)


@pytest.mark.parametrize("scale", [("p1", "p99.8"), (0.0, "p90"), ("p5", 140.0), ("p0", "p100"), "error"])
def test_the_page_scales_as_the_library(scale):
    node = shutil.which("node") or pytest.skip("needs node on the path")
    module = base64.b64encode((SOURCE / "image.js").read_bytes()).decode()
    generator = np.random.default_rng(0)
    for height, width, channels in ((1, 1, 3), (7, 30, 3), (40, 50, 1)):
        pixels = generator.normal(90, 40, (height, width, channels)).clip(0, 255).astype(np.uint8)
        program = (
            f"import {{ scaled }} from 'data:text/javascript;base64,{module}';"
            f"const pixels = Uint8Array.from({pixels.ravel().tolist()});"
            f"console.log(JSON.stringify([...scaled(pixels, {channels}, {json.dumps(scale)})]));"
        )
        done = subprocess.run([node, "--input-type=module"], input=program, capture_output=True, text=True, check=True)
        found = np.array(json.loads(done.stdout), np.uint8).reshape(pixels.shape)
        np.testing.assert_array_equal(found, to_bytes(pixels, scale, place="image"))


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_page_that_could_read_no_image_is_not_written(name):
    rule, channels, told = UNREADABLE[name]
    with pytest.raises(ExportError, match=rf"export.variants: web: .*{told}.*; leave web out; example.py"):
        variant.check_readable(rule, channels=channels)


def test_the_package_cannot_be_had_or_is_another(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("maskline.download.transfer._WAITS_S", ())
    with pytest.raises(DataError, match=r"cannot be downloaded .*MASKLINE_MIRROR names, or leave web out of export"):
        onnxruntime_web.obtain(mirror=None, url="http://127.0.0.1:1/onnxruntime-web.tgz")
    with serving(b"another") as server, pytest.raises(DataError, match=r"its integrity is sha512-.*; try again"):
        onnxruntime_web.obtain(mirror=None, url=server.url)
