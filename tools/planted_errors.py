"""How many planted label errors ``maskline audit`` puts first: a set with errors, a model a fold, the share found.

``python -m tools.planted_errors camvid_32.zip --name camvid --seeds 4 --work planted`` converts the archive, plants
an error in each tenth image, trains a small network a fold on the planted labels (ImageNet encoder of the extra
``weights``), audits, and writes what was found at which rank. The figures of docs/how-to/audit.md are its output.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from maskline.analysis.audit.auditing import audit
from maskline.analysis.audit.members import of_folds
from maskline.cli.entry import PATH, errors_to_exit_code, log
from maskline.core.files import write_json
from maskline.data.dataset import PreparedSplit
from maskline.data.labels import LabelSet
from maskline.params.evaluate import EvaluateParams
from maskline.projects import resources
from tools.trial import write_params

ROOT = Path(__file__).resolve().parent.parent

Mask = NDArray[Any]

# Of the image: smaller objects would ask for larger networks, larger ones are no objects.
_OBJECT = (0.004, 0.25)
_LONGEST_PX = 256

_TRAINED: Mapping[str, Any] = {
    "data.name": "folder",
    "data.val_fraction": 0.2,
    "data.test_fraction": 0.0,
    "data.near_duplicates": "off",
    "augment.crop_size": [128, 128],
    "augment.rotate_degrees": 0,
    "augment.flip_vertical": 0.0,
    "augment.extra": [],
    "model.backbone.name": "tu-tf_efficientnet_lite0",
    "model.backbone.pretrained": True,
    "model.neck.name": "fpn",
    "model.neck.out_channels": 48,
    "model.decode_head": {"name": "fpn", "channels": 32, "losses": [{"name": "cross_entropy", "weight": 1.0}]},
    "model.auxiliary_heads": [],
    "train.batch_size": 8,
    "train.threads": 1,
    "schedule.warmup_length": 20,
}


@dataclass(frozen=True, slots=True)
class Planted:
    """An image's labels with an error.

    Args:
        kind: Of the error.
        mask: Class ids, HW.
    """

    kind: str
    mask: Mask


def missing(mask: Mask, labels: LabelSet, random: np.random.Generator) -> Mask | None:
    """Return the mask without one object: what surrounds it takes its place."""
    region = _object(mask, labels, random)
    if region is None:
        return None
    outside = region | (mask == labels.ignore_index)
    if outside.all():
        return None
    nearest = ndimage.distance_transform_edt(outside, return_distances=False, return_indices=True)
    return np.where(region, mask[tuple(nearest)], mask)


def superfluous(mask: Mask, labels: LabelSet, random: np.random.Generator) -> Mask | None:
    """Return the mask with a copy of an object where there is none."""
    region = _object(mask, labels, random)
    if region is None:
        return None
    rows, columns = np.nonzero(region)
    for _ in range(50):
        moved_rows = rows - rows.min() + random.integers(0, mask.shape[0] - np.ptp(rows))
        moved_columns = columns - columns.min() + random.integers(0, mask.shape[1] - np.ptp(columns))
        if (mask[moved_rows, moved_columns] == 0).mean() > 0.9:
            changed = mask.copy()
            changed[moved_rows, moved_columns] = mask[rows[0], columns[0]]
            return changed
    return None


def wrong_class(mask: Mask, labels: LabelSet, random: np.random.Generator) -> Mask | None:
    """Return the mask with one object as another class of the image."""
    region = _object(mask, labels, random)
    if region is None:
        return None
    own = mask[region][0]
    others = [one for one in _present(mask, labels) if one != own]
    return np.where(region, random.choice(others), mask).astype(mask.dtype) if others else None


def shifted(mask: Mask, labels: LabelSet, random: np.random.Generator) -> Mask | None:
    """Return the mask moved by 5 to 10 % of the shorter side, its edge repeated."""
    del labels
    angle, length = random.uniform(0, 2 * np.pi), random.uniform(0.05, 0.1) * min(mask.shape)
    step = (round(length * np.sin(angle)), round(length * np.cos(angle)))
    return ndimage.shift(mask, step, order=0, mode="nearest")  # type: ignore[no-any-return]


def swapped(mask: Mask, labels: LabelSet, random: np.random.Generator) -> Mask | None:
    """Return the mask with two of its classes exchanged."""
    present = _present(mask, labels)
    if len(present) < 2:
        return None
    first, second = random.choice(present, 2, replace=False)
    return np.where(mask == first, second, np.where(mask == second, first, mask)).astype(mask.dtype)


def inverted(mask: Mask, labels: LabelSet, random: np.random.Generator) -> Mask | None:
    """Return the mask of two classes with foreground for background."""
    del random
    return np.where(mask == labels.ignore_index, mask, 1 - mask).astype(mask.dtype) if mask.any() else None


Plant = Callable[[Mask, LabelSet, np.random.Generator], Mask | None]

_TWO: Mapping[str, Plant] = {
    "missing": missing,
    "superfluous": superfluous,
    "shifted": shifted,
    "inverted": inverted,
}
_MORE: Mapping[str, Plant] = {"missing": missing, "shifted": shifted, "swapped": swapped, "wrong_class": wrong_class}


def plant(masks: Mapping[str, Mask], labels: LabelSet, *, seed: int, share: float = 0.1) -> dict[str, Planted]:
    """Return the images that get an error, by name: a tenth of them, kinds in turn.

    Args:
        masks: Image -> class ids, HW.
        labels: The classes.
        seed: Another seed draws other images and places.
        share: Of the images.
    """
    random = np.random.default_rng(seed)
    kinds = _TWO if labels.num_classes == 2 else _MORE
    order = [str(name) for name in random.permutation(sorted(masks))]
    number = round(share * len(masks))
    planted: dict[str, Planted] = {}
    turn = seed * number
    for name in order:
        if len(planted) == number:
            break
        kind = list(kinds)[turn % len(kinds)]
        mask = kinds[kind](masks[name], labels, random)
        if mask is not None and (mask != masks[name]).mean() > _OBJECT[0] / 2:
            planted[name] = Planted(kind, mask)
            turn += 1
    return planted


def _present(mask: Mask, labels: LabelSet) -> list[int]:
    counts = np.bincount(mask[mask != labels.ignore_index].reshape(-1), minlength=labels.num_classes)
    return [int(one) for one in np.flatnonzero(counts > 0.01 * mask.size)]


def _object(mask: Mask, labels: LabelSet, random: np.random.Generator) -> NDArray[np.bool_] | None:
    """Return one object, drawn of those of a fitting size; with a background, it is none."""
    regions = []
    for one in range(int(labels.first_is_clear), labels.num_classes):
        numbered, count = ndimage.label(mask == one)
        sizes = np.bincount(numbered.reshape(-1), minlength=count + 1)[1:]
        fits = (sizes >= _OBJECT[0] * mask.size) & (sizes <= _OBJECT[1] * mask.size)
        regions += [numbered == number for number in np.flatnonzero(fits) + 1]
    return regions[random.integers(len(regions))] if regions else None


@click.command()
@click.argument("archive", type=PATH)
@click.option("--name", required=True, help="data.name of the archive.")
@click.option("--first", type=click.IntRange(0), default=0, show_default=True, help="First seed.")
@click.option("--seeds", type=click.IntRange(1), default=1, show_default=True, help="How many sets are planted.")
@click.option("--folds", type=click.IntRange(2), default=2, show_default=True, help="Models of each.")
@click.option("--iterations", type=click.IntRange(1), default=120, show_default=True, help="Of each model.")
@click.option("--work", type=PATH, required=True, help="Folder of sets and models; what is there is kept.")
@click.option("-o", "--out", type=PATH, default=None, help="JSON to write.")
@errors_to_exit_code
def main(
    *, archive: Path, name: str, first: int, seeds: int, folds: int, iterations: int, work: Path, out: Path | None
) -> None:
    """Plant errors in the labels of ARCHIVE, train, audit, and say how many are among the first reviewed."""
    clean = work / "clean"
    if not clean.exists():
        _convert(clean, {"data.name": name, "data.archive": str(archive.resolve()), "data.near_duplicates": "off"})
    ranked: list[dict[str, Any]] = []
    for seed in range(first, first + seeds):
        folder = work / f"seed-{seed}"
        log.info("planted errors: %s, seed %d", archive.stem, seed)
        _train(clean / "data" / "prepared", folder, seed=seed, folds=folds, iterations=iterations)
        ranked += [{"seed": seed, **row} for row in _ranks(folder)]
    summary = summed(ranked)
    for kind, row in summary.items():
        click.echo(f"{kind:12} {row['planted']:4}  " + "  ".join(f"{key} {row[key]:.2f}" for key in list(row)[1:]))
    if out is not None:
        write_json(out, {"archive": archive.stem, "summary": summary, "planted": ranked})


def summed(ranked: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the shares of planted errors that are found, by kind and of all, and those by label quality alone."""
    kinds = sorted({row["kind"] for row in ranked})
    table = {}
    for kind in (*kinds, "all"):
        rows = [row for row in ranked if kind in {row["kind"], "all"}]
        table[kind] = {
            "planted": len(rows),
            **{
                f"{way}_{percent}": sum(row[way] <= round(percent / 100 * row["images"]) for row in rows) / len(rows)
                for way in ("audit", "quality")
                for percent in (10, 20)
            },
        }
    return table


def _ranks(work: Path) -> list[dict[str, Any]]:
    """Return a row for each planted error: its rank from 1 on, by the audit and by label quality alone."""
    planted = json.loads((work / "planted.json").read_text(encoding="utf-8"))
    done = audit(EvaluateParams(), of_folds(work))
    names = [done.images[one.image].id for one in done.findings]
    by_quality = sorted(done.findings, key=lambda one: (one.evidence.quality, one.image))
    quality = [done.images[one.image].id for one in by_quality]
    return [
        {
            "id": name,
            "kind": kind,
            "images": len(names),
            "audit": names.index(name) + 1,
            "quality": quality.index(name) + 1,
            "reason": done.findings[names.index(name)].reasons[0],
        }
        for name, kind in planted.items()
    ]


def _train(clean: Path, work: Path, *, seed: int, folds: int, iterations: int) -> None:
    """Write a planted set and its models, one a fold, where ``maskline folds`` would put them."""
    if not (work / "planted.json").exists():
        _write_set(clean, work, seed=seed)
    values = {**_TRAINED, "data.archive": str((work / "set").resolve()), "data.num_folds": folds}
    classes = LabelSet.read(clean / "labels.json")
    values["data.classes"] = [
        {"name": label, "color": list(color)} for label, color in zip(classes.class_names, classes.palette, strict=True)
    ]
    values |= {"train.iterations": iterations, "train.val_every": iterations, "train.seed": seed}
    for fold in range(folds):
        member = work / "members" / f"fold-{fold}"
        if not (member / "models").exists():
            _convert(member / "work", {**values, "data.fold": fold})
            _stage(member / "work", "stages.train")
            for part in ("models", "prepared"):
                (member / "work" / "data" / part).rename(member / part)


def _write_set(clean: Path, work: Path, *, seed: int) -> None:
    splits = [PreparedSplit.find(clean, name, cache="stream") for name in ("train", "val", "test")]
    samples = {one.sample(i).id: one.sample(i) for one in splits if one is not None for i in range(len(one))}
    labels = LabelSet.read(clean / "labels.json")
    masks = {name: _smaller(sample.mask, Image.Resampling.NEAREST) for name, sample in samples.items()}
    planted = plant(masks, labels, seed=seed)
    for name, sample in samples.items():
        mask = planted[name].mask if name in planted else masks[name]
        for part, values in (("images", _smaller(sample.image, Image.Resampling.BOX)), ("masks", mask)):
            path = work / "set" / part / f"{name.replace('/', '_')}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(values).save(path)
    write_json(work / "planted.json", {name.replace("/", "_"): one.kind for name, one in planted.items()})


def _smaller(values: NDArray[Any], resample: Image.Resampling) -> NDArray[Any]:
    image = Image.fromarray(values)
    image.thumbnail((_LONGEST_PX, _LONGEST_PX), resample, reducing_gap=None)
    return np.asarray(image)


def _convert(folder: Path, values: Mapping[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "params.yaml").write_bytes(resources.shipped_params().read_bytes())
    write_params(folder / "params.yaml", values)
    for stage in ("stages.download", "stages.convert"):
        _stage(folder, stage)


def _stage(folder: Path, module: str) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "lib")))}
    done = subprocess.run(
        [sys.executable, "-m", module], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{module} in {folder}:\n{done.stderr[-3000:]}")


if __name__ == "__main__":
    main()
