import csv

import numpy as np
import pytest
from PIL import Image

from maskline.convert import archive
from maskline.convert.archive import convert_archive
from maskline.convert.formats import folder
from maskline.convert.problems import listed_problems
from maskline.convert.shards import ShardWriter
from maskline.core.errors import DataError, DataProblemsError, StorageError
from maskline.data import manifest
from maskline.data.dataset import PreparedSplit
from tests.sets import index_mask, pack_folder, picture, save, split_settings, tree, work


@pytest.fixture
def converted(settings, tmp_path):
    """Pack and convert a folder set; return the warnings."""

    def run(source, *, val=0.0, test=0.0, layout=folder.read, **changes):
        pack_folder(source, tmp_path / "set.zip")
        return convert_archive(
            tmp_path / "set.zip",
            tmp_path / "prepared",
            layout=layout,
            settings=settings(**changes),
            split=split_settings(val_fraction=val, test_fraction=test),
            work=work(tmp_path),
            max_unpacked_bytes=10**9,
        )

    return run


def test_the_same_set_gives_the_same_bytes(converted, make_set, tmp_path):
    converted(make_set({"": 6}), val=0.2, test=0.2)
    first = tree(tmp_path / "prepared")
    assert sorted(first) == ["labels.json", "manifest.csv", "reading.json", "shard-00000.bin", "warnings.csv"]
    converted(make_set({"": 6}, name="again"), val=0.2, test=0.2)
    assert tree(tmp_path / "prepared") == first


def test_splits_change_the_manifest_and_the_numbers_of_train(converted, make_set, tmp_path):
    source = make_set({"": 6})
    converted(source)
    first = tree(tmp_path / "prepared")
    converted(source, val=0.4)
    second = tree(tmp_path / "prepared")
    assert [name for name in first if first[name] != second[name]] == ["labels.json", "manifest.csv"]


def test_counts_and_kept_bytes(converted, make_set, tmp_path):
    source = make_set({"train": 2})
    mask = np.array(index_mask(1))
    mask[0, :3] = 255
    save(Image.fromarray(mask), source / "train/masks/01.png")
    converted(source)
    frame, _ = manifest.read(tmp_path / "prepared")
    cells = frame.iloc[1]
    assert (cells["pixels_0"], cells["pixels_1"]) == ((mask == 0).sum(), (mask == 1).sum())
    assert cells["pixels_ignored"] == 3
    assert cells["source"] == "train/images/01.png"
    shard = (tmp_path / "prepared" / cells["shard"]).read_bytes()
    start = cells["image_offset"]
    assert shard[start : start + cells["image_bytes"]] == (source / "train/images/01.png").read_bytes()


def test_exif_and_alpha_as_asked(converted, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    source = tmp_path / "set"
    for i in range(2):
        (source / "images").mkdir(parents=True, exist_ok=True)
        picture(i, (12, 10)).convert("RGBA").save(source / f"images/{i}.png", exif=exif)
        save(index_mask(i, (10, 12)), source / f"masks/{i}.png")
    converted(source, exif="apply", alpha="drop")
    sample = PreparedSplit.open(tmp_path / "prepared", "train", cache="ram").sample(0)
    assert np.array_equal(sample.image, np.rot90(np.array(picture(0, (12, 10))), -1))


def test_all_problems_at_once(converted, make_set, tmp_path):
    converted(make_set({"train": 2, "test": 1}))
    before = tree(tmp_path / "prepared")
    source = make_set({"train": 7, "test": 2}, name="bad")
    save(index_mask(0, values=(0, 1, 7)), source / "train/masks/00.png")
    save(index_mask(0, size=(11, 10)), source / "train/masks/01.png")
    (source / "train/masks/02.png").unlink()
    (source / "train/images/03.png").write_bytes(b"no picture")
    save(picture(5).convert("RGBA"), source / "train/images/04.png")
    save(picture(100), source / "train/images/05.png")  # test/00 is the same
    save(index_mask(0), source / "train/second/06.png")
    save(index_mask(0, values=(0, 9)), source / "train/second/06.png")
    save(index_mask(0, size=(3, 3)), source / "train/valid/06.png")
    with pytest.raises(DataProblemsError) as caught:
        converted(source)
    assert sorted({problem.place for problem in caught.value.problems}) == [
        "train/images/02.png",
        "train/images/03.png",
        "train/images/04.png",
        "train/images/05.png",
        "train/masks/00.png",
        "train/masks/01.png",
        "train/second/06.png",
        "train/valid/06.png",
    ]
    assert len(caught.value.problems) == 8
    assert tree(tmp_path / "prepared") == before
    assert list(tmp_path.glob(".prepared*")) == []


def test_a_mask_without_its_image_readable_is_still_checked(converted, make_set):
    source = make_set({"train": 2})
    (source / "train/images/00.png").write_bytes(b"no picture")
    save(index_mask(0, values=(0, 9)), source / "train/masks/00.png")
    with pytest.raises(DataProblemsError) as caught:
        converted(source)
    assert len(caught.value.problems) == 2


def test_warnings_are_returned_and_written(converted, make_set, tmp_path):
    source = make_set({"train": 4})
    save(Image.new("L", (12, 10), 0), source / "train/masks/00.png")
    save(Image.new("L", (12, 10), 255), source / "train/masks/01.png")
    save(picture(2), source / "train/images/03.png")
    warnings = converted(source)
    assert warnings == [
        ("train/00", "empty mask, single class: background"),
        ("train/01", "every pixel is ignored"),
        ("train/03", "another mask though the same image as train/02"),
        ("train/03", "the same image as train/02"),
    ]
    with (tmp_path / "prepared/warnings.csv").open() as stream:
        assert [tuple(row) for row in csv.reader(stream)] == [("id", "warning"), *warnings]


def test_equal_images_never_part(converted, make_set, tmp_path):
    for pair in range(5):
        source = make_set({"": 6}, name=f"set{pair}")
        save(picture(pair), source / "images/05.png")
        converted(source, val=0.3, test=0.3)
        frame, _ = manifest.read(tmp_path / "prepared")
        split = dict(zip(frame["id"], frame["split"], strict=True))
        assert split[f"{pair:02d}"] == split["05"]


def test_a_layouts_path_that_does_not_exist(converted, make_set):
    from dataclasses import replace

    def layout(path, settings):
        source = folder.read(path, settings)
        records = [replace(record, mask=path / "gone.png") for record in source.records]
        return replace(source, records=records)

    with pytest.raises(DataProblemsError, match=r"gone\.png: no such file"):
        converted(make_set({"train": 2}), layout=layout)


def test_a_disk_that_fills_up(converted, make_set, tmp_path, monkeypatch):
    converted(make_set({"train": 2}))
    before = tree(tmp_path / "prepared")

    def full(self, parts):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ShardWriter, "add", full)
    with pytest.raises(StorageError, match="no space left on device; free space"):
        converted(make_set({"train": 3}, name="more"))
    assert tree(tmp_path / "prepared") == before


def test_several_shards(converted, make_set, tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "ShardWriter", lambda path: ShardWriter(path, max_bytes=1000))
    source = make_set({"train": 5})
    converted(source)
    assert len(list((tmp_path / "prepared").glob("shard-*.bin"))) > 2
    split = PreparedSplit.open(tmp_path / "prepared", "train", cache="stream")
    for i in range(5):
        assert np.array_equal(split.sample(i).image, np.array(picture(i)))


def test_listed_problems(tmp_path):
    target = tmp_path / "x/problems.csv"
    problems = [DataError(f"{i}.png", "bad, very", "fix") for i in range(3)]
    with pytest.raises(DataProblemsError), listed_problems(target):
        raise DataProblemsError("set", problems)
    with target.open() as stream:
        assert list(csv.reader(stream)) == [
            ["place", "problem", "remedy"],
            *([f"{i}.png", "bad, very", "fix"] for i in range(3)),
        ]
    with pytest.raises(DataError), listed_problems(target):
        raise problems[0]
    assert len(target.read_text().splitlines()) == 2
    assert target.with_suffix(".txt").read_text() == "0.png: bad, very; fix\n"
    assert "<td>0.png</td>" in target.with_suffix(".html").read_text()
    with listed_problems(target):
        pass
    assert list(target.parent.iterdir()) == []


def test_lines_on_stderr_are_few(workspace, make_set):
    source = make_set({"train": 25, "test": 2})
    for i in range(25):
        save(index_mask(0, values=(0, 7)), source / f"train/masks/{i:02d}.png")
    run = workspace.both(archive=str(source))
    assert run.code == 2
    assert len(run.lines) == 21
    assert run.lines[-1] == "and 5 more in .maskline/convert_problems.csv"
    assert len((workspace.path / ".maskline/convert_problems.txt").read_text().splitlines()) == 25


def test_classes_that_a_split_lacks(converted, make_set):
    source = make_set({"train": 2, "test": 2})
    for i in range(2):
        save(Image.new("L", (12, 10), 0), source / f"test/masks/{i:02d}.png")
    assert ("test", "missing classes as follows: vessel") in converted(source)


def test_black_and_white_masks_that_are_read_as_ids(converted, make_set):
    source = make_set({"train": 3})
    for i in range(3):
        save(index_mask(i).point(lambda value: value * 255), source / f"train/masks/{i:02d}.png")
    with pytest.raises(DataError, match=r"set data\.mask_values to \{0: .background., 255: .vessel.\}"):
        converted(source)
