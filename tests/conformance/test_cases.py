"""Networks of the zoo's kinds: the tensors' names and shapes are MMSegmentation's, and so are the outputs."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from maskline.builders.model import segmentor
from maskline.params.network.model import validate_model
from maskline.weights.matching import match
from maskline.weights.mmseg.model import ModelReader
from tests.conformance.cases import CASES, fill, image, sample, section

TOLERANCE = 1e-5  # of the largest value
NUMBERS = json.loads(Path(__file__).with_name("mmseg_numbers.json").read_text())


def network(name):
    """The network of a case with its weights, and the shapes of MMSegmentation's own tensors."""
    reader = ModelReader()
    params = validate_model(reader.read(section(name), preprocessor=None), place=name)
    with torch.device("meta"):
        model = segmentor(params, num_classes=reader.num_classes)
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    if reader.binary:
        shapes |= {
            f"decode_head.conv_seg.{leaf}": (1, *shapes[f"decode_head.conv_seg.{leaf}"][1:])
            for leaf in ("weight", "bias")
        }
    found = match(
        {key: torch.from_numpy(fill(key, shape)) for key, shape in shapes.items()},
        model.state_dict(),
        binary=reader.binary,
    )
    assert found.whole
    assert len(found.reshaped) == 2 * len(reader.binary)
    model.load_state_dict(found.tensors, strict=True, assign=True)
    return model.eval(), shapes


@pytest.mark.parametrize("name", CASES)
def test_outputs_are_mmsegmentations(name):
    expected = NUMBERS[name]
    model, shapes = network(name)
    names = "\n".join(f"{key} {list(shape)}" for key, shape in sorted(shapes.items()))
    assert len(shapes) == expected["tensors"]
    assert hashlib.sha256(names.encode()).hexdigest() == expected["names_sha256"]
    images = torch.from_numpy(image(name))
    with torch.inference_mode():
        outputs = {**model.head_logits(images), "logits": model(images)}
    if name == "one channel":  # the first of our two is a constant 0
        assert all(logits[:, 0].abs().max() == 0 for logits in outputs.values())
        outputs = {key: logits[:, 1:] for key, logits in outputs.items()}
    for key, numbers in expected["outputs"].items():
        found = sample(outputs[key].numpy())
        assert found["shape"] == numbers["shape"], key
        np.testing.assert_allclose(found["values"], numbers["values"], rtol=0, atol=TOLERANCE * numbers["largest"])
        assert found["largest"] == pytest.approx(numbers["largest"], rel=TOLERANCE)


def test_every_case_has_numbers():
    assert NUMBERS.keys() == CASES.keys()
