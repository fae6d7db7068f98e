"""``python -m tools.published_recipes CONFIGS`` reads MMSegmentation's configurations as recipes.

CONFIGS is the folder of configurations of MMSegmentation 1.2.2 (``mmseg/.mim/configs`` of its wheel, Apache-2.0), which
mmengine, importable, resolves. Written are lib/maskline/projects/published.json, by ``maskline.weights.mmseg``, and
tests/projects/published_facts.json.gz, which the tests hold against it: keys of the configurations as they stand.

A recipe is the import of its configuration. What it says otherwise, and why, stands in ``DEVIATIONS``.
"""

import gzip
import json
import re
import sys
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from maskline.core.errors import ShapeError
from maskline.core.files import write_bytes, write_text
from maskline.params.base.reading import read_yaml
from maskline.params.base.variants import without_unread
from maskline.params.whole import Params, validate_params
from maskline.projects import naming
from maskline.projects.published import TABLE
from maskline.weights.mmseg.model import ModelReader
from maskline.weights.mmseg.settings import settings, test_scale

ROOT = Path(__file__).resolve().parent.parent
FACTS = ROOT / "tests" / "projects" / "published_facts.json.gz"

DEVIATIONS = {
    "data.name": "the layout of the configuration's data set; none where there is no layout: the data is yours",
    "train.batch_size": "that of one GPU there, times the GPUs of its name",
    "train.precision": "fp32 where the configuration has no other; `auto` would be bf16 on a GPU that computes it",
    "train.best_metric": "there the last weights are scored; here the best of the validations are kept beside them",
    "evaluate.split": "the one that is validated there; vessels have a test split here, of the same images",
    "model.test_scale": "left out where all images of the set have that size",
    "train.log_every": "of no effect on any result",
    "machine": "of this machine: that of the makers had workers of its own number",
    "model.weights": "the backbone's start is a file to import, named in the recipe's head",
}
"""What a recipe does not say as the import of its configuration, and why."""

_VESSELS = {"DRIVEDataset": "drive", "STAREDataset": "stare", "ChaseDB1Dataset": "chase_db1", "HRFDataset": "hrf"}
_LAYOUTS = {
    **_VESSELS,
    "ADE20KDataset": "ade20k",
    "CityscapesDataset": "cityscapes",
    "PascalVOCDataset": "voc2012",
    "LoveDADataset": "loveda",
    "COCOStuffDataset": "coco_stuff",
    "PascalContextDataset": "pascal_context",
    "PascalContextDataset59": "pascal_context_59",
    "PotsdamDataset": "potsdam",
    "ISPRSDataset": "vaihingen",
    "iSAIDDataset": "isaid",
}
_OTHERS = {  # without a layout
    "MapillaryDataset_v1": "mapillary",
    "LEVIRCDDataset": "levir",
    "DSDLSegDataset": "dsdl",
}
_SIZES = {  # of all images, width first: a test scale of it changes nothing
    "cityscapes": (2048, 1024),
    "drive": (584, 565),
    "stare": (605, 700),
    "chase_db1": (960, 999),
    "hrf": (2336, 3504),
    "loveda": (1024, 1024),
    **dict.fromkeys(("potsdam", "vaihingen"), (512, 512)),  # their tiles
    "isaid": (896, 896),
}
# What the head or the data section of every recipe says instead.
_TOLD = (r"train_dataloader: batch_size \d+ is that of one GPU", r"data set \w+ is no part of an import")
_MODEL_UNREAD = ("smp", "weights")  # a section of another type; the project's own files

# Configurations that stand in recipes/ too.
_FILES = re.compile(
    r"(fcn|pspnet|deeplabv3|deeplabv3plus)_r(18|50|101)-d8_4xb2-80k_cityscapes-512x1024"
    r"|(fcn|pspnet|deeplabv3|deeplabv3plus)_r(50|101)-d8_4xb4-160k_ade20k-512x512"
    r"|(upernet|fpn|pointrend)_r(50|101)_4xb(2-80k_cityscapes-512x1024|4-160k_ade20k-512x512)"
    r"|ocrnet_hr(18s?|48)_4xb(2-80k_cityscapes-512x1024|4-(80|160)k_ade20k-512x512)"
    r"|ocrnet_r101-d8_4xb2-40k_cityscapes-512x1024"
    r"|segformer_mit-b\d_8xb(1-160k_cityscapes-1024x1024|2-160k_ade20k-512x512)"
    r"|unet[-_]s5-d16_(fcn|pspnet|deeplabv3)_4xb4(-ce-1\.0-dice-3\.0)?-40k_(drive|stare|chase-db1|hrf)-\d+x\d+"
)


# Rows of the metafiles that name another configuration than the one they are of, by the name of their checkpoint.
_MISNAMED = {
    "bisenetv1_r101-d32_lr5e-3_4x4_512x512_160k_coco-stuff164k": "bisenetv1_r101-d32_4xb4-160k_coco-stuff164k-512x512",
    "deeplabv3plus_r101-d8_512x512_80k_ade20k": "deeplabv3plus_r101-d8_4xb4-80k_ade20k-512x512",
    "fastfcn_r50-d32_jpu_aspp_4x4_512x1024_80k_cityscapes": "fastfcn_r50-d32_jpu_aspp_4xb4-80k_cityscapes-512x1024",
    "fastfcn_r50-d32_jpu_psp_4x4_512x1024_80k_cityscapes": "fastfcn_r50-d32_jpu_psp_4xb4-80k_cityscapes-512x1024",
    "fastfcn_r50-d32_jpu_enc_4x4_512x1024_80k_cityscapes": "fastfcn_r50-d32_jpu_enc_4xb4-80k_cityscapes-512x1024",
    "ocrnet_hr18s_512x512_160k_ade20k": "ocrnet_hr18s_4xb4-160k_ade20k-512x512",
    "ocrnet_hr18_512x512_160k_ade20k": "ocrnet_hr18_4xb4-160k_ade20k-512x512",
    "pspnet_r50-d32_512x1024_80k_cityscapes": "pspnet_r50-d32_4xb2-80k_cityscapes-512x1024",
    "twins_svt-l_uperhead_8x2_512x512_160k_ade20k": "twins_svt-l_uperhead_8xb2-160k_ade20k-512x512",
    "ddeeplabv3plus_r101-d16-mg124_4xb2-40k_cityscapes-512x1024": (
        "deeplabv3plus_r101-d16-mg124_4xb2-40k_cityscapes-512x1024"
    ),
    "eemanet_r50-d8_4xb2-80k_cityscapes-512x1024": "emanet_r50-d8_4xb2-80k_cityscapes-512x1024",
    "fpn_poolformer_s36_8xb4-40k_ade20k-512x512": "fpn_poolformer_s36_8x4_512x512_40k_ade20k",
}

# Its file assigns ``model`` twice, and what the first says is lost: the published checkpoint has it.
_LOST = {
    "fpn_r101_4xb4-160k_ade20k-512x512": {"pretrained": "open-mmlab://resnet101_v1c", "backbone": {"depth": 101}},
}


@click.command()
@click.argument("configs", type=click.Path(path_type=Path, exists=True, file_okay=False))
def main(configs: Path) -> None:
    """Write both files."""
    resolved = {path.stem: (path, config) for path, config in _resolved(configs)}
    rows, facts = _Table(), {}
    scores = _scores(configs)
    for name, (path, config) in sorted(resolved.items()):
        try:
            sections, notes = recipe(name, config)
        except ShapeError as error:
            click.echo(f"{name}: {error}")
            continue
        rows.add(name, sections, notes, path=path, config=config, score=scores.pop(name, None))
        facts[name] = _facts(config)
    if scores:
        click.echo(f"results of no configuration: {', '.join(scores)}")
    write_text(TABLE, rows.text())
    packed = gzip.compress(json.dumps(facts).encode(), mtime=0)
    write_bytes(FACTS, packed)
    click.echo(f"{len(facts)} of {len(resolved)} configurations, {len(rows.parts)} parts, facts of {len(packed)} bytes")


def recipe(name: str, config: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the sections of a configuration, and what has no counterpart.

    Args:
        name: Of the configuration.
        config: It, resolved.

    Raises:
        ShapeError: Its network has no counterpart.
    """
    reader = ModelReader()
    model = reader.read(config["model"], preprocessor=config.get("data_preprocessor"))
    sections: dict[str, Any] = settings(config, reader.notes)
    if reader.threshold is not None:
        sections["evaluate"]["threshold"] = reader.threshold
    kind, data = _data(config)
    scale = test_scale(config, reader.notes)
    if sorted(scale.get("test_scale", ())) == sorted(_SIZES.get(data, (0,))):
        scale = {}  # it changes nothing there
    sections["model"] = {key: value for key, value in model.items() if key not in _MODEL_UNREAD} | scale
    devices = re.search(r"_(\d+)xb?\d+[-_]", name)
    sections["train"]["batch_size"] *= int(devices[1]) if devices else 1
    sections["train"].setdefault("precision", "fp32")
    sections["train"].setdefault("best_metric", "mDice" if kind in _VESSELS else "mIoU")
    sections["evaluate"]["split"] = "auto" if kind in _VESSELS else "val"
    sections["train"].pop("log_every", None)
    sections.pop("machine", None)
    if kind in _LAYOUTS:
        sections = {"data": {"name": _LAYOUTS[kind]}, **sections}
    sections = read_alone(sections)
    validate_params(sections, place=name)
    notes = [note for note in reader.notes if not any(re.match(pattern, note) for pattern in _TOLD)]
    if kind not in _LAYOUTS:
        notes.insert(0, f"no layout reads {kind}: prepare it as `folder`")
    told_length = re.search(r"-(\d+)k_", name)
    batches = sections["train"]["iterations"] * sections["train"].get("accumulate", 1)
    if name in _LOST:
        notes.insert(0, "the configuration's file loses its depth by a second `model =`; here it is that of its name")
    if told_length and int(told_length[1]) * 1000 != batches:
        notes.insert(0, f"the name says {told_length[1]}k, the configuration {batches // 1000}k")
    return sections, notes


def read_alone(sections: Mapping[str, Any]) -> dict[str, Any]:
    """Return sections without the keys that their names do not read, names first."""
    values, unread = without_unread(sections, Params)
    for key in unread:
        part: Any = values
        for step in key.place.split("."):
            part = part[int(step) if isinstance(part, list) else step]
        part.pop(key.key, None)
    return _names_first(values)  # type: ignore[no-any-return]


def _names_first(value: Any) -> Any:
    if isinstance(value, list):
        return [_names_first(part) for part in value]
    if not isinstance(value, dict):
        return value
    return {key: _names_first(value[key]) for key in sorted(value, key=lambda key: key != "name")}


def _data(config: Mapping[str, Any]) -> tuple[str, str]:
    data = config["train_dataloader"]["dataset"]
    while "dataset" in data or "datasets" in data:
        data = data["datasets"][0] if "datasets" in data else data["dataset"]
    return data["type"], {**_LAYOUTS, **_OTHERS}[data["type"]]


class _Table:
    """The rows, and their parts, each once."""

    def __init__(self) -> None:
        self.parts: dict[str, int] = {}
        self.notes: dict[str, int] = {}
        self.recipes: dict[str, dict[str, Any]] = {}

    def add(
        self,
        name: str,
        sections: Mapping[str, Any],
        notes: list[str],
        *,
        path: Path,
        config: Mapping[str, Any],
        score: str | None,
    ) -> None:
        """Add a recipe."""
        row: dict[str, Any] = {"family": path.parent.name, "data": _data(config)[1]}
        if _FILES.fullmatch(name):
            row["file"] = naming.name(validate_params(sections, place=name))
        row |= {"score": score} if score else {}
        row |= {"start": start} if (start := _start(config["model"])) else {}
        parts = [
            *({"model": {key: value}} for key, value in sections["model"].items()),
            *({section: values} for section, values in sections.items() if section != "model"),
        ]
        parts.sort(key=lambda part: _ORDER.index(next(iter(part))))
        row["parts"] = [self.parts.setdefault(_compact(part), len(self.parts)) for part in parts]
        row |= {"notes": [self.notes.setdefault(note, len(self.notes)) for note in notes]} if notes else {}
        self.recipes[name] = row

    def text(self) -> str:
        """Return the file: a line for each part, note and recipe."""
        rows = [f"{json.dumps(name)}: {_compact(row)}" for name, row in self.recipes.items()]
        notes = [json.dumps(note) for note in self.notes]
        blocks = [("parts", "[]", list(self.parts)), ("notes", "[]", notes), ("recipes", "{}", rows)]
        lines = [f'"{name}": {ends[0]}\n' + ",\n".join(entries) + f"\n{ends[1]}" for name, ends, entries in blocks]
        return "{\n" + ",\n".join(lines) + "\n}\n"


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


_ORDER = ("data", "augment", "model", "optimizer", "schedule", "train", "evaluate")


def _start(model: Any) -> str:
    """Return the short name of the weights that the backbone starts from."""
    if isinstance(model, Mapping):
        for key in ("pretrained", "checkpoint"):
            if isinstance(model.get(key), str):
                text: str = model[key]
                return re.sub(r"^open-mmlab://(.*/)?", "", text).rsplit("/", 1)[-1]
        parts: list[Any] = [model.get(key) for key in ("init_cfg", "backbone", "backbone_cfg")]
        return next((start for part in parts if part and (start := _start(part))), "")
    return next((start for part in model if (start := _start(part))), "") if isinstance(model, list) else ""


def _scores(configs: Path) -> dict[str, str]:
    """Return configuration -> its published result."""
    scores: dict[str, str] = {}
    for metafile in sorted(configs.glob("*/metafile.yaml")):
        for model in read_yaml(metafile).get("Models", []):
            results = model["Results"]
            metrics = (results[0] if isinstance(results, list) else results)["Metrics"]
            checkpoint = re.sub(r"_\d{8}_.*", "", (model.get("Weights") or "").rsplit("/", 1)[-1])
            name = Path(model["Config"]).stem
            name = _MISNAMED.get(checkpoint, _MISNAMED.get(name, name))
            assert name not in scores, name
            scores[name] = _score(metrics)
    return scores


def _score(metrics: Mapping[str, Any]) -> str:
    if "Dice" in metrics:
        return f"vessel Dice {metrics['Dice']:.2f}, mDice {metrics['mDice']:.2f}"
    if "mIoU" not in metrics:
        return ""
    flipped = metrics.get("mIoU(ms+flip)")
    return f"mIoU {metrics['mIoU']:.2f}" + (f", with scales and flips {flipped:.2f}" if flipped else "")


def _resolved(configs: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    from mmengine.config import Config

    for module in ("mmpretrain", "mmpretrain.models", "mmdet", "mmdet.models"):  # custom_imports of some; unused here
        sys.modules.setdefault(module, types.ModuleType(module))
    for path in sorted(configs.glob("*/*.py")):
        if path.parent.name != "_base_":
            config = Config.fromfile(path)
            config.merge_from_dict({"model": _LOST.get(path.stem, {})})
            yield path, config.to_dict()


def _facts(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return keys of a configuration as they stand there."""
    data = config["train_dataloader"]["dataset"]
    while "dataset" in data or "datasets" in data:
        data = data["datasets"][0] if "datasets" in data else data["dataset"]
    model = config["model"]
    heads = {key: model.get(key) for key in ("decode_head", "auxiliary_head")}
    kept = ("type", "in_index", "channels", "dropout_ratio", "align_corners", "loss_decode", "sampler")
    return {
        "data": data["type"],
        "pipeline": data["pipeline"],
        "batch_size": config["train_dataloader"]["batch_size"],
        "optim_wrapper": config["optim_wrapper"],
        "param_scheduler": config["param_scheduler"],
        "train_cfg": config["train_cfg"],
        "test_cfg": model["test_cfg"],
        "test_pipeline": config["val_dataloader"]["dataset"]["pipeline"],
        "preprocessor": model.get("data_preprocessor") or config.get("data_preprocessor"),
        "backbone": model["backbone"].get("type"),
        "neck": (model.get("neck") or {}).get("type"),
        "heads": {
            name: [{key: head[key] for key in kept if key in head} for head in _listed(part)]
            for name, part in heads.items()
        },
    }


def _listed(part: Any) -> list[Any]:
    return [] if part is None else list(part) if isinstance(part, (list, tuple)) else [part]


if __name__ == "__main__":
    main()
