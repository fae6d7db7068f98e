"""The download and convert stages on broken input: one clear line, exit code 2, former outputs whole."""

import os
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image

from maskline.cli import whole_params
from maskline.cli.whole_params import check_whole
from maskline.data.dataset import PreparedSplit
from tests.server import serving
from tests.set_fixtures import check_here
from tests.sets import index_mask, pack_folder, picture, save, tree, zip_of


def one_line(run, *words):
    assert run.code == 2
    assert len(run.lines) == 1, run.err
    assert run.lines[0].startswith("error: ")
    for word in words:
        assert word in run.lines[0], run.lines[0]


@pytest.fixture
def good(workspace, make_set):
    """A workspace where a good set was converted."""
    run = workspace.both(archive=str(make_set({"train": 4, "test": 2}, name="good")), val_fraction=0.25)
    assert run.code == 0, run.err
    return workspace


def test_a_good_set(good):
    assert len(PreparedSplit.open(good.prepared, "train", cache="ram")) == 3
    assert len(PreparedSplit.open(good.prepared, "val", cache="ram")) == 1
    assert {path.name for path in (good.path / "reports/convert").iterdir()} == {
        "summary.json",
        "class_shares.csv",
        "sizes.csv",
        "grid.png",
    }
    assert not good.problems.exists()


def test_the_whole_file_is_checked_in_a_process_of_its_own(workspace, make_set, monkeypatch):
    """All other tests with this fixture do so in their own, and get the same."""
    source, runs = str(make_set()), {}
    for check in (check_whole, check_here):
        monkeypatch.setattr(whole_params, "check_whole", check)
        runs[check] = [workspace.download(archive=source, alpha="drop"), workspace.run("convert")]
        path = workspace.path / "params.yaml"
        path.write_text(path.read_text().replace("momentum: 0.1", "momentum: often"))
        runs[check] += [workspace.run("download"), workspace.run("convert")]
    assert [run.code for run in runs[check_whole]] == [0, 0, 2, 2]
    one_line(runs[check_whole][2], "params.yaml: model.norm.momentum: ")
    told = {check: [(run.code, run.lines[-1]) for run in each] for check, each in runs.items()}
    assert told[check_here] == told[check_whole]


def image_without_mask(source):
    (source / "train/masks/00.png").unlink()
    return "train/images/00.png: image without a mask"


def mask_without_image(source):
    (source / "train/images/00.png").unlink()
    return "train/masks/00.png: mask without an image"


def mask_of_other_size(source):
    save(index_mask(0, size=(12, 11)), source / "train/masks/00.png")
    return "train/masks/00.png: 12x11 pixels, its image has 12x10"


def label_seven(source):
    mask = np.array(index_mask(0))
    mask[3, 4:6] = 7
    save(Image.fromarray(mask), source / "train/masks/00.png")
    return "train/masks/00.png: label value 7 in 2 pixels (first at row 3, column 4)"


def label_300(source):
    mask = np.array(index_mask(0)).astype(np.uint16)
    mask[9, 11] = 300
    save(Image.fromarray(mask), source / "train/masks/00.png")
    return "train/masks/00.png: label value 300 in 1 pixels (first at row 9, column 11)"


def rotated_photo(source):
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(0).save(source / "train/images/00.png", exif=exif)
    return "train/images/00.png: EXIF orientation 6"


def alpha(source):
    picture(0).convert("RGBA").save(source / "train/images/00.png")
    return "train/images/00.png: alpha channel (mode RGBA)"


def same_image_in_two_splits(source):
    picture(0).convert("RGB").save(source / "test/images/01.png", compress_level=0)
    return "train/images/00.png: the same image as test/images/01.png"


def empty_mask_folder(source):
    for split in ("train", "test"):
        for path in (source / split / "masks").iterdir():
            path.unlink()
    return "masks/: no images in it"


def no_images(source):
    for split in ("train", "test"):
        for path in (source / split / "images").iterdir():
            path.unlink()
    return "images/: no images in it"


def unreadable_png(source):
    path = source / "train/images/00.png"
    path.write_bytes(path.read_bytes()[:-40])
    return "train/images/00.png: unreadable image"


def truncated_jpeg(source):
    (source / "train/images/00.png").unlink()
    path = source / "train/images/00.jpg"
    picture(0, (12, 10)).save(path)
    path.write_bytes(path.read_bytes()[:-60])
    return "train/images/00.jpg: unreadable image"


def unreadable_mask(source):
    (source / "train/masks/00.png").write_bytes(b"nothing")
    return "train/masks/00.png: not an image"


def color_mask(source):
    picture(0).save(source / "train/masks/00.png")
    return "train/masks/00.png: mode RGB of 120 colors, not gray"


def sixteen_bit_image(source):
    Image.fromarray(np.zeros((10, 12), np.uint16)).save(source / "train/images/00.png")
    return "train/images/00.png: mode I;16"


@pytest.mark.parametrize(
    "break_it",
    [
        image_without_mask,
        mask_without_image,
        mask_of_other_size,
        label_seven,
        label_300,
        rotated_photo,
        alpha,
        same_image_in_two_splits,
        empty_mask_folder,
        no_images,
        unreadable_png,
        truncated_jpeg,
        unreadable_mask,
        color_mask,
        sixteen_bit_image,
    ],
)
def test_broken_sets(good, make_set, break_it):
    source = make_set({"train": 4, "test": 2}, name="bad")
    message = break_it(source)
    before = tree(good.prepared), tree(good.path / "reports")
    assert good.download(archive=str(source)).code == 0
    run = good.run("convert")
    one_line(run, message, "; ")
    assert (tree(good.prepared), tree(good.path / "reports")) == before
    assert len(good.problems.read_text().splitlines()) == 2
    assert good.both(archive=str(make_set(name="good again"))).code == 0
    assert not good.problems.exists(), "a former list would mislead"


def test_two_problems_are_two_lines(good, make_set):
    source = make_set(name="bad")
    messages = [label_seven(source), unreadable_png(source)]
    good.download(archive=str(source))
    run = good.run("convert")
    assert run.code == 2
    assert len(run.lines) == 2
    for message in messages:
        assert message in run.err


def missing_archive(path):
    return {"archive": str(path / "none.zip")}, "no such file or folder"


def truncated_zip(path):
    zip_of(path / "a.zip", {"images/a.png": os.urandom(5000)})
    (path / "a.zip").write_bytes((path / "a.zip").read_bytes()[:3000])
    return {"archive": str(path / "a.zip")}, "a.zip: truncated or damaged archive"


def zip_with_a_path_outside(path):
    zip_of(path / "a.zip", {"../evil.png": b"evil"})
    return {"archive": str(path / "a.zip")}, "'../evil.png' leads outside"


def wrong_checksum(path):
    zip_of(path / "a.zip", {"a": b"a"})
    return {"archive": str(path / "a.zip"), "sha256": "0" * 64}, f"not {'0' * 64}"


def archive_bomb(path):
    with zipfile.ZipFile(path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", bytes(3 * 2**20))
    return {"archive": str(path / "a.zip"), "max_unpacked_gib": 2 / 1024}, "unpacks to more than 0.00195312 GiB"


def no_source(path):
    return {}, "data.archive: null, and folder has no download address"


def archive_of_a_drawn_set(path):
    return {"name": "synthetic_fundus", "archive": "a.zip"}, "is drawn, not read"


def unknown_set(path):
    return {"name": "chase"}, "params.yaml: data.name"


@pytest.mark.parametrize(
    "break_it",
    [
        missing_archive,
        truncated_zip,
        zip_with_a_path_outside,
        wrong_checksum,
        archive_bomb,
        no_source,
        archive_of_a_drawn_set,
        unknown_set,
    ],
)
def test_broken_sources(good, tmp_path, break_it):
    before = tree(good.raw)
    data, message = break_it(tmp_path)
    one_line(good.download(**data), message)
    assert tree(good.raw) == before
    assert not (tmp_path / "evil.png").exists()


def test_offline(good, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    before = tree(good.raw)
    run = good.download(name="chase_db1")
    one_line(run, "https://researchdata.kingston.ac.uk/96/1/CHASEDB1.zip", "fetch CHASEDB1.zip")
    one_line(run, "data.archive", "MASKLINE_MIRROR")
    assert tree(good.raw) == before


def test_a_published_set_from_the_mirror_must_be_the_published_one(good, monkeypatch, tmp_path):
    zip_of(tmp_path / "CHASEDB1.zip", {"a": b"a"})
    monkeypatch.setenv("MASKLINE_MIRROR", str(tmp_path))
    one_line(good.download(name="chase_db1"), "6899d626325134c1f3957facb596f56cca245624161640046c89cbbe44870cef")


def test_a_download(good, make_set):

    pack_folder(make_set(name="web"), good.path / "web.zip")
    with serving((good.path / "web.zip").read_bytes()) as server:
        assert good.both(url=server.url).code == 0
        server.status = [404]
        one_line(good.download(url=server.url), "404", "data.url")
    assert (good.raw / "archive.zip").read_bytes() == (good.path / "web.zip").read_bytes()


def test_convert_before_download(workspace):
    workspace.params()
    one_line(workspace.run("convert"), "no archive in it; run the download stage first")


def test_the_drawn_set(workspace):
    data = {"num_train": 5, "num_test": 2, "size": 64, "seed": 1}
    assert workspace.both(name="synthetic_fundus", classes=[], synthetic=data).code == 0
    first = tree(workspace.raw), tree(workspace.prepared), tree(workspace.path / "reports")
    splits = [PreparedSplit.open(workspace.prepared, name, cache="ram") for name in ("train", "val", "test")]
    assert [len(split) for split in splits] in ([4, 1, 2], [3, 2, 2]), "an odd patient has one eye"
    sample = splits[0].sample(0)
    assert sample.image.shape == (64, 64, 3)
    assert sample.second is not None
    assert sample.valid is not None
    assert workspace.both(name="synthetic_fundus", classes=[], synthetic=data).code == 0
    assert (tree(workspace.raw), tree(workspace.prepared), tree(workspace.path / "reports")) == first


@pytest.fixture
def mounted(mounted_disk):
    """A disk of 256 KiB."""
    return mounted_disk("256k")


STAGES = [("download", "--raw", "raw"), ("convert", "--prepared", "prepared")]


@pytest.mark.parametrize(("stage", "option", "name"), STAGES)
def test_a_full_disk(good, mounted, tmp_path, stage, option, name):
    disk, _ = mounted
    shutil.copytree(good.path / "data" / name, disk / name)
    before = tree(disk)
    for i in range(2):
        save(picture(i, (300, 300)), tmp_path / f"large/images/{i}.png")
        save(index_mask(i, (300, 300)), tmp_path / f"large/masks/{i}.png")
    pack_folder(tmp_path / "large", tmp_path / "large.zip")
    assert good.download(archive=str(tmp_path / "large.zip")).code == 0
    one_line(good.run(stage, option, disk / name), "no space left on device", "free space", "former file is untouched")
    assert tree(disk) == before


@pytest.mark.parametrize(("stage", "option", "name"), STAGES)
def test_a_read_only_disk(good, mounted, stage, option, name):
    disk, read_only = mounted
    shutil.copytree(good.path / "data" / name, disk / name)
    before = tree(disk)
    read_only()
    one_line(good.run(stage, option, disk / name), "read-only file system")
    assert tree(disk) == before


@pytest.mark.parametrize("stage", ["download", "convert"])
def test_help_loads_nothing_heavy(stage, root):
    code = (
        f"import sys, stages.{stage}; print([m for m in ('torch', 'pandas', 'numpy', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_neither_stage_loads_torch(workspace, make_set, root):
    workspace.params(archive=str(make_set()))
    code = (
        "import sys\n"
        "from stages import download, convert\n"
        "download.main(standalone_mode=False); convert.main(standalone_mode=False)\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=workspace.path,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "False\n"
