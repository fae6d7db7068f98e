"""What is fuzzed: for each kind of document a sound one, and the functions that commands give it to."""

import base64
import copy
import io
import json
import warnings
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import numpy as np
import onnx
from click import UsageError
from PIL import Image

from maskline.builders.model import segmentor
from maskline.convert import layouts
from maskline.convert.format_parts.tree import Tree
from maskline.convert.records import LayoutSettings
from maskline.core.errors import MasklineError
from maskline.data.labels import LabelSet
from maskline.data.reading_rule import ReadingRule
from maskline.params.base.reading import read_yaml
from maskline.params.whole import load_params, validate_params
from maskline.predict.model_sources import load
from maskline.projects import resources
from maskline.runtime import checkpoint
from tests.fuzz.changes import Change, changed, damaged

HEIGHT, WIDTH = 10, 12
LABELS = LabelSet(class_names=("background", "leaf"), palette=((0, 0, 0), (230, 60, 60)))
SETTINGS = LayoutSettings(
    classes=(), ignore_index=255, mask_encoding="index", exif="error", alpha="error", channels=None, scale="error"
)


@dataclass(frozen=True)
class Target:
    """One kind of document.

    Args:
        document: A sound one, as plain types.
        use: Reads the document's text, in an empty folder.
        text: From plain types to text.
    """

    document: Callable[[], Any]
    use: Callable[[str, Path], None]
    text: Callable[[Any], str] = json.dumps


def check(name: str, listed: list[Change], hurt: tuple[int, int, str] | None, folder: Path) -> None:
    """Change a target's document and use it; anything that a user could not fix comes out as it is.

    Args:
        name: Of ``TARGETS``.
        listed: Changes.
        hurt: Damage to the text; None: none.
        folder: Empty.
    """
    target = TARGETS[name]
    text = target.text(changed(target.document(), [tuple(each) for each in listed]))  # type: ignore[misc]
    if hurt is not None:
        text = damaged(text, *hurt)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with suppress(MasklineError, UsageError):
            target.use(text, folder)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode("utf-8", errors="surrogatepass"))


def _image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(_pixels()[:HEIGHT, :WIDTH]).save(path)


@cache
def _pixels() -> Any:
    return np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)


def _png(values: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, format="PNG")
    return stream.getvalue()


def _set(name: str, file: str, *images: str) -> Callable[[str, Path], None]:
    """Return a use of a labelling tool's file: recognised, read, and every mask drawn."""

    def use(text: str, folder: Path) -> None:
        _write(folder / file, text)
        for image in images:
            _image(folder / image)
        layouts.recognised(Tree(folder))
        source = layouts.layout(name)(folder, SETTINGS)
        for record in source.records:
            try:
                source.read_mask(record.mask)
            except MasklineError:
                continue

    return use


@cache
def _params_document() -> Any:
    return read_yaml(resources.shipped_params())


def _use_params(text: str, folder: Path) -> None:
    _write(folder / "params.yaml", text)
    load_params(folder / "params.yaml")


def _yaml(document: Any) -> str:
    """Return JSON, which is YAML but for numbers that are none."""
    return json.dumps(document).replace("NaN", ".nan").replace("Infinity", ".inf")


@cache
def _network() -> Any:
    values = copy.deepcopy(_params_document())
    values["model"]["backbone"] |= {"base_channels": 4, "num_stages": 2}
    values["model"]["decode_head"]["channels"] = 4
    values["model"]["auxiliary_heads"] = []
    params = validate_params(values).model
    return params, segmentor(params, num_classes=2).state_dict()


@cache
def _card() -> Any:
    params, weights = _network()
    receipt = {"weights_sha256": checkpoint.weights_sha256(weights), "own_code": {}}
    return {
        "format": checkpoint.FORMAT,
        "params": {"model": params.model_dump(mode="json")},
        "labels": LABELS.to_dict(),
        "preprocessing": {"mean": [120.0, 120.0, 120.0], "std": [60.0, 60.0, 60.0], "scale": 255},
        "reading": ReadingRule().to_dict(),
        "receipt": receipt,
    }


def _use_card(text: str, folder: Path) -> None:
    _, weights = _network()
    model = folder / "model"
    checkpoint.save_model(model, weights=weights, last=None, card={"receipt": {}})
    _write(model / checkpoint.CARD_FILE, text)
    load(model, threads=1).predict(_pixels())


@cache
def _metadata() -> Any:
    return {
        "format": 1,
        **LABELS.to_dict(),
        "mean": [120.0, 120.0, 120.0],
        "std": [60.0, 60.0, 60.0],
        "reading": ReadingRule().to_dict(),
        "receipt": "0",
    }


def _use_metadata(text: str, folder: Path) -> None:
    """Read the metadata of a file whose classes are two channels of the image."""
    helper = onnx.helper
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Transpose", ["floats"], ["channels"], perm=[0, 3, 1, 2]),
        helper.make_node("Slice", ["channels", "from", "to", "axis"], ["logits"]),
    ]
    values = [helper.make_tensor(n, onnx.TensorProto.INT64, [1], [v]) for n, v in (("from", 0), ("to", 2), ("axis", 1))]
    images = helper.make_tensor_value_info("images", onnx.TensorProto.UINT8, ["n", "h", "w", 3])
    logits = helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["n", 2, "h", "w"])
    graph = helper.make_graph(nodes, "channels", [images], [logits], initializer=values)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, {"maskline": text.encode("utf-8", errors="replace").decode()})
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    load(folder / "model.onnx", threads=1).predict(_pixels())


_SQUARE = [[1, 1], [6, 1], [6, 6], [1, 6]]


def _coco() -> Any:
    runs = {"size": [HEIGHT, WIDTH], "counts": [100, 20]}
    packed = {"size": [HEIGHT, WIDTH], "counts": "T3d0"}
    return {
        "images": [{"id": 1, "file_name": "a.png", "height": HEIGHT, "width": WIDTH}],
        "categories": [{"id": 1, "name": "leaf", "supercategory": "plant"}, {"id": 2, "name": "stem"}],
        "annotations": [
            {"id": i, "image_id": 1, "category_id": 1 + i % 2, "segmentation": each, "iscrowd": 0}
            for i, each in enumerate(([[1, 1, 6, 1, 6, 6]], runs, packed))
        ],
    }


def _labelme() -> Any:
    mask = base64.b64encode(_png(np.ones((3, 3), np.uint8))).decode()
    shapes = [
        {"label": "leaf", "points": _SQUARE, "shape_type": "polygon", "group_id": None, "flags": {}},
        {"label": "stem", "points": _SQUARE[::2], "shape_type": "rectangle"},
        {"label": "stem", "points": _SQUARE[::2], "shape_type": "circle"},
        {"label": "stem", "points": _SQUARE, "shape_type": "linestrip"},
        {"label": "leaf", "points": _SQUARE[:1], "shape_type": "point"},
        {"label": "leaf", "points": _SQUARE[::2], "shape_type": "mask", "mask": mask},
    ]
    image = {"imagePath": "a.png", "imageData": None, "imageHeight": HEIGHT, "imageWidth": WIDTH}
    return {"version": "5.5.0", "flags": {}, "shapes": shapes, **image}


def _label_studio() -> Any:
    sized = {"original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0}
    brush = list(bytes.fromhex("000001e0391bfe6b00c2fff85c030bffe1700c2fffbdc023ff00"))
    points = [[0, 60], [25, 60], [25, 90]]
    corner = {"x": 50, "y": 80, "width": 20, "height": 25, "rotation": 270}
    round_ = {"x": 50, "y": 50, "radiusX": 20, "radiusY": 10, "rotation": 5}
    results = [
        {**sized, "type": "brushlabels", "value": {"format": "rle", "rle": brush, "brushlabels": ["leaf"]}},
        {**sized, "type": "polygonlabels", "value": {"points": points, "closed": True, "polygonlabels": ["stem"]}},
        {**sized, "type": "rectanglelabels", "value": {**corner, "rectanglelabels": ["stem"]}},
        {**sized, "type": "ellipselabels", "value": {**round_, "ellipselabels": ["stem"]}},
    ]
    annotation = {"id": 1, "was_cancelled": False, "result": results, "updated_at": "2026-01-02T00:00:00Z"}
    return [{"id": 7, "data": {"image": "/data/upload/1/5f2a3b4c-a.png"}, "annotations": [annotation]}]


def _supervisely() -> Any:
    pixels = base64.b64encode(zlib.compress(_png(np.ones((3, 3), np.uint8)))).decode()
    outline = {"exterior": _SQUARE, "interior": [[[2, 2], [4, 2], [4, 4]]]}
    objects = [
        {"classTitle": "leaf", "geometryType": "polygon", "points": outline},
        {"classTitle": "stem", "geometryType": "bitmap", "bitmap": {"data": pixels, "origin": [2, 3]}},
        {"classTitle": "leaf", "geometryType": "rectangle", "points": {"exterior": _SQUARE[::2], "interior": []}},
        {"classTitle": "stem", "geometryType": "line", "points": {"exterior": _SQUARE, "interior": []}},
    ]
    return {"description": "", "tags": [], "size": {"height": HEIGHT, "width": WIDTH}, "objects": objects}


def _via() -> Any:
    shapes = [
        {"name": "polygon", "all_points_x": [1, 6, 6], "all_points_y": [1, 1, 6]},
        {"name": "rect", "x": 1, "y": 2, "width": 4, "height": 3},
        {"name": "circle", "cx": 5, "cy": 5, "r": 2},
        {"name": "ellipse", "cx": 5, "cy": 5, "rx": 2, "ry": 1, "theta": 0.1},
        {"name": "polyline", "all_points_x": [1, 6], "all_points_y": [1, 6]},
        {"name": "point", "cx": 3, "cy": 3},
    ]
    regions = [{"shape_attributes": shape, "region_attributes": {"class": "leaf"}} for shape in shapes]
    return {"a.png9": {"filename": "a.png", "size": 9, "regions": regions, "file_attributes": {}}}


def _cvat() -> Any:
    box = {"label": "stem", "xtl": "0.0", "ytl": "5.0", "xbr": "3.0", "ybr": "8.0", "z_order": "0"}
    mask = {"label": "stem", "rle": "1, 2, 3", "left": "9", "top": "0", "width": "3", "height": "2", "z_order": "0"}
    round_ = {"label": "leaf", "cx": "5.0", "cy": "2.0", "rx": "2.0", "ry": "1.0", "z_order": "1"}
    objects = [
        _element("polygon", {"label": "leaf", "points": "1.0,6.0;6.0,6.0;6.0,9.0", "z_order": "1"}),
        _element("polyline", {"label": "leaf", "points": "1.0,6.0;6.0,6.0"}),
        _element("points", {"label": "leaf", "points": "1.0,6.0"}),
        *(_element("box", box), _element("mask", mask), _element("ellipse", round_)),
    ]
    names = [_element("label", {}, _element("name", {}, text=n), _element("color", {}, text="#00ff00")) for n in "ab"]
    labels = _element("meta", {}, _element("task", {}, _element("labels", {}, *names)))
    image = {"id": "0", "name": "a.png", "subset": "Train", "width": str(WIDTH), "height": str(HEIGHT)}
    return _element("annotations", {}, labels, _element("image", image, *objects))


def _element(tag: str, attributes: Any, *children: Any, text: str = "") -> Any:
    return {"tag": tag, "attributes": attributes, "children": list(children), "text": text}


def _xml(element: Any) -> str:
    """Return XML of what still looks like an element; of anything else, its text."""
    if not isinstance(element, dict):
        return escape(str(element))
    tag, attributes, children = (element.get(key) for key in ("tag", "attributes", "children"))
    pairs = attributes.items() if isinstance(attributes, dict) else []
    inside = "".join(_xml(child) for child in children) if isinstance(children, list) else ""
    head = "".join(f" {key}={quoteattr(str(value))}" for key, value in pairs)
    return f"<{tag}{head}>{escape(str(element.get('text', '')))}{inside}</{tag}>"


TARGETS = {
    "params": Target(_params_document, _use_params, _yaml),
    "model.json": Target(_card, _use_card),
    "onnx": Target(_metadata, _use_metadata),
    "coco": Target(_coco, _set("coco", "train.json", "a.png")),
    "labelme": Target(_labelme, _set("labelme", "a.json", "a.png")),
    "label_studio": Target(_label_studio, _set("label_studio", "project-1.json", "images/a.png")),
    "supervisely": Target(_supervisely, _set("supervisely", "one/ann/a.png.json", "one/img/a.png")),
    "via": Target(_via, _set("via", "via.json", "a.png")),
    "cvat": Target(_cvat, _set("cvat", "annotations.xml", "images/a.png"), _xml),
}
