"""Params become objects: networks, losses, augmentation; trained folders load again."""

import hashlib
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from maskline.augment.soft_labels import write_soft_labels
from maskline.builders.inference import load_segmentor
from maskline.builders.losses import criteria, criterion, loss
from maskline.builders.model import segmentor
from maskline.builders.training import build_training
from maskline.core.errors import CheckpointError, MasklineError
from maskline.data import manifest
from maskline.data.labels import LabelSet
from maskline.models.segmentor import Segmentor
from maskline.models.smp import SmpSegmentor
from maskline.params.whole import Params, validate_params
from maskline.runtime import checkpoint
from tools.trial import complete_params


def settings(shipped_params: Path, **changes: object) -> Params:
    """Return the shipped params with dotted keys changed."""
    values = complete_params(shipped_params)
    for dotted, value in changes.items():
        *sections, key = dotted.split("__")
        place = values
        for section in sections:
            place = place[section]
        place[key] = value
    return validate_params(values)


SMALL = {"model__backbone__base_channels": 4, "model__backbone__num_stages": 3}


def test_shipped_network(shipped_params):
    model = segmentor(settings(shipped_params).model, num_classes=2)
    assert isinstance(model, Segmentor)
    assert model(torch.zeros(1, 3, 50, 70)).shape == (1, 2, 50, 70)
    assert list(model.head_logits(torch.zeros(2, 3, 64, 64))) == list(criteria(settings(shipped_params).model))


def test_encoder_by_name(shipped_params):
    made = settings(shipped_params, model__backbone__name="resnet18", model__backbone__output_stride=16)
    model = segmentor(made.model, num_classes=5).eval()
    assert model(torch.zeros(1, 3, 50, 70)).shape == (1, 5, 50, 70)
    assert model.stride == 16


def test_whole_smp_architecture(shipped_params):
    made = settings(shipped_params, model__type="smp", model__smp__architecture="FPN")
    model = segmentor(made.model, num_classes=3).eval()
    assert isinstance(model, SmpSegmentor)
    assert model(torch.zeros(1, 3, 50, 70)).shape == (1, 3, 50, 70)
    assert list(criteria(made.model)) == ["decode_head"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model__backbone__name": "resnet81"}, "resnet81.*resnet18"),
        ({"model__type": "smp", "model__smp__encoder": "resnet81"}, "resnet81"),
        ({"model__type": "smp", "model__smp__architecture": "Unett"}, "Unet"),
        ({"model__decode_head": {}}, "model.decode_head.name: missing"),
    ],
)
def test_what_cannot_be_built_is_named(shipped_params, changes, message):
    with pytest.raises(MasklineError, match=message) as caught:
        segmentor(settings(shipped_params, **changes).model, num_classes=2)
    assert "\n" not in str(caught.value)


def test_feature_index_out_of_range(shipped_params):
    made = settings(shipped_params, **SMALL)
    head = made.model.decode_head.model_copy(update={"in_index": 7})
    with pytest.raises(MasklineError, match="7, but the backbone gives 3 features; choose -3 to 2"):
        segmentor(made.model.model_copy(update={"decode_head": head}), num_classes=2)


def test_losses_are_the_weighted_sum(shipped_params):
    logits = torch.randn(2, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    target = torch.zeros(2, 8, 8, dtype=torch.int64)
    target[:, 4:] = 1
    parts = settings(shipped_params).model.decode_head.losses
    total = criterion(parts)(logits, target, 255)
    expected = sum(part.weight * loss(part)(logits, target, 255) for part in parts)
    torch.testing.assert_close(total, expected)
    torch.testing.assert_close(loss(parts[0])(logits, target, 255), torch.nn.functional.cross_entropy(logits, target))


def save(folder: Path, made: Params, num_classes: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    model = segmentor(made.model, num_classes=num_classes)
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    names = tuple(f"c{i}" for i in range(num_classes))
    labels = LabelSet(class_names=names, palette=((0, 0, 0),) * num_classes)
    card = {
        "params": {"model": made.model.model_dump(mode="json")},
        "labels": labels.to_dict(),
        "preprocessing": {"mean": list(made.model.mean), "std": list(made.model.std)},
        "receipt": {},
    }
    checkpoint.save_model(folder, weights=weights, last=weights, card=card)
    return weights


def test_a_saved_model_loads(shipped_params, tmp_path):
    weights = save(tmp_path / "models", settings(shipped_params, **SMALL), 3)
    model = load_segmentor(tmp_path / "models")
    assert not model.training
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


def test_a_card_of_another_network(shipped_params, tmp_path):
    save(tmp_path / "models", settings(shipped_params, **SMALL), 3)
    card = tmp_path / "models" / checkpoint.CARD_FILE
    content = json.loads(card.read_text())
    content["params"]["model"]["backbone"]["base_channels"] = 8
    card.write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=r"not of the network that model.json describes") as caught:
        load_segmentor(tmp_path / "models")
    line = str(caught.value)
    assert re.search(
        r"\(of \d+ tensors \d+ of another shape: backbone\S+ 4x3x3x3 instead of 8x3x3x3, .*\.\.\.\); take", line
    )
    assert len(line.partition(": not of")[2]) < 400


def test_a_card_of_another_version(shipped_params, tmp_path):
    save(tmp_path / "models", settings(shipped_params, **SMALL), 3)
    card = tmp_path / "models" / checkpoint.CARD_FILE
    content = json.loads(card.read_text())
    content["params"]["model"]["backbone"]["later"] = 1
    card.write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=r"backbone.later: unknown key; the model is of another version"):
        load_segmentor(tmp_path / "models")


def test_training_starts_from_a_folder_with_other_classes(shipped_params, tmp_path, caplog):
    weights = save(tmp_path / "models", settings(shipped_params, **SMALL), 3)
    made = settings(shipped_params, **SMALL, model__weights=str(tmp_path / "models"))
    caplog.set_level("INFO", logger="maskline")
    model = segmentor(made.model, num_classes=2)
    state = model.state_dict()
    classifiers = [name for name in state if ".conv_seg." in name]
    told = f"{len(state) - len(classifiers)} tensors of {tmp_path / 'models'} fitted, 0 were reshaped, "
    assert told + f"{len(classifiers)} stayed fresh, {len(classifiers)} are not of this network" in caplog.text
    assert torch.equal(
        state["backbone.encoder.0.0.convs.0.conv.weight"], weights["backbone.encoder.0.0.convs.0.conv.weight"]
    )
    assert state["decode_head.conv_seg.weight"].shape[0] == 2


def test_start_weights_of_other_image_channels(shipped_params, tmp_path, caplog):
    save(tmp_path / "models", settings(shipped_params, **SMALL), 2)
    gray = {"model__in_channels": 1, "model__mean": [1.0], "model__std": [2.0]}
    made = settings(shipped_params, **SMALL, **gray, model__weights=str(tmp_path / "models"))
    caplog.set_level("INFO", logger="maskline")
    segmentor(made.model, num_classes=2)
    assert "fitted, 1 were reshaped, 0 stayed fresh, 0 are not of this network" in caplog.text


def test_weights_that_fit_by_chance_are_no_start(shipped_params, tmp_path):
    """A classifier of the same shape is none of the backbone."""
    save(tmp_path / "models", settings(shipped_params, **SMALL, model__backbone={"name": "mixvit_b0"}), 2)
    made = settings(shipped_params, **SMALL, model__weights=str(tmp_path / "models"))
    with pytest.raises(CheckpointError, match="is of another network"):
        segmentor(made.model, num_classes=2)


def test_start_weights_of_another_architecture(shipped_params, tmp_path):
    save(tmp_path / "models", settings(shipped_params, **SMALL), 3)
    made = settings(shipped_params, model__type="smp", model__weights=str(tmp_path / "models"))
    with pytest.raises(CheckpointError, match=r"is of another network: .* none of the 120 of the backbone"):
        segmentor(made.model, num_classes=2)


def test_a_head_is_told_how_long_training_is(shipped_params, tmp_path):
    from tests.builders.test_class_weights import LABELS, row

    manifest.write(tmp_path, [row("train", "a", 32000), row("val", "b", 1)], LABELS)
    values = complete_params(shipped_params)
    values["model"] |= {"decode_head": {"name": "eomt", "num_blocks": 2}, "auxiliary_heads": []}
    values["model"]["backbone"]["name"] = "test_vit"
    values["train"] |= {"iterations": 30, "accumulate": 2}
    values["schedule"]["warmup_length"] = 0
    head = build_training(validate_params(values), tmp_path).model.decode_head
    shares = [head._shares().tolist() for _ in range(60)]  # with two blocks, to 0 at half the run and three quarters
    assert shares[15] == [1, 1]
    assert shares[16][0] < 1
    assert shares[29][0] > 0
    assert shares[30] == [0, 1]
    assert shares[45] == [0, 0]


def tiny_set(folder: Path, labels: LabelSet, splits: dict[str, str], *, second: tuple[str, ...] = ()) -> Path:
    """Write a prepared set of noise: image -> its split; ``second`` have a second annotator's mask, the inverse."""
    shard, rows = b"", []
    rng = np.random.default_rng(0)
    for image, split in splits.items():
        cells = {"id": image, "split": split, "group": image, "source": image}
        mask = rng.integers(0, 2, (72, 80), dtype=np.uint8)
        pixels = {"image": rng.integers(0, 256, (72, 80, 3), dtype=np.uint8), "mask": mask, "valid": None}
        for part, array in (pixels | {"second": 1 - mask if image in second else None}).items():
            stream = io.BytesIO()
            if array is not None:
                Image.fromarray(array).save(stream, format="PNG")
            content = stream.getvalue()
            hashed = hashlib.sha256(content).hexdigest() if content else ""
            cells |= {f"{part}_offset": len(shard), f"{part}_bytes": len(content), f"{part}_sha256": hashed}
            shard += content
        counts = {"pixels_0": int((mask == 0).sum()), "pixels_1": int((mask == 1).sum()), "pixels_ignored": 0}
        rows.append(cells | {"height": 72, "width": 80, "shard": "shard-00000.bin"} | counts)
    (folder / "shard-00000.bin").write_bytes(shard)
    manifest.write(folder, rows, labels)
    return folder


@pytest.fixture(scope="module")
def with_second(tmp_path_factory):
    """Three images, of which two have a second annotator's mask."""
    splits = dict.fromkeys(("i0", "i1", "i2"), "train")
    return tiny_set(tmp_path_factory.mktemp("second"), SOFT_LABELS, splits, second=("i1", "i2"))


SOFT_LABELS = LabelSet(class_names=("ground", "thing"), palette=((0, 0, 0), (255, 0, 0)))


def soft_settings(shipped_params, **changes):
    crop = {"augment__crop_size": [64, 64], "augment__ratio_range": [1.0, 1.0]}
    return settings(shipped_params, **SMALL, **crop, **changes)


def test_a_second_annotator_gives_soft_labels(shipped_params, with_second, caplog):
    caplog.set_level("INFO")
    job = build_training(soft_settings(shipped_params, train__soft_labels="second_annotator"), with_second)
    assert "2 of 3 train images have soft labels, of weight 0.5" in caplog.text
    assert job.loop.soft_weight == 0.5
    split = job.loop.batches.split
    assert (job.loop.batches.soft.read(split.sample(1)).argmax(2) == 1 - split.sample(1).mask).all()
    batch = job.loop.batches.finish(job.loop.batches.batch(0), torch.device("cpu"))
    assert batch.soft.shape == (8, 2, 64, 64)
    plain = build_training(soft_settings(shipped_params), with_second)
    assert plain.loop.batches.soft is None
    assert plain.journal.folder != job.journal.folder


def test_a_folder_of_soft_labels_stands_in_the_receipt(shipped_params, with_second, tmp_path, monkeypatch):
    fields = {"i0": np.full((2, 72, 80), 0.5)}
    folder = write_soft_labels(tmp_path / "main", SOFT_LABELS, fields.items())
    (tmp_path / "copy").mkdir()
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "main"))  # as in a copy of the project that DVC has made
    shipped = soft_settings(shipped_params, train__soft_labels=folder.name)
    monkeypatch.chdir(tmp_path / "copy")
    job = build_training(shipped, with_second)
    assert job.card["receipt"]["soft_labels_sha256"].startswith(folder.name.rpartition("-")[2])
    (folder / "soft_labels.json").unlink()
    with pytest.raises(MasklineError, match=r"soft_labels.json: no such file; make it again"):
        build_training(shipped, with_second)


def test_what_takes_no_soft_labels_is_one_line(shipped_params, with_second, tmp_path):
    use = {"train__soft_labels": "second_annotator"}
    lovasz = [{"name": "lovasz", "weight": 1.0}]
    line = (
        r"train.soft_labels: second_annotator, but lovasz, a loss of decode_head, takes no soft labels; choose cross_"
    )
    with pytest.raises(MasklineError, match=line):
        build_training(soft_settings(shipped_params, **use, model__decode_head__losses=lovasz), with_second)
    other = write_soft_labels(tmp_path, SOFT_LABELS, [("another", np.full((2, 4, 4), 0.5))])
    with pytest.raises(MasklineError, match="has none of the 3 train images; make them of this set"):
        build_training(soft_settings(shipped_params, train__soft_labels=str(other)), with_second)
    with pytest.raises(MasklineError, match=r"'soft' says not which soft labels; give second_annotator, or a folder"):
        soft_settings(shipped_params, train__soft_labels="soft")


def test_the_mean_of_weights_begins_at_a_share_of_the_run(shipped_params, with_second):
    job = build_training(soft_settings(shipped_params, train__swa_from=0.75, train__iterations=100), with_second)
    assert job.loop.swa_first == 75
    assert build_training(soft_settings(shipped_params), with_second).loop.swa_first == 0
    with pytest.raises(MasklineError, match=r"swa_from 0.75 and ema_decay 0.9 are two averages; set one"):
        soft_settings(shipped_params, train__swa_from=0.75, train__ema_decay=0.9)
