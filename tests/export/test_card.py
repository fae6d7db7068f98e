"""The card says what was found, and the program beside the model runs where no torch and no maskline is."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
from onnx import TensorProto, helper
from PIL import Image

from maskline.data.reading_rule import ReadingRule
from maskline.export import card, example, package
from maskline.export.runtime_onnx import OnnxModel

# Stands before the program: an import of what its user does not have fails.
BLOCK = """
import runpy, sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "torchvision", "maskline", "onnx", "pandas", "click"}:
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Block())
program = sys.argv[1]
sys.argv = sys.argv[1:]
runpy.run_path(program, run_name="__main__")
"""


SCORES = {
    "mIoU": 0.8931,
    "mDice": 0.95,
    "mAcc": None,
    "aAcc": 0.98,
    "per_class": {"disc": {"IoU": 0.81}},
    "uncertainty_95": {
        "mIoU": {"low": 0.88, "high": 0.9},
        "mAcc": {"low": None, "high": None},
        "per_class": {"disc": {"IoU": {"low": 0.7, "high": 0.9}}},
    },
    "second_annotator": {"mIoU": 0.8, "per_class": {"disc": {"IoU": 0.64}}},
}


def test_the_example_needs_onnxruntime_numpy_and_pillow_only(model_file, pictures, tmp_path):
    program = tmp_path / "example.py"
    program.write_text(card.example_text())
    pixels = pictures.sample(0).image
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    paths = [str(model_file), str(tmp_path / "picture.png"), str(tmp_path / "labels.png")]
    done = subprocess.run(
        [sys.executable, "-I", "-c", BLOCK, str(program), *paths], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    labels = OnnxModel(model_file, threads=1).predict(pixels[None]).labels[0]
    with Image.open(tmp_path / "labels.png") as mask:
        np.testing.assert_array_equal(np.asarray(mask), labels)
        assert mask.getpalette()[3:6] == list(pictures.labels.palette[1])
    assert done.stdout.splitlines()[0] == f"background: {(labels == 0).mean():.4f}"


def test_the_example_says_how_it_is_called(tmp_path):
    (tmp_path / "example.py").write_text(card.example_text())
    words = [sys.executable, str(tmp_path / "example.py"), "model.onnx"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Usage: python example.py model.onnx image.jpg labels.png" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_block_blocks(tmp_path):
    (tmp_path / "needs.py").write_text("import torch")
    done = subprocess.run(
        [sys.executable, "-I", "-c", BLOCK, str(tmp_path / "needs.py")], capture_output=True, text=True, check=False
    )
    assert "torch is blocked" in done.stderr


def test_the_example_is_short():
    assert len(card.example_text().splitlines()) <= 105


@pytest.mark.parametrize(
    ("score", "data_set", "said"),
    [(0.875, "chase_db1", "chase_db1"), (None, "folder", "a folder of images and masks")],
)
def test_card(trained, score, data_set, said):
    found = {"test": {"mIoU_exported": score, "disagreement": 0.00125}, "bytes": 1234}
    limits = package.Limits(max_disagreement=1.0, max_metric_change=1.0)
    variant = package.OnnxVariant(name="int8", convert=bytes, limits=limits)
    text = card.card_text(
        trained,
        {**found, "int8": {**found, "bytes": 321}},
        variants=(variant,),
        data_set=data_set,
        images=3,
        scores=SCORES,
    )
    shown = "0.8750" if score else "no pixel has a class"
    assert f"| model.onnx | 1234 | {shown} | 0.00125 |" in text
    assert f"| model-int8.onnx | 321 | {shown} | 0.00125 |" in text
    assert "| 1 | disc | [0, 90, 200] |" in text
    assert f"Data set: {said}; scores are of 3 test images" in text
    assert ("CC BY 4.0" in text) == (data_set == "chase_db1")
    assert trained.weights_sha256 in text
    assert "/home/me" not in text
    assert "| mIoU | 0.8931 | 0.8800 to 0.9000 | 0.8000 |" in text
    assert "| mAcc | not known | not known | not known |" in text
    assert "| IoU of disc | 0.8100 | 0.7000 to 0.9000 | 0.6400 |" in text
    assert "padded to multiples of 8 px" in text
    assert "Outputs: labels (batch, height, width); probabilities (batch, classes, height, width), float32." in text


def test_card_of_a_set_with_one_annotator(trained):
    found = {"test": {"mIoU_exported": 0.5, "disagreement": 0.0}, "bytes": 1}
    scores = {key: value for key, value in SCORES.items() if key != "second_annotator"}
    text = card.card_text(trained, found, variants=(), data_set="folder", images=1, scores=scores)
    assert "| mIoU | 0.8931 | 0.8800 to 0.9000 | none |" in text
    assert "human reference" not in text


def test_a_promise_stands_on_the_card(trained):
    found = {"bytes": 1, "test": {"mIoU_exported": 0.5, "disagreement": 0.0}}
    scores = {"mIoU": 0.5, "threshold": 0.2314, "guarantee": {"at_most": 0.1, "images": 12, "miss_rate": 0.071}}
    text = card.card_text(trained, found, variants=(), data_set="folder", images=1, scores=scores)
    assert "from probability 0.2314 on, at most 10.0% of an image's foreground pixels are missed" in text
    assert "Seen on the test split: 7.1%." in text
    assert "These files bear it where evaluate used no windows, test-time augmentation or CRF." in text


def test_a_class_name_is_no_markup():
    assert card._literal("<script>a|b</script>[x](y)") == r"&lt;script&gt;a\|b&lt;/script&gt;\[x\](y)"
    assert card._literal("optic disc, 2nd") == "optic disc, 2nd"


def test_more_classes_than_a_palette_holds_are_written_with_sixteen_bits(tmp_path):
    count = 300
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["images"], ["wide"], to=TensorProto.INT32),
            helper.make_node("ReduceSum", ["wide", "axis"], ["sum"], keepdims=0),
            helper.make_node("Cast", ["sum"], ["labels"], to=TensorProto.UINT16),
        ],
        "sums",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["n", "h", "w", 3])],
        [helper.make_tensor_value_info("labels", TensorProto.UINT16, ["n", "h", "w"])],
        [helper.make_tensor("axis", TensorProto.INT64, [1], [3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    about = {"class_names": [f"class {i}" for i in range(count)], "palette": [[0, 0, 0]] * count}
    helper.set_model_props(model, {"maskline": json.dumps(about)})
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    pixels = np.random.default_rng(0).integers(0, 100, (9, 7, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "p.png")
    example.main(*(str(tmp_path / name) for name in ("m.onnx", "p.png", "out.png")))
    with Image.open(tmp_path / "out.png") as mask:
        written = np.array(mask)
    assert written.max() > 255
    np.testing.assert_array_equal(written, pixels.sum(-1, dtype=int))


def test_the_card_says_how_images_are_read(trained):
    found = {"test": {"mIoU_exported": 0.5, "disagreement": 0.0}, "bytes": 1}
    rule = ReadingRule(channels=(2, 1, 0), exif="ignore", source_bands=(3,), source_types=("uint8",))
    text = card.card_text(
        dataclasses.replace(trained, reading=rule), found, variants=(), data_set="folder", images=1, scores=SCORES
    )
    assert "channels [2, 1, 0] of images of 3 bands of uint8;" in text
    assert "as they are stored, whatever their EXIF says. What does not fit is refused." in text
    assert "(batch, height, width, 3), uint8, channels [2, 1, 0] of the file" in text


def test_the_card_says_what_training_measured(trained):
    found = {"test": {"mIoU_exported": 0.5, "disagreement": 0.0}, "bytes": 1}
    args = {"variants": (), "data_set": "folder", "images": 1, "scores": SCORES}
    assert "numbers of the train split" not in card.card_text(trained, found, **args)
    model = {**trained.params.get("model", {}), "mean": "auto"}
    measured = dataclasses.replace(trained, mean=(1.5, 2.0, 3.0), params={**trained.params, "model": model})
    text = card.card_text(measured, found, **args)
    assert "by numbers of the train split: mean 1.5, 2, 3; std " in text
