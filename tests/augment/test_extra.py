"""Every transform of kornia.augmentation for images: it works, on images and masks alike, or is refused by name."""

import inspect
import json

import kornia.augmentation
import numpy as np
import pytest
import torch
from kornia.augmentation import AugmentationBase2D
from pydantic import ValidationError
from torch.utils._python_dispatch import TorchDispatchMode

from maskline.augment.extra import ALONE, Extra
from maskline.builders.extra import extra_transforms
from maskline.core.seeds import derive
from maskline.params.extra import ExtraParams

SIZE = (48, 56)
FILL = torch.tensor([11.0, 22.0, 33.0])
RANGE = [-0.3, 0.3]
KEYWORDS = {
    "CenterCrop": {"size": SIZE},
    "ColorJiggle": {"brightness": 0.2, "contrast": 0.2, "saturation": 0.2, "hue": 0.1},
    "ColorJitter": {"brightness": 0.2, "contrast": 0.2, "saturation": 0.2, "hue": 0.1},
    "LongestMaxSize": {"max_size": SIZE[1]},
    "PadTo": {"size": SIZE},
    "RandomAffine": {"degrees": 20.0, "translate": [0.1, 0.1], "scale": [0.8, 1.2], "shear": [-10.0, 10.0]},
    "RandomBrightness": {"brightness": [0.8, 1.2]},
    "RandomClahe": {"clip_limit": [1.0, 4.0]},
    "RandomContrast": {"contrast": [0.8, 1.2]},
    "RandomCrop": {"size": SIZE, "padding": 6},
    "RandomElasticTransform": {"kernel_size": [21, 21], "sigma": [6.0, 6.0]},
    "RandomFisheye": {"center_x": RANGE, "center_y": RANGE, "gamma": [0.9, 1.0]},
    "RandomGamma": {"gamma": [0.7, 1.4]},
    "RandomGaussianBlur": {"kernel_size": [5, 5], "sigma": [0.5, 1.5]},
    "RandomHue": {"hue": [-0.1, 0.1]},
    "RandomMotionBlur": {"kernel_size": [3, 7], "angle": 35.0, "direction": 0.5},
    "RandomRain": {"number_of_drops": [10, 20]},
    "RandomResizedCrop": {"size": SIZE},
    "RandomRotation": {"degrees": 30.0},
    "RandomRotation90": {"times": [2, 2]},
    "RandomSaturation": {"saturation": [0.8, 1.2]},
    "RandomShear": {"shear": 10.0},
    "RandomTranslate": {"translate_x": [-0.2, 0.2], "translate_y": [-0.2, 0.2]},
    "Resize": {"size": SIZE},
    "SmallestMaxSize": {"max_size": SIZE[0]},
}
WITHOUT_P = {"PadTo"}
CHANGES_NOTHING = {"CenterCrop", "LongestMaxSize", "PadTo", "Resize", "SmallestMaxSize"}  # at the size of the crop
# As kornia 0.9 has them.
READS_BACK = {"ColorJiggle", "ColorJitter", "RandomGaussianBlur", "RandomJPEG", "RandomMotionBlur", "RandomRain"}


def names():
    """All that kornia.augmentation has, but what a person would not name: functions and modules."""
    return sorted(name for name, value in vars(kornia.augmentation).items() if inspect.isclass(value))


def is_refused(name):
    try:
        ExtraParams(name=name)
    except ValidationError as error:
        return f"{name} cannot be a row of augment.extra: " in str(error)
    return False


WORKING = [name for name in names() if not is_refused(name)]


def built(name, *, channels=3, size=SIZE, **keywords):
    chance = {} if name in WITHOUT_P else {"p": 0.6}
    row = ExtraParams(name=name, **{**chance, **KEYWORDS.get(name, {}), **keywords})
    (transform,) = extra_transforms((row,), channels=channels, crop_size=size)
    return transform


def happening(transform, count):
    drawn = (transform.draw(seed) for seed in range(100))
    return [sample for sample in drawn if sample.happens][:count]


def images(count=3):
    return torch.from_numpy(np.random.default_rng(0).uniform(0, 255, (count, 3, *SIZE)).astype(np.float32))


def masks(count=3):
    return torch.from_numpy(np.random.default_rng(1).integers(1, 5, (count, *SIZE)))


def test_nothing_is_forgotten():
    assert all(issubclass(vars(kornia.augmentation)[name], AugmentationBase2D) for name in WORKING)
    assert len(WORKING) > 45
    assert set(KEYWORDS) | WITHOUT_P | CHANGES_NOTHING | READS_BACK | ALONE <= set(WORKING)


@pytest.mark.parametrize("name", WORKING)
def test_a_draw_is_kornias_own_and_gives_the_same_twice(name):
    """What is written of a draw is all that it needs, and no generator of torch's moves."""
    transform = built(name)
    before = torch.get_rng_state()
    drawn = [transform.draw(seed) for seed in (5, 6, 7)]
    again = [Extra(**json.loads(json.dumps({key: getattr(each, key) for key in Extra.__slots__}))) for each in drawn]
    assert again == drawn
    first, labels = transform.apply(images(), [(masks(), 255)], drawn, fill=FILL)
    second, labels_again = transform.apply(images(), [(masks(), 255)], again, fill=FILL)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(first, second)
    assert torch.equal(labels[0], labels_again[0])
    assert first.shape == images().shape
    assert 0 <= first.min() <= first.max() <= 255
    assert set(labels[0].unique().tolist()) <= {1, 2, 3, 4, 255}
    for i, each in enumerate(drawn):
        if not each.happens:
            assert torch.equal(first[i], images()[i])
            assert torch.equal(labels[0][i], masks()[i])
    torch.manual_seed(derive(5, "kornia"))
    theirs = transform._module.forward_parameters((1, 3, *SIZE))
    ours = transform.params(drawn[0])
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) and ours[key].dtype == theirs[key].dtype for key in ours)
    torch.set_rng_state(before)


@pytest.mark.parametrize("name", WORKING)
def test_image_and_masks_are_moved_alike(name):
    """An image of its own coordinates, and a mask of them: what the mask reads is where the image was read."""
    transform = built(name)
    drawn = happening(transform, 3)
    rows, columns = np.indices(SIZE)
    ramp = torch.from_numpy(np.stack([columns * 4, rows * 4, np.full(SIZE, 255)]).astype(np.float32))
    ids = torch.from_numpy(rows * 100 + columns)
    white = torch.zeros(3)
    before = ramp.expand(len(drawn), -1, -1, -1).clone()
    after, (first, second) = transform.apply(
        before, [(ids.expand(len(drawn), -1, -1).clone(), 9999), (masks(len(drawn)) * 0 + 1, 0)], drawn, fill=white
    )
    assert torch.equal(second == 0, first == 9999), "all masks are read at the same places"
    if not transform._moves:
        kept = first != 9999
        assert torch.equal(first[kept], ids.expand_as(first)[kept])
        assert bool(kept.all()) or name == "RandomErasing"
        return
    inside = (after[:, 2] > 254.9) & (first != 9999)
    assert inside.float().mean() > 0.1
    found = torch.stack([first % 100, first // 100], dim=1).float()
    distance = (after[:, :2] / 4 - found).abs().amax(1)[inside]
    assert distance.max() < 0.51
    assert torch.equal(first == 9999, after[:, 2] < 127.5), "outside is where more than half is the fill"
    assert not torch.equal(after, before) or name in CHANGES_NOTHING


@pytest.mark.parametrize("name", [name for name in WORKING if name not in ALONE])
def test_a_batch_together_is_as_each_alone(name):
    transform = built(name)
    drawn = [*happening(transform, 2), *([] if name in WITHOUT_P else [transform.draw(seed) for seed in range(3)])]
    before, labels = images(len(drawn)), masks(len(drawn))
    alone, (own,) = transform.apply(before, [(labels, 255)], drawn, fill=FILL)
    params = transform._together([transform.params(sample) for sample in drawn])
    together, (other,) = transform._applied(before, [labels], params, outside=[255], fill=FILL)
    torch.testing.assert_close(together, alone, atol=0.05, rtol=0)
    assert (own == other).float().mean() > 0.999


class Reads(TorchDispatchMode):
    """Counts what waits for a device: a number that is read, a shape that depends on numbers."""

    NAMES = ("_local_scalar_dense", "item", "nonzero", "is_nonzero", "masked_select")

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func.overloadpacket.__name__ in self.NAMES
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", WORKING)
def test_what_reads_numbers_back_is_known(name):
    """As the documentation lists them; none reads the image, which has no contents on the meta device."""
    transform = built(name)
    (drawn,) = happening(transform, 1)
    with Reads() as reads:
        transform._applied(images(1), [masks(1)], transform.params(drawn), outside=[255], fill=FILL)
    assert (reads.count > 0) == (name in READS_BACK)
    empty, labels = torch.empty(1, 3, *SIZE, device="meta"), torch.empty(1, *SIZE, device="meta", dtype=torch.int64)
    transform._applied(empty, [labels], transform.params(drawn), outside=[255], fill=torch.empty(3, device="meta"))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"name": "RandomCutMixV2"}, "cannot be a row .* it mixes samples; use augment.cutmix"),
        ({"name": "RandomDissolving"}, "downloads a diffusion model"),
        ({"name": "RandAugment"}, "policy that draws other transforms; give each"),
        ({"name": "RandomRotation3D", "degrees": 3}, "it is for volumes; use RandomRotation"),
        ({"name": "RandomInvert", "p": 1.5}, "less than or equal to 1"),
        ({"name": "RandomInvert", "same_on_batch": True}, "gets no same_on_batch: each sample"),
        ({"name": "RandomAffine", "degrees": 3, "fill_value": 1}, "gets no fill_value: .* set augment.fill"),
        ({"name": "RandomInvrt"}, r"extra.0: 'RandomInvrt' is no transform .* did you mean RandomInvert?"),
        ({"name": "RandomInvert", "maxval": 1.0}, "no keyword 'maxval'; did you mean max_val?"),
        ({"name": "RandomRotation"}, "RandomRotation needs degrees"),
        ({"name": "RandomCrop", "size": [20, 30]}, "makes 20x30 of a crop of 48x56; give it a size"),
        ({"name": "RandomMotionBlur", "kernel_size": 4, "angle": 3, "direction": 0}, "cannot be used .*must be odd"),
    ],
)
def test_what_cannot_work_is_told(row, message):
    with pytest.raises(ValueError, match=message):
        extra_transforms((ExtraParams(**row),), channels=3, crop_size=SIZE)


def test_colors_are_refused_where_there_are_none():
    with pytest.raises(ValueError, match=r"RandomHue works on red, green and blue, and model.in_channels is 4"):
        built("RandomHue", channels=4)
    assert built("RandomInvert", channels=4).draw(0) == built("RandomInvert", channels=4).draw(0)
