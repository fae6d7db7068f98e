"""Source archive to prepared data: every image checked, every problem listed, nothing dropped.

``encode.convert_record`` is a function of one record; what it returns is written in the order of ids. So the prepared
bytes do not depend on how many records are converted at a time, nor on a kill in between.
"""

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from maskline.convert import checks, label_faults
from maskline.convert.encode import Converted, convert_record
from maskline.convert.problems import write_csv
from maskline.convert.records import Layout, LayoutSettings, Record, SourceSet
from maskline.convert.resume import Finished, conversion_sha256, kept
from maskline.convert.shards import ShardWriter
from maskline.convert.splitting import split_lists, splits
from maskline.convert.splitting.near_duplicates import Fingerprint, near_pairs
from maskline.convert.workers import converted
from maskline.core.errors import DataError, DataProblemsError
from maskline.core.files import replace_folder, sha256_file
from maskline.data import manifest
from maskline.data.image_statistics import ImageStatistics, Sums
from maskline.data.manifest import Split
from maskline.data.reading_rule import ReadingRule
from maskline.download import archives
from maskline.download.listing import ListedFolder

WARNINGS_NAME = "warnings.csv"

Pairs = list[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitSettings:
    """How splits are made, and what must not be in two of them; see ``splits.assign``.

    Args:
        val_fraction: Share of the images that becomes val where there is none.
        test_fraction: Share of the images that becomes test where there is none.
        seed: Another seed moves other groups.
        fold: Which fold is val.
        num_folds: Folds; 0: none.
        stratify: Whether each split gets its share of every class.
        own: Whether the set's own splits count.
        lists: Split -> text file of images, or their names, instead of the set's own splits; empty: none.
        train_images: How many of the train images are kept; None: all.
        near_duplicates: ``error``: images in two splits are a problem if equal, and if nearly equal, but the latter
            in published splits a remark; ``warn``: a remark; ``off``: only equal ones are looked for, for a remark.
    """

    val_fraction: float
    test_fraction: float
    seed: int
    fold: int
    num_folds: int
    stratify: bool
    own: bool
    lists: Mapping[Split, Path | Sequence[str]]
    train_images: int | None
    near_duplicates: Literal["error", "warn", "off"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """How the work is done; nothing of it changes what comes out.

    Args:
        workers: Processes.
        finished: Folder for what is finished, so that a killed conversion goes on.
        layout_key: Tells the layout from others: its name, or the hash of the user's own file.
        progress: Passes the converted records on and shows how far they are, of so many.
    """

    workers: int
    finished: Path
    layout_key: str
    progress: Callable[[Iterable[Converted], int], Iterable[Converted]]


def convert_archive(
    archive: Path | ListedFolder,
    prepared: Path,
    *,
    layout: Layout,
    settings: LayoutSettings,
    split: SplitSettings,
    work: Work,
    max_unpacked_bytes: int,
) -> list[tuple[str, str]]:
    """Unpack an archive, convert all of it, put the result in place of ``prepared`` and return (image id, remark).

    The remarks, such as on empty masks, are also written to ``prepared/warnings.csv``.

    Args:
        archive: The verified source archive, or a listed folder.
        prepared: Folder to replace; it stays as it is on any error.
        layout: Finds records in the unpacked folder.
        settings: What the user says about the source.
        split: How splits are made.
        work: How the work is done.
        max_unpacked_bytes: A larger archive is refused.

    Raises:
        DataProblemsError: All problems of all images.
        DataError: The archive or the whole set cannot be used.
        StorageError: ``prepared`` cannot be written.
    """
    if isinstance(archive, ListedFolder):
        archive.check()
    key = {
        "archive": archive.sha256() if isinstance(archive, ListedFolder) else sha256_file(archive),
        "layout": work.layout_key,
        "settings": asdict(settings),
        "code": conversion_sha256(),
    }
    with replace_folder(prepared) as part, kept(work.finished, key) as finished:
        source_folder = part / "source"
        source_folder.mkdir()
        if isinstance(archive, ListedFolder):
            archive.link(source_folder)
        else:
            archives.unpack(archive, source_folder, max_bytes=max_unpacked_bytes)
        source, problems = _with_splits(layout(source_folder, settings), source_folder, split)
        done = _Set(source, source_folder, part, problems)
        done.convert(settings=settings, work=work, finished=finished)
        warnings = done.finish(split)
        if isinstance(archive, ListedFolder):
            archive.check()  # it may have been edited meanwhile
        done.rule(settings).write(part)
        shutil.rmtree(source_folder)
    return warnings


def _with_splits(source: SourceSet, folder: Path, split: SplitSettings) -> tuple[SourceSet, list[DataError]]:
    """Return the set in its order and with the splits that count, and all problems so far."""
    records = sorted(source.records, key=lambda record: record.id)
    problems = list(source.problems)
    if split.lists:
        records, wrong = split_lists.listed(records, split.lists, folder)
        problems += wrong
    elif not split.own:
        records = split_lists.without_splits(records)
    published = source.published_splits and split.own and not split.lists
    problems += checks.check_groups(records)
    return replace(source, records=records, published_splits=published), problems


class _Set:
    """A whole set on its way: what is known of its images so far."""

    def __init__(self, source: SourceSet, source_folder: Path, target: Path, problems: list[DataError]) -> None:
        self._source, self._source_folder, self._target, self._problems = source, source_folder, target, problems
        self._rows: list[dict[str, Any]] = []
        self._hashes: dict[str, str] = {}
        self._prints: dict[str, Fingerprint] = {}
        self._rims: dict[str, list[label_faults.Rim]] = {}
        self._plain: set[str] = set()
        self._remarks = list(source.remarks)
        self._sources: set[tuple[int, str]] = set()
        self._sums: dict[str, Sums] = {}

    def convert(self, *, settings: LayoutSettings, work: Work, finished: Finished) -> None:
        """Convert all images and write those of a sound set to shards."""
        records, shards = self._source.records, ShardWriter(self._target)
        one = partial(convert_record, source=self._source, source_folder=self._source_folder, settings=settings)
        for done in work.progress(converted(records, one, finished, workers=work.workers), len(records)):
            self._problems += done.problems
            if done.source is not None:
                self._sources.add(done.source)
                self._sums[done.id] = done.sums
            if done.image_hash:
                self._hashes[done.id] = done.image_hash
            if done.fingerprint is not None:
                self._prints[done.id] = done.fingerprint
            if done.plain:
                self._plain.add(done.id)
            if done.rims:
                self._rims[done.id] = done.rims
            self._remarks += [(done.id, warning) for warning in done.warnings]
            if not self._problems:
                self._rows.append({**done.cells, **shards.add(done.parts)})

    def rule(self, settings: LayoutSettings) -> ReadingRule:
        """Return how the images were read, for all who use a model of them."""
        return ReadingRule(
            channels=settings.channels,
            image_scale=settings.scale,
            alpha=self._source.alpha or settings.alpha,
            exif="ignore" if settings.exif == "ignore" else "apply",  # with error, there is none to be turned
            source_bands=tuple(sorted({bands for bands, _ in self._sources})),
            source_types=tuple(sorted({kind for _, kind in self._sources})),
        )

    def finish(self, split: SplitSettings) -> list[tuple[str, str]]:
        """Check the set as a whole, make its splits, write its manifest and return all remarks."""
        pairs, near = checks.same_images(self._hashes), Pairs()
        if split.near_duplicates != "off":
            own = {record.id: record.split or "train" for record in self._source.records}
            near = [pair for pair in near_pairs(self._prints, own) if self._hashes[pair[0]] != self._hashes[pair[1]]]
        fatal = split.near_duplicates == "error" and not self._source.published_splits
        leaks, near_remarks = _leaks(self._source.records, self._source_folder, pairs=pairs, near=near, fatal=fatal)
        self._problems += leaks if split.near_duplicates == "error" else []
        if not self._problems:
            self._problems += checks.check_classes(self._rows, self._source.labels)
        if self._problems:
            raise DataProblemsError("data set", self._problems)
        chosen = self._assign(split, [*pairs, *near])
        rows = [{**row, "split": chosen[row["id"]]} for row in self._rows]
        left_out = (
            set() if split.train_images is None else splits.spare(chosen, keep=split.train_images, seed=split.seed)
        )
        used = [row for row in rows if row["id"] not in left_out]
        if problems := checks.check_counted(used, self._source.labels):
            raise DataProblemsError("data set", problems)
        trained = [self._sums[row["id"]] for row in used if row["split"] == "train"]
        manifest.write(self._target, used, self._source.labels, statistics=ImageStatistics.of(trained))
        remarks = self._remarks + [(other, f"the same image as {one}") for one, other in pairs]
        remarks += checks.left_out(sorted(left_out)) + near_remarks + checks.missing_classes(used, self._source.labels)
        remarks += label_faults.shared_masks(rows, self._hashes, self._prints, plain=self._plain)
        remarks += label_faults.other_masks(pairs, rows)
        remarks += label_faults.blended(rows, self._rims, self._source.labels)
        remarks = sorted(remarks + checks.unused_classes(used, self._source.labels))
        write_csv(self._target / WARNINGS_NAME, ("id", "warning"), remarks)
        return remarks

    def _assign(self, split: SplitSettings, same_image: Pairs) -> dict[str, Split]:
        published = self._source.published_splits
        classes = range(self._source.labels.num_classes)
        present = {row["id"]: {i for i in classes if row[f"pixels_{i}"]} for row in self._rows}
        return splits.assign(
            self._source.records,
            val_fraction=0.0 if published else split.val_fraction,
            test_fraction=0.0 if published else split.test_fraction,
            seed=split.seed,
            fold=split.fold,
            num_folds=split.num_folds,
            same_image=same_image,
            present=present if split.stratify else None,
        )


def _leaks(
    records: Sequence[Record], source_folder: Path, *, pairs: Pairs, near: Pairs, fatal: bool
) -> tuple[list[DataError], list[tuple[str, str]]]:
    """Return problems and remarks of equal and nearly equal images in two splits of the set's own.

    Nearly equal ones are remarks where ``fatal`` is false: nobody can fix the splits that a benchmark publishes.
    """
    places = {record.id: record.image.relative_to(source_folder).as_posix() for record in records}
    own = {record.id: record.split or "train" for record in records}
    problems = checks.check_leaks(pairs, own, places)
    close = checks.check_leaks(near, own, places, how="nearly the same image as")
    if fatal:
        return problems + close, []
    return problems, [(other, f"nearly the same image as {one}") for one, other in near if own[one] != own[other]]
