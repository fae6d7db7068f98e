"""predict --stream, and the steps that evaluate lets follow the network."""

import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from maskline.data.reading_rule import ReadingRule
from maskline.predict import predict_stream
from tests.commands.test_predict import pixels, run, table
from tools.stream_memory import measure
from tools.trial import complete_params

SLIDE = {"inference": "slide", "window": [32, 48], "stride": [20, 30], "window_weights": "gaussian"}


@pytest.fixture
def large(tmp_path):
    path = tmp_path / "large.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 110, 3)).astype(np.uint8)).save(path)
    return path


def settings(shipped_params, folder, **changes):
    values = complete_params(shipped_params)
    values["evaluate"] |= SLIDE | changes
    path = folder / "params.yaml"
    path.write_text(json.dumps(values))
    return ("--params", path)


def test_by_rows_as_in_memory(shipped_params, trained_folder, large, tmp_path):
    options = settings(shipped_params, tmp_path)
    assert run(trained_folder, large, out=tmp_path / "whole", options=options).exit_code == 0
    result = run(trained_folder, large, out=tmp_path / "rows", options=(*options, "--stream"))
    assert result.exit_code == 0, result.output
    for kind in ("index", "palette"):
        one, other = (tmp_path / name / kind / "large.png" for name in ("whole", "rows"))
        np.testing.assert_array_equal(pixels(one, mode="RGB"), pixels(other, mode="RGB"))
    assert len(np.unique(pixels(tmp_path / "rows" / "index" / "large.png"))) == 2
    assert table(tmp_path / "whole") == table(tmp_path / "rows")
    assert "0 of 1 images were new" in run_again(trained_folder, large, tmp_path, options)


def run_again(model, large, folder, options):
    import logging

    messages = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())
    logging.getLogger("maskline").addHandler(handler)
    try:
        run(model, large, out=folder / "rows", options=(*options, "--stream"))
    finally:
        logging.getLogger("maskline").removeHandler(handler)
    return "\n".join(messages)


def test_a_tiff_by_rows_with_its_sums_on_the_disk(shipped_params, trained_folder, large, tmp_path):
    options = (*settings(shipped_params, tmp_path, window=[64, 64], stride=[40, 40], stream_mib=1), "--stream")
    picture = np.random.default_rng(0).integers(0, 256, (90, 2300, 3)).astype(np.uint8)  # 1.2 MB of sums
    for name in ("a.tif", "b.png"):
        Image.fromarray(picture).save(tmp_path / name)
        assert run(trained_folder, tmp_path / name, out=tmp_path / "out" / name[0], options=options).exit_code == 0
    np.testing.assert_array_equal(*(pixels(tmp_path / "out" / n / "index" / f"{n}.png") for n in "ab"))


def test_what_needs_the_whole_image_is_one_line(shipped_params, trained_folder, onnx_file, large, tmp_path):
    options = (*settings(shipped_params, tmp_path), "--stream")
    jpeg = tmp_path / "a.jpg"
    Image.open(large).save(jpeg)
    (tmp_path / "crf").mkdir()
    crf = settings(shipped_params, tmp_path / "crf", min_component_px=9)
    for model, picture, used, message in (
        (trained_folder, large, (*options, "--save", "overlay"), "needs the whole image in memory"),
        (trained_folder, large, ("--stream",), "no window to slide"),
        (trained_folder, large, (*crf, "--stream"), "need the whole image"),
        (onnx_file, large, options, "no trained model"),
        (trained_folder, jpeg, options, "no PNG"),
    ):
        result = run(model, picture, out=tmp_path / "out", options=used)
        assert result.exit_code == 2, message
        assert message in result.output
        assert result.output.count("\n") == 1


def test_percentiles_are_of_the_whole_image(shipped_params, trained_folder, large, tmp_path):
    model = tmp_path / "own"
    shutil.copytree(trained_folder, model)
    card = json.loads((model / "model.json").read_text())
    card["reading"] = ReadingRule(image_scale=("p1", "p99.8")).to_dict()
    (model / "model.json").write_text(json.dumps(card))
    options = settings(shipped_params, tmp_path)
    result = run(model, large, out=tmp_path / "rows", options=(*options, "--stream"))
    assert (result.exit_code, result.output.count("\n")) == (2, 1)
    assert "from p1 to p99.8 of each image, which needs the whole of it; leave --stream out" in result.output
    assert run(model, large, out=tmp_path / "whole", options=options).exit_code == 0, result.output


def test_one_image_that_fails_does_not_end_the_others(shipped_params, trained_folder, large, tmp_path, monkeypatch):
    folder = tmp_path / "images"
    folder.mkdir()
    shutil.copy(large, folder / "a.png")
    shutil.copy(large, folder / "z.png")
    (folder / "b.tif").write_bytes(b"II*\0\0\0\0\0")
    for name in ("a" * 248 + ".png", os.fsdecode(b"\xff.png")):
        shutil.copy(large, folder / name)
    hashed = predict_stream.sha256_file

    def vanishes(path):
        if path.name == "a.png":
            raise FileNotFoundError(2, "No such file or directory")
        return hashed(path)

    monkeypatch.setattr(predict_stream, "sha256_file", vanishes)
    options = (*settings(shipped_params, tmp_path), "--stream")
    result = run(trained_folder, folder, out=tmp_path / "out", options=options)
    assert (result.exit_code, result.output.count("error: ")) == (2, 4), result.output
    lines = (tmp_path / "out" / "shares.csv").read_text().splitlines()
    assert [line.partition(",")[0] for line in lines] == ["name", "z"]


def test_steps_follow_the_network(shipped_params, trained_folder, large, tmp_path):
    (tmp_path / "steps").mkdir()
    plain, steps = (
        settings(shipped_params, tmp_path),
        settings(shipped_params, tmp_path / "steps", min_component_px=10**6),
    )
    assert run(trained_folder, large, out=tmp_path / "plain", options=plain).exit_code == 0
    assert run(trained_folder, large, out=tmp_path / "out", options=steps).exit_code == 0
    assert pixels(tmp_path / "plain" / "index" / "large.png").any()
    assert not pixels(tmp_path / "out" / "index" / "large.png").any()  # no component is that large


def test_a_threshold_cannot_be_tuned_here(shipped_params, trained_folder, large, tmp_path):
    result = run(
        trained_folder, large, out=tmp_path / "out", options=settings(shipped_params, tmp_path, threshold="tune")
    )
    assert result.exit_code == 2
    assert "there is nothing to tune it on here" in result.output


def test_peak_memory_of_a_large_image(tmp_path):
    # In memory alone its logits and their normalized pixels would take 180 MiB more.
    found = measure(tmp_path, height=1500, width=6000, window=512, stream_mib=8)
    assert found["peak_mib"] < 640
    assert pixels(tmp_path / "out" / "index" / "large.png").shape == (1500, 6000)
