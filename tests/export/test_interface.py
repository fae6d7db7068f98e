"""Outputs, resizing and padding by choice: each file agrees with torch at odd sizes, and says what it gives."""

import copy
import dataclasses
import json
import subprocess
import sys

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from maskline.core.errors import ExportError
from maskline.data.labels import LabelSet
from maskline.export import card, interface, onnx_graph, package, precision
from maskline.export.interface import WHOLE, Interface
from maskline.export.runtime_onnx import OnnxModel
from maskline.export.trace import trace
from tests.models.test_scale import opencv_linear

LIMITS = package.Limits(max_disagreement=1e-4, max_metric_change=1e-4)

KINDS = {
    "argmax": Interface(outputs=("argmax",), resize=None, pad_multiple=None),
    "softmax": Interface(outputs=("softmax",), resize=None, pad_multiple=16),
    "sigmoid": Interface(outputs=("sigmoid", "argmax"), resize=None, pad_multiple=None),
    "logits": Interface(outputs=("logits",), resize=(40, 56), pad_multiple=None),
    "scaled": Interface(outputs=("argmax", "softmax"), resize=None, pad_multiple=None, scale=(50, 101)),
}


@pytest.fixture(scope="module", params=list(KINDS))
def exported(request, trained, tmp_path_factory):
    one = dataclasses.replace(trained, interface=KINDS[request.param])
    program = trace(one.deployable(), example_size=(40, 48))
    about = package.describe(one, example_size=(40, 48))
    path = tmp_path_factory.mktemp(request.param) / "model.onnx"
    path.write_bytes(onnx_graph.to_onnx(program, opset=18, metadata=about, outputs=one.interface.names))
    return one, path


def test_the_gate_holds_every_interface_against_torch(exported, pictures):
    one, path = exported
    model = OnnxModel(path, threads=1)
    found = package.check_parity(one.runtime(threads=1), model, pictures, place=path, limits=LIMITS)
    assert found["odd_sizes"]["cases"] == 5
    assert model.metadata["outputs"] == one.interface.describe()
    assert model.has_probabilities == (one.interface.outputs != ("argmax",))
    names = [value.name for value in onnx.load(path).graph.output]
    assert names == [interface.NAMES[output] for output in one.interface.outputs]


def test_values_are_what_the_name_says(exported, pictures):
    one, path = exported
    image = pictures.sample(0).image[None]
    found = OnnxModel(path, threads=1)._session.run(None, {"images": image})[0]
    pixels = (torch.from_numpy(image).permute(0, 3, 1, 2) - torch.tensor(one.mean).view(1, 3, 1, 1)) / torch.tensor(
        one.std
    ).view(1, 3, 1, 1)
    with torch.no_grad():
        if one.interface.resize:
            small = torch.nn.functional.interpolate(pixels, (40, 56), mode="bilinear")
            logits = torch.nn.functional.interpolate(one.network(small), image.shape[1:3], mode="bilinear")
        elif one.interface.scale:
            sides = {(40, 56): (50, 70)}[image.shape[1:3]]
            seen = (opencv_linear(image[0], sides) - np.array(one.mean)) / np.array(one.std)
            seen = torch.from_numpy(seen.astype(np.float32)).permute(2, 0, 1)[None]
            logits = torch.nn.functional.interpolate(one.network(seen), image.shape[1:3], mode="bilinear")
        elif one.interface.pad_multiple:
            excess = (0, -image.shape[2] % 16, 0, -image.shape[1] % 16)
            padded = one.network(torch.nn.functional.pad(pixels, excess))
            logits = padded[..., : image.shape[1], : image.shape[2]]
        else:
            logits = one.network(pixels)
    expected = {
        "argmax": logits.argmax(1).to(torch.uint8),
        "softmax": logits.softmax(1),
        "sigmoid": logits.sigmoid(),
        "logits": logits,
    }[one.interface.outputs[0]]
    assert found.dtype == expected.numpy().dtype
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.fixture(scope="module")
def two_classes(trained):
    """A network of two classes whose labels begin at a low probability."""
    network = copy.deepcopy(trained.network)
    network.num_classes, network.head = 2, torch.nn.Conv2d(20, 2, 3, padding=1)
    with torch.no_grad():
        network.head.weight.uniform_(-0.05, 0.05, generator=torch.Generator().manual_seed(0))
        network.head.bias.copy_(torch.tensor([1.0, 0.0]))
    labels = LabelSet(class_names=("ground", "vessel"), palette=((0, 0, 0), (230, 60, 60)))
    return dataclasses.replace(trained, network=network, labels=labels)


def test_a_threshold_is_inside_of_the_file(two_classes, pictures, tmp_path):
    one = dataclasses.replace(two_classes, interface=dataclasses.replace(WHOLE, threshold=0.25))
    program, about = trace(one.deployable(), example_size=(40, 48)), package.describe(one, example_size=(40, 48))
    (tmp_path / "model.onnx").write_bytes(
        onnx_graph.to_onnx(program, opset=18, metadata=about, outputs=one.interface.names)
    )
    model = OnnxModel(tmp_path / "model.onnx", threads=1)
    images = pictures.sample(0).image[None]
    seen = model.predict(images)
    assert (seen.labels != one.runtime(threads=1).predict(images).labels).mean() <= 1e-3
    np.testing.assert_array_equal(seen.labels[0], seen.probabilities[0, 1] >= 0.25)
    assert (seen.labels[0] != seen.probabilities[0].argmax(0)).mean() > 0.1
    assert model.metadata["threshold"] == 0.25
    assert "label 1 from probability 0.25 on" in model.metadata["outputs"]


def test_a_threshold_without_labels_is_refused(two_classes):
    shape = Interface(outputs=("softmax",), resize=None, pad_multiple=None, threshold=0.25)
    with pytest.raises(ExportError, match=r"the threshold 0\.25 makes are not among them; add argmax"):
        dataclasses.replace(two_classes, interface=shape).deployable()


def test_another_policy_is_refused_by_the_gate(exported, trained, pictures):
    one, path = exported
    if (one.interface.resize or one.interface.scale) is None and one.interface.activation != "sigmoid":
        pytest.skip("the same classes and probabilities as whole images, or nearly")
    with pytest.raises(ExportError, match="on the 3 test images"):
        package.check_parity(
            trained.runtime(threads=1), OnnxModel(path, threads=1), pictures, place=path, limits=LIMITS
        )


def test_the_example_reads_every_interface(exported, pictures, tmp_path):
    _, path = exported
    (tmp_path / "example.py").write_text(card.example_text())
    Image.fromarray(pictures.sample(0).image).save(tmp_path / "picture.png")
    names = [str(path), str(tmp_path / "picture.png"), str(tmp_path / "labels.png")]
    subprocess.run([sys.executable, "-I", str(tmp_path / "example.py"), *names], capture_output=True, check=True)
    with Image.open(tmp_path / "labels.png") as mask:
        labels = OnnxModel(path, threads=1).predict(pictures.sample(0).image[None]).labels[0]
        np.testing.assert_array_equal(np.asarray(mask), labels)


def test_int8_of_every_interface(exported, pictures, tmp_path):
    _, path = exported
    images = [pictures.sample(i).image for i in range(len(pictures))]
    small = precision.to_int8(path.read_bytes(), images=images, min_agreement=0.0, threads=1)
    (tmp_path / "int8.onnx").write_bytes(small)
    labels = OnnxModel(tmp_path / "int8.onnx", threads=1).predict(images[0][None]).labels
    assert np.mean(labels != OnnxModel(path, threads=1).predict(images[0][None]).labels) < 0.1


def test_padding_must_be_a_multiple_of_the_stride(trained):
    one = dataclasses.replace(trained, interface=dataclasses.replace(WHOLE, pad_multiple=12))
    with pytest.raises(ExportError, match=r"export.pad_multiple: 12 is no multiple of the network's stride 8"):
        one.deployable()


def test_read_by_hand():
    logits = np.log(np.array([[[[0.2]], [[0.8]]]], np.float32))
    found = interface.read({"logits": logits}, num_classes=2)
    np.testing.assert_allclose(found.probabilities[0, :, 0, 0], [0.2, 0.8], rtol=1e-6)
    assert found.labels.tolist() == [[[1]]]
    alone = interface.read({"labels": found.labels}, num_classes=2)
    assert alone.probabilities[0, :, 0, 0].tolist() == [0, 1]
    json.dumps(WHOLE.describe())


@pytest.mark.parametrize("output", ["logits", "probabilities", "scores"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_no_class(output, value):
    values = np.full((1, 2, 3, 3), 0.5, np.float32)
    values[0, 1, 1, 1] = value
    with pytest.raises(ExportError, match="its output is not finite"):
        interface.read({output: values}, num_classes=2)


@pytest.mark.parametrize("labels", [np.full((1, 3, 3), -1), np.full((1, 3, 3), 2), np.zeros((3, 3), int)])
def test_labels_that_are_no_classes(labels):
    with pytest.raises(ExportError, match="not those of 2 classes"):
        interface.read({"labels": labels, "scores": np.zeros((1, 2, 3, 3), np.float32)}, num_classes=2)
