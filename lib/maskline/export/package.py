"""The export folder: an ONNX file that has passed the parity gate, its variants, and its labels.

Each way to ship a model is a file of the folder and a ``Model`` behind ``maskline.export.parity``; a folder takes the
former one's place only when every file in it has passed.
"""

import copy
import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor
from torch.nn.functional import pad

from maskline.core.errors import DataError, ExportError
from maskline.core.files import replace_folder
from maskline.data.labels import LabelSet
from maskline.data.reading_rule import ReadingRule
from maskline.export import onnx_graph, parity
from maskline.export.interface import WHOLE, Interface
from maskline.export.onnx_passes import phases, segformer
from maskline.export.runtime_torch import TorchModel
from maskline.export.trace import Deployable, trace
from maskline.export.variants import Limits, OnnxVariant, Variant
from maskline.models.layers import resize
from maskline.models.scale import resized_bytes, scaled_size
from maskline.models.segmentor import SegmentorBase
from maskline.runtime.normalize import normalize

LABELS_FILE = "labels.json"
METADATA_FORMAT = 1


class Split(Protocol):
    """The images to compare on; ``maskline.data.dataset.PreparedSplit`` is one."""

    @property
    def labels(self) -> LabelSet:
        """Classes of the masks."""

    def __len__(self) -> int:
        """Number of images."""

    def sample(self, i: int) -> parity.Image:
        """Return one image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A trained network and what model.json says of it.

    Args:
        network: In eval mode, float32, on the CPU.
        labels: Its classes.
        mean: Subtracted from each channel, gray levels of 255.
        std: Divides each channel, gray levels of 255.
        params: The settings it was trained with, as plain types.
        weights_sha256: SHA-256 of its weights file.
        interface: How it is to be exported.
        reading: How the images it was trained on were read; None: not known.
        origin: Where the weights come from that it is, or started from, and their ``licence``; None: from nowhere else.
    """

    network: SegmentorBase
    labels: LabelSet
    mean: tuple[float, ...]
    std: tuple[float, ...]
    params: Mapping[str, Any]
    weights_sha256: str
    interface: Interface = WHOLE
    reading: ReadingRule | None = None
    origin: Mapping[str, str] | None = None

    @classmethod
    def from_card(cls, network: SegmentorBase, card: Mapping[str, Any], *, interface: Interface = WHOLE) -> "Trained":
        """Build from a network and the content of its model.json."""
        return cls(
            network=network,
            labels=LabelSet.from_dict(card["labels"], place="model.json"),
            mean=tuple(card["preprocessing"]["mean"]),
            std=tuple(card["preprocessing"]["std"]),
            params=card["params"],
            weights_sha256=card["receipt"]["weights_sha256"],
            interface=interface,
            reading=ReadingRule.from_dict(card["reading"], place="model.json") if "reading" in card else None,
            origin=card.get("origin"),
        )

    def deployable(self, *, simplified: bool = False) -> Deployable:
        """Return the network with its pre-processing and activation, in eval mode.

        Args:
            simplified: Of fewer operations where that is the same function: what is exported.

        Raises:
            ExportError: The sides are to be padded to what is no multiple of the network's stride; or there is a
                threshold, and no labels are given.
        """
        self._check_threshold()
        stride, multiple = self.network.stride, self.interface.pad_multiple
        if multiple is not None and multiple % stride:
            raise ExportError(
                "export.pad_multiple", f"{multiple} is no multiple of the network's stride {stride}", "choose one"
            )
        return Deployable(
            segformer.joined(self.network) if simplified else self.network,
            num_classes=self.labels.num_classes,
            stride=multiple or stride,
            mean=self.mean,
            std=self.std,
            interface=self.interface,
            align_corners=self.network.align_corners,
        ).eval()

    def _check_threshold(self) -> None:
        """Refuse a file that would leave the threshold to whoever reads it."""
        threshold, outputs = self.interface.threshold, self.interface.outputs
        if threshold is not None and "argmax" not in outputs:
            problem = f"{', '.join(outputs)}: the labels that the threshold {threshold:.6g} makes are not among them"
            raise ExportError("export.outputs", problem, "add argmax")

    def runtime(self, *, threads: int, device: str = "cpu") -> TorchModel:
        """Return the network as the reference of the parity gate: whole images, as the interface says.

        Args:
            threads: CPU threads.
            device: Where it runs; what is traced stays on the CPU.
        """
        interface = self.interface
        network = self.network if device == "cpu" else copy.deepcopy(self.network).to(device)
        resized = partial(resize, align_corners=False)

        def logits(images: Tensor) -> Tensor:
            if interface.scale is None:
                return unscaled(images)
            own_size = (images.shape[1], images.shape[2])
            seen = unscaled(resized_bytes(images, scaled_size(own_size, interface.scale)))
            return resize(seen, own_size, align_corners=self.network.align_corners)

        def unscaled(images: Tensor) -> Tensor:
            normalized = normalize(images.permute(0, 3, 1, 2).contiguous(), self.mean, self.std)
            size = (normalized.shape[2], normalized.shape[3])
            if interface.resize is not None:
                seen: Tensor = resized(network(resized(normalized, interface.resize)), size)
                return seen
            multiple = interface.pad_multiple or 1  # the network pads to its own stride by itself
            padded = [-(-side // multiple) * multiple for side in size]
            seen = network(pad(normalized, (0, padded[1] - size[1], 0, padded[0] - size[0])))
            return seen[:, :, : size[0], : size[1]]

        return TorchModel(
            logits,
            threads=threads,
            activation=interface.activation,
            channels=len(self.mean),
            network=network,
            device=device,
            threshold=interface.threshold,
        )


def export_model(
    trained: Trained,
    split: Split,
    *,
    name: str = "test",
    out: Path,
    opset: int,
    example_size: tuple[int, int],
    threads: int,
    limits: Limits,
    variants: tuple[Variant, ...],
    device: str = "cpu",
) -> dict[str, Any]:
    """Write the export folder after comparing its models with torch, and return the comparison as plain types.

    Args:
        trained: What to export.
        split: Compared on at original sizes, and in crops of ``maskline.export.parity.ODD_SIZES``.
        name: Of the split.
        out: Replaced as a whole; stays as it was when the gate refuses.
        opset: ONNX operator set.
        example_size: Height and width of the traced example.
        threads: CPU threads of torch and onnxruntime.
        limits: Of the parity gate.
        variants: Further files; what is found for each stands under its name.
        device: Of the network that they are compared with.

    Raises:
        ExportError: The network cannot be traced, or an exported model differs from it.
        DataError: The split has no image, or other classes than the model.
    """
    _check_split(trained, split, name=name)
    program = trace(trained.deployable(simplified=True), example_size=example_size)
    metadata = describe(trained, example_size=example_size)
    content = onnx_graph.to_onnx(program, opset=opset, metadata=metadata, outputs=trained.interface.names)
    reference = trained.runtime(threads=threads, device=device)
    report: dict[str, Any] = {}
    with replace_folder(out) as part:
        trained.labels.write(part / LABELS_FILE)
        first = OnnxVariant(name="", convert=phases.in_phases, limits=limits)
        for each in (first, *variants):
            each.write(part, program=program, content=content)
            exported = each.open(part, threads=threads)
            agreement = check_parity(
                reference, exported, split, name=name, place=out / each.files[0], limits=each.limits
            )
            agreement["bytes"] = sum((part / file).stat().st_size for file in each.files)
            report |= {each.name: agreement} if each.name else agreement
    return report


def check_parity(
    reference: parity.Model, exported: parity.Model, split: Split, *, name: str = "test", place: Path, limits: Limits
) -> dict[str, Any]:
    """Compare on the split's images and on odd sizes.

    Returns:
        ``{name: {...}, "odd_sizes": {...}}``, see ``maskline.export.parity.Parity.to_dict``.

    Raises:
        ExportError: The models differ by more than the limits.
    """
    labels = split.labels
    report: dict[str, Any] = {}
    for key, where, cases in (
        (name, f"the {len(split)} {name} images", parity.original_cases(_images(split))),
        ("odd_sizes", "odd sizes", parity.odd_cases(_images(split))),
    ):
        comparison = parity.compare(
            reference, exported, cases, class_names=labels.class_names, ignore_index=labels.ignore_index
        )
        parity.check(
            comparison,
            where=where,
            place=place,
            max_disagreement=limits.max_disagreement,
            max_metric_change=limits.max_metric_change,
            section=limits.section,
        )
        report[key] = comparison.to_dict()
    return report


def describe(trained: Trained, *, example_size: tuple[int, int]) -> dict[str, Any]:
    """Return what the file says of itself under its metadata key, as plain types."""
    return {
        "format": METADATA_FORMAT,
        "class_names": list(trained.labels.class_names),
        "palette": [list(color) for color in trained.labels.palette],
        "ignore_index": trained.labels.ignore_index,
        "reduce_zero_label": trained.labels.reduce_zero_label,
        "mean": list(trained.mean),
        "std": list(trained.std),
        "input": f"images (batch, height, width, {len(trained.mean)}), uint8{channels(trained)}; normalized inside",
        **({} if trained.reading is None else {"reading": trained.reading.to_dict()}),
        "outputs": trained.interface.describe(),
        **({} if trained.interface.threshold is None else {"threshold": trained.interface.threshold}),
        "sizes": {
            "stride": trained.network.stride,
            "resize": trained.interface.resize,
            **({} if trained.interface.scale is None else {"scale": list(trained.interface.scale)}),
            "pad_multiple": trained.interface.pad_multiple or trained.network.stride,
            "example": list(example_size),
            "compared": [list(size) for size in parity.ODD_SIZES],
        },
        "params": _public(trained.params),
        "receipt": trained.weights_sha256,
    }


def channels(trained: Trained) -> str:
    """Return what the channels of the network's input are, as the end of a phrase; empty: not known."""
    if trained.reading is not None and trained.reading.channels is not None:
        return f", channels {list(trained.reading.channels)} of the file"
    return ", RGB" if len(trained.mean) == 3 else ""


def _check_split(trained: Trained, split: Split, *, name: str) -> None:
    if not len(split):
        raise DataError(f"{name} split", "no image to compare the exported model on", "set data.test_fraction above 0")
    if split.labels != trained.labels:
        raise DataError(f"{name} split", "other classes than the model's", "train on this data first (dvc repro train)")


def _images(split: Split) -> Iterator[parity.Image]:
    return (split.sample(i) for i in range(len(split)))


def _public(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the params without paths and addresses, which are the author's own."""
    private = {("data", "archive"), ("data", "url"), ("model", "weights")}
    return {
        section: {key: value for key, value in values.items() if (section, key) not in private}
        for section, values in params.items()
    }


def sizes(agreement: Mapping[str, Any], variants: tuple[Variant, ...]) -> dict[str, int]:
    """Return the size of each file, bytes, by the name of its variant; fp32 is model.onnx."""
    return {"fp32": agreement["bytes"], **{each.name: agreement[each.name]["bytes"] for each in variants}}


def table(agreement: Mapping[str, Any], variants: tuple[Variant, ...]) -> str:
    """Return the agreement of each file with torch as CSV: one row a file and group of images."""
    stream = io.StringIO()
    writer: csv.DictWriter[str] | None = None
    for name, of_file in {"fp32": agreement, **{each.name: agreement[each.name] for each in variants}}.items():
        for group, measured in of_file.items():
            if not (isinstance(measured, Mapping) and "cases" in measured):
                continue
            row = {"file": f"{name}, {group}", "name": name, "images": group, **measured, "bytes": of_file["bytes"]}
            if writer is None:
                writer = csv.DictWriter(stream, list(row), lineterminator="\n")
                writer.writeheader()
            writer.writerow(row)
    return stream.getvalue()
