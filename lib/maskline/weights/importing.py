"""A foreign checkpoint becomes a model folder: read, describe the network, match names, write."""

import json
import os
import re
import reprlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from maskline.builders.model import no_larger_than, segmentor, without_start_weights
from maskline.core.errors import CheckpointError, MasklineError, ParamsError
from maskline.core.files import not_utf8, sha256_file, write_text
from maskline.core.text import one_line
from maskline.data.labels import LabelSet, bit_palette
from maskline.models.segmentor import SegmentorBase
from maskline.params.network.model import ModelParams, validate_model
from maskline.params.whole import load_params
from maskline.projects import recipes, yaml_lines
from maskline.projects.recipe_merge import merged
from maskline.runtime import checkpoint
from maskline.weights.config_text import parse_config, read_config
from maskline.weights.eomt import from_transformers, is_eomt
from maskline.weights.matching import Match, match
from maskline.weights.mmseg.model import ModelReader
from maskline.weights.mmseg.settings import settings, test_scale
from maskline.weights.reading import Foreign, read_checkpoint

# Classifiers, whose channels are the number of classes: MMSegmentation's, and the last of an SMP model.
_PARTS = ("decode_head", "auxiliary_head", "segmentation_head")
_CLASSIFIER = re.compile(r"decode_head\.(\d+\.)?conv_seg\.weight|(model\.)?segmentation_head\..*\.weight")

_MOST_CLASSES = 65535  # that a mask can hold
_LONGEST_NAME = 200  # of a class
_SPARE_VALUES = 100_000_000  # of a network of which a checkpoint holds a part


@dataclass(frozen=True, kw_only=True)
class Import:
    """What was imported.

    Args:
        match: Which tensors fitted.
        notes: What was left out of the configuration, one sentence each.
        sections: Settings that the configuration states beside the model.
    """

    match: Match
    notes: list[str]
    sections: dict[str, dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class _Network:
    params: ModelParams
    num_classes: int
    notes: list[str]
    sections: dict[str, dict[str, Any]]
    binary: tuple[str, ...] = ()


def write_import(
    source: Path,
    output: Path,
    *,
    recipe: str | None,
    mmseg_config: Path | None,
    labels_path: Path | None,
    params_path: Path | None = None,
    allow_partial: bool,
    origin: Mapping[str, str] | None = None,
) -> Import:
    """Write a model folder with a checkpoint's weights.

    Args:
        source: The checkpoint.
        output: The model folder; replaced as a whole, where it is one.
        recipe: Name of a recipe, or a params file.
        mmseg_config: A resolved MMSegmentation configuration; None and no recipe: the checkpoint's own.
        labels_path: labels.json to take class names from; None: the checkpoint's, or generic names.
        params_path: Params file to write the network and ``model.weights`` into; None: none.
        allow_partial: Write also where tensors are missing or left over.
        origin: Where the weights come from, and their ``licence``, for model.json; None: not known.

    Raises:
        MasklineError: A file cannot be read, a type has no counterpart, or the tensors do not fit.
    """
    checkpoint.check_replaceable(output)
    foreign = read_checkpoint(source)
    with _any_shapes(source):
        if is_eomt(foreign.tensors):
            foreign = replace(foreign, tensors=from_transformers(foreign.tensors))
        network = _from_recipe(recipe, foreign) if recipe else _from_mmseg(source, foreign, mmseg_config)
    _check_classes(network.num_classes, mmseg_config or source)
    labels = LabelSet.read(labels_path) if labels_path else _labels(foreign.meta, network)
    if labels.num_classes != network.num_classes:
        raise CheckpointError(
            labels_path or source,
            f"{labels.num_classes} class names for a network of {network.num_classes} classes",
            "give --labels of the data set that the network was trained on",
        )
    place, remedy = mmseg_config or recipe or source, f"give that of the network in {source}"
    with no_larger_than(foreign.tensors, place=place, remedy=remedy, spare=_SPARE_VALUES):
        model = segmentor(network.params, num_classes=network.num_classes)
    with _any_shapes(source):
        tensor_match = match(foreign.tensors, model.state_dict(), binary=network.binary)
    _check(tensor_match, source, allow_partial=allow_partial)
    checkpoint.check_values(source, tensor_match.tensors, model.state_dict())
    text = None if params_path is None else _with_network(params_path, network.params, output)
    card = _card(source, network, labels) | ({} if origin is None else {"origin": dict(origin)})
    _write(model, tensor_match, output, card=card)
    if params_path is not None and text is not None:
        write_text(params_path, text)
    return Import(match=tensor_match, notes=network.notes, sections=network.sections)


@contextmanager
def _any_shapes(source: Path) -> Iterator[None]:
    """Name the file where tensors cannot be joined, counted or looked up: its names promise shapes, or partners."""
    try:
        yield
    except MasklineError:
        raise
    except (RuntimeError, IndexError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        told = f"{type(error).__name__}: {str(error)[:200]}"
        raise CheckpointError(source, f"its tensors are no network's ({told})", "take another checkpoint") from error


def _with_network(path: Path, params: ModelParams, output: Path) -> str:
    """Return the text of a params file whose section model is the network, starting from the folder's weights.

    What the network does not say goes back to its default; comments and the other sections stay.

    Raises:
        ParamsError: It is no params file, or is written in a form that nothing can be put into.
    """
    if not path.is_file():
        raise ParamsError(path, "no such file", "make one first: maskline new DIR, or maskline recipe use NAME")
    said = params.model_dump(mode="json", exclude_unset=True)
    said["weights"] = os.path.relpath(output, path.resolve().parent)
    try:
        said["weights"].encode()
    except UnicodeEncodeError as error:
        raise not_utf8(error, path) from error
    with tempfile.TemporaryDirectory() as folder:
        recipe = Path(folder) / "network.yaml"
        recipe.write_text("\n".join(yaml_lines.dump({"model": said})) + "\n", encoding="utf-8")
        return merged(path, recipe, only=("model",), with_data=False)


def _from_recipe(recipe: str, foreign: Foreign) -> _Network:
    path = recipes.find(recipe)
    params = without_start_weights(load_params(path).model)
    counts = [value.shape[0] for name, value in foreign.tensors.items() if _CLASSIFIER.fullmatch(name)]
    if (
        params.decode_head.name == "eomt"
        and (of_queries := foreign.tensors.get("decode_head.cls_embed.weight")) is not None
    ):
        counts = [of_queries.shape[0] - 1]  # without "no class"
    if counts and counts[-1] == 1:
        note = "one channel became two: a constant 0 and the channel, whose softmax is the sigmoid that it had"
        return _Network(params=params, num_classes=2, notes=[note], sections={}, binary=_PARTS)
    return _Network(params=params, num_classes=counts[-1] if counts else 2, notes=[], sections={})


def _from_mmseg(source: Path, foreign: Foreign, path: Path | None) -> _Network:
    config = read_config(path) if path else _own_config(source, foreign.meta)
    model = config.get("model", config if "backbone" in config else None)
    if not isinstance(model, Mapping):
        raise CheckpointError(path or source, "no model section", "give a whole resolved configuration")
    reader = ModelReader()
    try:
        section = reader.read(model, preprocessor=config.get("data_preprocessor") or config.get("img_norm_cfg"))
        section |= test_scale(config, reader.notes)
        sections = settings(config, reader.notes)
        if reader.threshold is not None:
            sections.setdefault("evaluate", {})["threshold"] = reader.threshold
        json.dumps(sections, allow_nan=False)  # they are written as they are
    except MasklineError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError, ArithmeticError, IndexError) as error:
        told = f"{type(error).__name__}: {str(error)[:200]}"
        raise CheckpointError(path or source, f"not the form of a configuration ({told})", "resolve it") from error
    params = validate_model(section, place=path or source)
    return _Network(
        params=params,
        num_classes=reader.num_classes,
        notes=reader.notes,
        sections=sections,
        binary=reader.binary,
    )


def _check_classes(num_classes: Any, place: object) -> None:
    if type(num_classes) is not int or not 2 <= num_classes <= _MOST_CLASSES:
        problem = f"{reprlib.repr(num_classes)} classes"
        raise CheckpointError(place, problem, f"give a network of 2 to {_MOST_CLASSES} classes")


def _own_config(source: Path, meta: Mapping[str, Any]) -> dict[str, Any]:
    for key in ("cfg", "config"):
        text = meta.get(key)
        if isinstance(text, str) and text.strip():
            return parse_config(text, place=f"{source}: meta.{key}")
    raise CheckpointError(source, "holds no configuration", "give --mmseg-config FILE or --recipe NAME")


def _labels(meta: Mapping[str, Any], network: _Network) -> LabelSet:
    num_classes = network.num_classes
    told = meta.get("dataset_meta")
    merged = {**meta, **told} if isinstance(told, Mapping) else dict(meta)
    names, palette = (_listed(merged, key) for key in ("classes", "palette"))
    usable = len(names) == num_classes and len(set(filter(_is_name, names))) == num_classes
    colors = len(palette) == num_classes and all(map(_is_color, palette))
    if names and not usable:
        network.notes.append(f"its class names are none of {num_classes} classes: class_0 and so on stand for them")
    if palette and not colors:
        network.notes.append(f"its palette is none of {num_classes} classes: PASCAL VOC's colors stand for it")
    return LabelSet(
        class_names=tuple(names) if usable else tuple(f"class_{i}" for i in range(num_classes)),
        palette=tuple((r, g, b) for r, g, b in palette) if colors else bit_palette(num_classes),
        ignore_index=max(255, num_classes),
    )


def _listed(meta: Mapping[str, Any], key: str) -> Sequence[Any]:
    values = (meta.get(key), meta.get(key.upper()))
    return next((value for value in values if isinstance(value, list | tuple)), ())


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _LONGEST_NAME and one_line(value) == value


def _is_color(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 3 and all(type(v) is int and 0 <= v < 256 for v in value)


def _check(tensor_match: Match, source: Path, *, allow_partial: bool) -> None:
    own_total = len(tensor_match.tensors) + len(tensor_match.missing) + len(tensor_match.unfit)
    if not tensor_match.tensors:
        raise CheckpointError(source, "no tensor fits this network", "give the configuration it was trained with")
    if tensor_match.whole or allow_partial:
        return
    first = (*tensor_match.unfit, *(f"{name} is missing" for name in tensor_match.missing), *tensor_match.left_over)[0]
    raise CheckpointError(
        source,
        f"not of this network: {len(tensor_match.tensors)} of {own_total} tensors fit, "
        f"{len(tensor_match.left_over)} left over, {len(tensor_match.missing)} missing, "
        f"{len(tensor_match.unfit)} of another shape; the first: {first}",
        "give the configuration it was trained with, or --allow-partial",
    )


def _card(source: Path, network: _Network, labels: LabelSet) -> dict[str, Any]:
    params = network.params
    mean, std = params.numbers()
    return {
        "params": {"model": params.model_dump(mode="json"), **network.sections},
        "labels": labels.to_dict(),
        "preprocessing": {"mean": list(mean), "std": list(std), "scale": 255},
        "receipt": {"imported_from": source.name, "imported_sha256": sha256_file(source)},
    }


def _write(model: SegmentorBase, tensor_match: Match, output: Path, *, card: Mapping[str, Any]) -> None:
    own = model.state_dict()
    weights = {
        name: tensor_match.tensors.get(name, value)
        .to(value.dtype)
        .contiguous()
        .clone(memory_format=torch.contiguous_format)
        for name, value in own.items()
    }
    checkpoint.save_model(output, weights=weights, last=None, card=card)
