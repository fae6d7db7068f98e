import numpy as np
import pytest
from PIL import Image

from maskline.convert.records import Record
from maskline.convert.splitting.split_lists import listed
from maskline.core.errors import DataError
from maskline.data import manifest
from maskline.data.dataset import PreparedSplit
from tests.sets import index_mask, picture, save, tree


def record(folder, id_, split=None):
    return Record(id=id_, group=id_, split=split, image=folder / f"images/{id_}.jpg", mask=folder / "m.png")


@pytest.fixture
def images(tmp_path):
    return [record(tmp_path, f"{place}/{i}", "train") for place in ("north", "south") for i in ("a", f"{place}1")]


def write(path, *lines):
    path.write_text("\n".join(lines))
    return path


def test_images_by_id_path_name_or_stem(images, tmp_path):
    lists = {
        "val": write(tmp_path / "val.txt", "# some", "north/a", "", "images/south/a.jpg"),
        "test": write(tmp_path / "test.txt", "north1", "south1.jpg"),
    }
    records, problems = listed(images, lists, tmp_path)
    assert problems == []
    assert {one.id: one.split for one in records} == {
        "north/a": "val",
        "south/a": "val",
        "north/north1": "test",
        "south/south1": "test",
    }
    del lists["test"]
    assert [one.split for one in listed(images, lists, tmp_path)[0]] == ["val", "train", "val", "train"]


def test_each_wrong_line_and_each_image_left_out_is_named(images, tmp_path):
    train = write(tmp_path / "train.txt", "north/a", "nowhere", "a", "south/a")
    val = write(tmp_path / "val.txt", "south/a")
    problems = [str(problem) for problem in listed(images, {"train": train, "val": val}, tmp_path)[1]]
    assert len(problems) == 5
    assert "train.txt line 2: nowhere is no image" in problems[0]
    assert "train.txt line 3: a is of 2 images" in problems[1]
    assert "val.txt line 1: south/a is in the list of train too" in problems[2]
    assert problems[3].startswith("north/north1: in no list")
    with pytest.raises(DataError, match=r"gone\.txt: no such file"):
        listed(images, {"val": tmp_path / "gone.txt"}, tmp_path)


def test_names_in_place_of_a_file(images, tmp_path):
    records, problems = listed(images, {"val": ("north/a", "a.jpg", "images/south/a.jpg")}, tmp_path)
    assert [str(one).partition(";")[0] for one in problems] == ["data.split_lists.val, entry 2: a.jpg is of 2 images"]
    assert {one.id for one in records if one.split == "val"} == {"north/a", "south/a"}


def splits(workspace):
    frame, _ = manifest.read(workspace.prepared)
    return frame.set_index("id")["split"].to_dict()


def test_the_stage_takes_lists_and_can_forget_a_sets_own_splits(workspace, make_set):
    source = make_set({"train": 4, "test": 4})
    names = [f"{split}/{i:02d}" for split in ("train", "test") for i in range(4)]
    write(workspace.path / "val.txt", "train/01", "test/02")
    lists = {"train": None, "val": "val.txt", "test": ["train/03"]}
    result = workspace.both(archive=str(source), split_lists=lists)
    assert result.code == 0, result.err
    expected = dict.fromkeys(names, "train") | {"train/01": "val", "test/02": "val", "train/03": "test"}
    assert splits(workspace) == expected
    for stratify in (False, True):
        result = workspace.both(archive=str(source), own_splits=False, stratify=stratify, test_fraction=0.25)
        assert result.code == 0, result.err
        found = splits(workspace)
        assert sorted(found.values()).count("test") == 2
        assert any(found[name] == "train" for name in names if name.startswith("test/"))


def test_images_in_two_splits_are_an_error_a_warning_or_nobody_looks(workspace, make_set):
    source = make_set({"train": 4, "test": 2})
    big = picture(7, (64, 48)).resize((128, 96), Image.Resampling.NEAREST)
    for split in ("train", "test"):
        save(big, source / split / "images/near.png")
        save(index_mask(5, (128, 96)), source / split / "masks/near.png")
    darker = np.asarray(big).astype(np.uint16) * 9 // 10
    Image.fromarray(darker.astype(np.uint8)).save(source / "test/images/near.png")
    assert "nearly the same image as" in workspace.both(archive=str(source)).err
    found = []
    for how in ("warn", "off"):
        assert workspace.both(archive=str(source), near_duplicates=how).code == 0
        found.append("nearly the same" in (workspace.prepared / "warnings.csv").read_text())
    assert found == [True, False]
    save(big, source / "test/images/near.png")
    assert "the same image as" in workspace.both(archive=str(source)).err
    assert workspace.both(archive=str(source), near_duplicates="off").code == 0
    assert "train/near,the same image as test/near" in (workspace.prepared / "warnings.csv").read_text()


@pytest.mark.parametrize(("how", "together"), [("error", "abc"), ("off", "bc")])
def test_equal_and_nearly_equal_images_go_into_one_split(workspace, make_set, how, together):
    source = make_set({"": 5})
    big = picture(7, (64, 48)).resize((128, 96), Image.Resampling.NEAREST)
    darker = Image.fromarray((np.asarray(big).astype(np.uint16) * 9 // 10).astype(np.uint8))
    for name, shown in {"a": darker, "b": big, "c": big}.items():
        save(shown, source / f"images/{name}.png")
        save(index_mask(5, (128, 96)), source / f"masks/{name}.png")
    options = {"archive": str(source), "near_duplicates": how, "val_fraction": 0.4, "test_fraction": 0.4}
    for seed in range(5):
        result = workspace.both(split_seed=seed, **options)
        assert result.code == 0, result.err
        assert len({splits(workspace)[name] for name in together}) == 1


def test_masks_saved_as_jpeg_are_snapped_only_when_told(workspace, tmp_path):
    source, expected = tmp_path / "set", {}
    for i in range(4):
        white = np.zeros((48, 64), np.uint8)
        white[10 + i : 30, 20:50] = 255
        expected[f"{i}"] = int((white > 0).sum())
        save(picture(i, (64, 48)), source / f"images/{i}.png")
        (source / "masks").mkdir(exist_ok=True)
        Image.fromarray(white).save(source / f"masks/{i}.jpg", quality=60)
    error = workspace.both(archive=str(source), mask_encoding="binary").err
    assert "0/255 mask" in error
    assert "binary_snapped" in error
    result = workspace.both(archive=str(source), mask_encoding="binary_snapped")
    assert result.code == 0, result.err
    frame, _ = manifest.read(workspace.prepared)
    for row in frame.to_dict("records"):
        assert row["pixels_1"] == pytest.approx(expected[row["id"]], rel=0.02)


def test_lines_of_other_programs(images, tmp_path):
    named = record(tmp_path, "norden/bäume", "train")
    lists = {"val": ("/home/me/set/images/north/a.png north/a.mask.png", "C:\\set\\south\\a.jpg", "norden/ba\u0308ume")}
    records, problems = listed([*images, named], lists, tmp_path)
    assert problems == []
    assert {one.id for one in records if one.split == "val"} == {"north/a", "south/a", "norden/bäume"}


def test_so_many_of_the_train_images_a_smaller_number_out_of_a_larger_ones(workspace, make_set):
    source = str(make_set({"train": 6, "val": 2, "test": 2}))
    kept, means = {}, {}
    for number in (None, 6, 4, 2):
        run = workspace.both(archive=source, train_images=number)
        assert run.code == 0, run.err
        kept[number] = {name for name, split in splits(workspace).items() if split == "train"}
        assert len(splits(workspace)) == len(kept[number]) + 4
        told = f"train: {6 - (number or 6)} images left out by data.train_images as follows: "
        assert (told in run.err) == (number in (2, 4))
        means[number] = PreparedSplit.open(workspace.prepared, "train", cache="ram").statistics().mean
    assert kept[2] < kept[4] < kept[6] == kept[None]
    assert means[6] == means[None] != means[2], "auto statistics are of the images that train"
    assert workspace.both(archive=source, train_images=2, split_seed=1).code == 0
    assert kept[2] != {name for name, split in splits(workspace).items() if split == "train"}
    before = tree(workspace.prepared)
    run = workspace.both(archive=source, train_images=7)
    assert run.code == 2
    assert "data.train_images: 7 of 6 train images; give at most 6" in run.err
    assert tree(workspace.prepared) == before


def test_a_class_that_only_left_out_images_hold_is_named(workspace, make_set):
    source = make_set({"train": 4, "test": 2})
    settings = {
        "archive": str(source),
        "classes": [{"name": name, "color": [i, 0, 0]} for i, name in enumerate(("ground", "leaf", "stem"))],
    }
    assert workspace.both(**settings, train_images=2).code == 0
    left_out = min({f"train/{i:02d}" for i in range(4)} - set(splits(workspace)))
    save(index_mask(0, values=(0, 1, 2)), source / f"{left_out.replace('/', '/masks/')}.png")
    said = "data set: 1 classes without a pixel as follows: stem"
    assert said in workspace.both(**settings, train_images=2).err
    assert said not in workspace.both(**settings).err
