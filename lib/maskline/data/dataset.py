"""Prepared data, read by random access: one split's images and masks as numpy arrays."""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maskline.core.errors import DataError
from maskline.core.files import sha256_file
from maskline.core.state_folder import state_folder
from maskline.data import manifest
from maskline.data.image_statistics import ImageStatistics
from maskline.data.labels import LabelSet
from maskline.data.manifest import PARTS
from maskline.data.mapped import Field, MappedSamples
from maskline.data.reading_rule import RGB, ReadingRule

Cache = Literal["ram", "stream", "mmap", "device"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One image with its masks; do not write into the arrays, a cache may hold them.

    Args:
        id: Of the manifest.
        group: Of the manifest.
        image: (h, w, channels) uint8: RGB, where gray images have three equal channels, or those of data.channels.
        mask: (h, w) uint8 or uint16: class ids and the ignore index.
        valid: (h, w) bool: pixels that can be scored; None: all.
        second: (h, w) as ``mask``, by a second observer; None: there is none.
    """

    id: str
    group: str
    image: NDArray[np.uint8]
    mask: NDArray[np.integer[Any]]
    valid: NDArray[np.bool_] | None
    second: NDArray[np.integer[Any]] | None


@dataclass(frozen=True, slots=True)
class _Extent:
    """Where an encoded file lies in its shard, and the hash of its bytes."""

    offset: int
    length: int
    sha256: str


class PreparedSplit:
    """The samples of one split, in the order of their ids.

    It can be pickled, for loader processes; what the cache holds is left behind.

    Args:
        folder: Of the shards.
        labels: The classes.
        rows: Manifest rows of the split.
        cache: ``ram``: decoded samples stay in memory once asked for; ``stream``: decoded each time; ``mmap``: decoded
            once into a file that is mapped into memory; ``device``: as ``ram``, for a loader that keeps the images on
            the device too.
        rule: How the images were read; None: not known, RGB.
    """

    def __init__(
        self,
        folder: Path,
        labels: LabelSet,
        rows: list[dict[str, Any]],
        *,
        cache: Cache,
        rule: ReadingRule | None,
    ) -> None:
        self.labels = labels
        self.rule = rule
        self.bands = None if rule is None else rule.channels
        self.ids = [str(row["id"]) for row in rows]
        self.groups = [str(row["group"]) for row in rows]
        self.sizes = [(int(row["height"]), int(row["width"])) for row in rows]
        self._folder, self._cache = Path(folder), cache
        self._shards = [str(row["shard"]) for row in rows]
        self._extents = [
            {part: _Extent(*(row[f"{part}_{what}"] for what in ("offset", "bytes", "sha256"))) for part in PARTS}
            for row in rows
        ]
        self._samples: dict[int, Sample] = {}
        self._mapped: MappedSamples | None = None

    @classmethod
    def open(cls, folder: Path, split: str, *, cache: Cache) -> "PreparedSplit":
        """Open a split of a prepared folder.

        Raises:
            DataError: No manifest, a manifest that breaks its schema, or a split without images.
        """
        prepared_split = cls.find(folder, split, cache=cache)
        if prepared_split is None:
            raise DataError(
                f"{Path(folder) / manifest.MANIFEST_NAME}",
                f"no images in the split {split}",
                "choose another split, or raise data.val_fraction or data.test_fraction",
            )
        return prepared_split

    @classmethod
    def find(cls, folder: Path, split: str, *, cache: Cache) -> "PreparedSplit | None":
        """Open a split of a prepared folder, or return None where it has no images.

        Raises:
            DataError: No manifest, or a manifest that breaks its schema.
        """
        frame, labels = manifest.read(Path(folder))
        rows = frame[frame["split"] == split].to_dict("records")
        if not rows:
            return None
        plain = [{str(key): value for key, value in row.items()} for row in rows]
        prepared_split = cls(folder, labels, plain, cache=cache, rule=ReadingRule.read(Path(folder)))
        if cache == "mmap":
            prepared_split._map(
                f"{sha256_file(Path(folder) / manifest.MANIFEST_NAME)[:16]}{len(prepared_split.bands or ())}-{split}"
            )
        return prepared_split

    @property
    def channels(self) -> int:
        """Channels of the images."""
        return RGB if self.bands is None else len(self.bands)

    @property
    def second_annotators(self) -> int:
        """How many images have a second annotator's mask."""
        return sum(extents["second"].length > 0 for extents in self._extents)

    def statistics(self) -> ImageStatistics:
        """Return mean and standard deviation of the train split's channels.

        Raises:
            DataError: Convert has written none.
        """
        return ImageStatistics.read(self._folder / manifest.LABELS_NAME)

    def __len__(self) -> int:
        return len(self.ids)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_samples": {}}

    def sample(self, i: int) -> Sample:
        """Return sample ``i``, 0 <= i < len(self).

        Raises:
            DataError: The shard is missing or its bytes are not those that convert wrote.
        """
        if i in self._samples:
            return self._samples[i]
        arrays = self._decoded(i) if self._mapped is None else self._mapped.read(i)
        sample = Sample(
            id=self.ids[i],
            group=self.groups[i],
            image=arrays["image"],
            mask=arrays["mask"],
            valid=arrays.get("valid"),
            second=arrays.get("second"),
        )
        if self._cache in ("ram", "device"):
            self._samples[i] = sample
        return sample

    def _map(self, key: str) -> None:
        """Map the decoded samples into memory; written first where no run has done so."""
        kinds = {"image": "uint8", "mask": self.labels.mask_dtype, "valid": "bool", "second": self.labels.mask_dtype}
        fields = [
            [
                Field(part, kind, (*size, self.channels) if part == "image" else size)
                for part, kind in kinds.items()
                if extents[part].length
            ]
            for size, extents in zip(self.sizes, self._extents, strict=True)
        ]
        folder = state_folder("cache")
        mapped = MappedSamples(folder, key, fields)
        mapped.make(self._decoded)
        self._mapped = mapped

    def _decoded(self, i: int) -> dict[str, NDArray[Any]]:
        """Return the arrays of a sample that it has, by part."""
        mode = "RGB" if self.bands is None else None
        decoded = {part: self._decode(i, part, mode=mode if part == "image" else None) for part in PARTS}
        arrays = {part: array for part, array in decoded.items() if array is not None}
        if self.bands is not None:  # stored one below the other
            stacked = arrays["image"]
            planes = stacked.reshape(self.channels, -1, stacked.shape[1])
            arrays["image"] = np.ascontiguousarray(planes.transpose(1, 2, 0))
        if "valid" in arrays:
            arrays["valid"] = arrays["valid"] > 0
        return arrays

    def _decode(self, i: int, part: str, *, mode: str | None = None) -> NDArray[Any] | None:
        """Return a decoded part, converted to ``mode`` if one is given; None if the row has no such part."""
        extent = self._extents[i][part]
        if extent.length == 0:
            return None
        path = self._folder / self._shards[i]
        remedy = "restore it (dvc checkout --force data/prepared) or run the convert stage again"
        try:
            with path.open("rb") as stream:
                stream.seek(extent.offset)
                content = stream.read(extent.length)
        except FileNotFoundError as error:
            raise DataError(path, "no such file", remedy) from error
        if hashlib.sha256(content).hexdigest() != extent.sha256:
            raise DataError(path, f"the {part} of {self.ids[i]} is not what was written", remedy)
        with Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as opened:
            return np.array(opened if mode is None else opened.convert(mode))
