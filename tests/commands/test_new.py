"""maskline new: what a project of one's own is made of, from masks and recipes too."""

import errno
import json
import shutil
import subprocess

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image, ImageFilter

from maskline import __version__
from maskline.cli import package_lock
from maskline.commands.main import main
from maskline.core import code_hash
from maskline.core.errors import DataError, InputsChangedError
from maskline.params.base.reading import read_yaml
from maskline.params.whole import load_params
from maskline.projects import new_project, plots_page
from maskline.projects.new_data import describe

RECIPE = "unet-s5-d16_fcn_1xb16-40k_chase-db1-128x128"


@pytest.fixture(autouse=True)
def quick_and_known(monkeypatch):
    """git knows who commits; the page of charts and the hash of the code, tested by themselves, cost no time."""
    monkeypatch.setattr(plots_page, "page", lambda: "{plot_divs}")
    monkeypatch.setattr(package_lock, "package_sha256", lambda: "a" * 16)
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "test")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "test@example.invalid")


def new(*arguments, code=0):
    result = CliRunner().invoke(main, ["new", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result.output


def git(folder, *arguments):
    return subprocess.run(["git", "-C", folder, *arguments], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def project(tmp_path):
    new(tmp_path / "demo")
    return tmp_path / "demo"


def test_everything_is_committed_and_the_settings_are_the_shipped_ones(project, root, shipped_params):
    assert git(project, "status", "--porcelain") == ""
    assert git(project, "log", "--format=%s") == "New maskline project\n"
    titled = f"evaluate:\n  # Heading of the report page.\n  title: {project.name}\n"
    assert (project / "params.yaml").read_text() == shipped_params.read_text().replace("evaluate:\n", titled)
    for name in ("train", "export"):
        assert (project / "stages" / f"{name}.py").read_bytes() == (root / "stages" / f"{name}.py").read_bytes()
    assert "maskline doctor" in (project / "README.md").read_text(encoding="utf-8")


def test_stages_depend_on_the_lock_instead_of_library_files(project, root):
    own = read_yaml(root / "dvc.yaml")
    made = read_yaml(project / "dvc.yaml")
    assert made.keys() == own.keys()
    for name, stage in made["stages"].items():
        listed = own["stages"][name]
        assert stage["deps"] == [dep for dep in listed["deps"] if not dep.startswith("lib/")]
        assert {"requirements.lock", "stages/__init__.py"} < set(stage["deps"])
        assert stage | {"deps": []} == listed | {"deps": []}


def test_the_lock_names_maskline_and_what_it_needs(project):
    pins = dict(
        line.partition("  #")[0].split("==")
        for line in (project / "requirements.lock").read_text(encoding="utf-8").splitlines()
        if not line.startswith("#")
    )
    assert pins["maskline"] == __version__
    assert {"torch", "numpy", "dvc", "pydantic-core"} <= set(pins)
    assert "pytest" not in pins
    assert "+" not in pins["torch"]


def test_another_maskline_stops_a_stage(project, monkeypatch):
    lock = project / "requirements.lock"
    package_lock.check(lock)
    package_lock.check(project / "none")
    monkeypatch.setattr(package_lock, "__version__", "99.0")
    with pytest.raises(InputsChangedError, match=r"for maskline .*; 99.0 is installed; run maskline new --upgrade"):
        package_lock.check(lock)
    monkeypatch.undo()
    monkeypatch.setattr(package_lock, "package_sha256", lambda: "0" * 16)
    with pytest.raises(InputsChangedError, match="another build of maskline"):
        package_lock.check(lock)


def test_the_hash_is_of_the_files_that_a_wheel_has(tmp_path, root, monkeypatch):
    monkeypatch.undo()
    package = tmp_path / "maskline"
    shutil.copytree(root / "lib" / "maskline", package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(code_hash, "_PACKAGE", package)
    first = code_hash.package_sha256()
    (package / "project" / "stages").mkdir(parents=True)
    (package / "project" / "stages" / "train.py").write_text("X = 1")
    assert code_hash.package_sha256() == first
    (package / "evaluation" / "page" / "page.css").write_text("")
    assert code_hash.package_sha256() != first


def test_upgrade_writes_what_is_ours_and_leaves_the_rest(project):
    assert "at the installed maskline already" in new(project, "--upgrade")
    (project / "requirements.lock").write_text("maskline==0.0.1  # code 00\n")
    assert "requirements.lock: edited and not committed" in new(project, "--upgrade", code=2)
    with (project / "params.yaml").open("a") as stream:
        stream.write("# edited\n")
    (project / ".dvc/plots/scores.json").unlink()
    (project / ".dvc/plots/mine.json").write_text("{}")
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--message", "older")
    assert "dvc repro runs the stages again" in new(project, "--upgrade")
    assert git(project, "status", "--porcelain") == " M requirements.lock\n?? .dvc/plots/scores.json\n"
    assert (project / ".dvc/plots/mine.json").is_file()
    package_lock.check(project / "requirements.lock")
    assert "not a project that maskline new made" in new(project.parent, "--upgrade", code=2)


def test_an_upgrade_that_could_not_go_on_is_tried_again(project, monkeypatch):
    for name in ("dvc.yaml", "params.schema.json", "requirements.lock"):
        (project / name).write_text("older\n")
    git(project, "commit", "--quiet", "--all", "--message", "older")
    write_text = new_project.write_text

    def full(path, text):
        if path.name == "params.schema.json":
            raise OSError(errno.ENOSPC, "No space left on device")
        write_text(path, text)

    with monkeypatch.context() as patch:
        patch.setattr(new_project, "write_text", full)
        assert "no space left on device" in new(project, "--upgrade", code=2)
    assert git(project, "status", "--porcelain") == " M dvc.yaml\n"
    assert "dvc repro runs the stages again" in new(project, "--upgrade")
    (project / "dvc.yaml").write_text("mine\n")
    assert "dvc.yaml: edited and not committed" in new(project, "--upgrade", code=2)


def test_without_a_first_commit_git_says_why(tmp_path, monkeypatch, caplog):
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "<")
        monkeypatch.setenv(f"GIT_{who}_NAME", "<")
    new(tmp_path / "demo")
    assert 'no first commit, git says "fatal: name consists only of disallowed characters' in caplog.text


def test_upgrade_adds_new_sections_to_an_older_params_file(project, shipped_params):
    path = project / "params.yaml"
    text = shipped_params.read_text()
    older = text.replace("preview:\n  samples: 8\n", "").replace(
        "  flip_vertical", "  preview_samples: 3\n  flip_vertical"
    )
    older = older[: older.index("machine:")].replace("  batch_size: 8\n", "  batch_size: 8\n  workers: 2\n")
    path.write_text(older)
    git(project, "commit", "--quiet", "--all", "--message", "older")
    before = load_params(path)
    assert "params.yaml: new sections preview, machine" in new(project, "--upgrade")
    assert path.read_text() == older + "preview:\n  samples: 3\nmachine:\n  workers: 2\n  cache: auto\n"
    assert load_params(path) == before
    assert set(read_yaml(project / "dvc.yaml")["stages"]["augment-preview"]["params"]) <= read_yaml(path).keys()
    assert "at the installed maskline already" in new(project, "--upgrade")


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    output = new(tmp_path, code=2)
    assert output.count("\n") == 1
    assert "is there and not empty" in output
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("there", [False, True])
def test_a_full_disk_leaves_nothing_and_the_next_try_works(tmp_path, monkeypatch, there):
    folder = tmp_path / "new"
    if there:
        folder.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(new_project.shutil, "copyfile", full)
        output = new(folder, "--no-git", code=2)
    assert (output.count("\n"), "no space left on device" in output) == (1, True)
    assert [*tmp_path.rglob("*")] == ([folder] if there else [])
    new(folder, "--no-git")


def full(source, target):
    raise OSError(errno.ENOSPC, "No space left on device", str(target))


def test_recipe_and_overrides(tmp_path, root):
    new(tmp_path / "a", "--recipe", RECIPE, "-S", "train.seed=3", "-S", "evaluate.window=[96,96]")
    text = (tmp_path / "a" / "params.yaml").read_text(encoding="utf-8")
    head = (root / "params.yaml").read_text(encoding="utf-8").split("data:")[0]
    assert text.startswith(head)
    loaded = load_params(tmp_path / "a" / "params.yaml")
    assert (loaded.train.seed, loaded.evaluate.window, loaded.data.name) == (3, (96, 96), "chase_db1")
    assert (loaded.train.iterations, loaded.model.backbone.base_channels) == (40000, 64)


def test_a_recipe_on_data_of_ones_own(tmp_path, root):
    folder = image_set(tmp_path / "set", [gray(0, 255)])
    new(tmp_path / "demo", "--data", folder, "--recipe", "thin-structures-20min")
    loaded = load_params(tmp_path / "demo" / "params.yaml")
    assert (loaded.data.name, loaded.data.val_fraction) == ("folder", 0.15)
    recipe = load_params(root / "recipes" / "thin-structures-20min.yaml")
    assert (loaded.model, loaded.train) == (recipe.model, recipe.train)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-S", "train.sed=3"], "train.sed"),
        (["-S", "train.seed=-3"], "train.seed"),
        (["-S", "nonsense"], "give KEY=VALUE"),
        (["-S", "data.mask_values={0: soil"], "give KEY={name: value, name: value}"),
        (["--recipe", "unet"], "no such recipe"),
        (["--data", "/nowhere/at/all"], "no such file or folder"),
        (["--class", "ground"], "--class needs --data"),
    ],
)
def test_what_is_wrong_leaves_no_folder(tmp_path, options, message):
    assert message in new(tmp_path / "demo", *options, code=2)
    assert not (tmp_path / "demo").exists()


def test_a_folder_whose_name_is_not_utf_8(tmp_path):
    assert new(tmp_path / "n\udcff", code=2).endswith(
        "would hold n\\udcff, which is not UTF-8; rename what has that name\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_without_git_dvc_is_told(tmp_path):
    new(tmp_path / "demo", "--no-git")
    assert not (tmp_path / "demo" / ".git").exists()
    assert "no_scm = true" in (tmp_path / "demo" / ".dvc" / "config").read_text()


def test_without_an_identity_the_first_commit_is_left_to_the_user(tmp_path, monkeypatch):
    for name in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "user.useConfigOnly")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "true")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    new(tmp_path / "demo")
    assert "A  params.yaml" in git(tmp_path / "demo", "status", "--porcelain")


def test_without_vega_dvc_uses_its_own_page(tmp_path, monkeypatch):
    monkeypatch.setattr(plots_page, "can_be_made", lambda: False)
    new(tmp_path / "demo")
    assert "html_template" not in (tmp_path / "demo" / ".dvc" / "config").read_text()
    assert not (tmp_path / "demo" / ".dvc" / "plots_page.html").exists()


def image_set(folder, masks):
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for number, mask in enumerate(masks):
        mask.save(folder / "masks" / f"{number}.png")
        Image.new("RGB", mask.size).save(folder / "images" / f"{number}.jpg")
    return folder


def gray(*values):
    return Image.fromarray(np.array([values, values], np.uint8))


def colored():
    return Image.fromarray(np.array([[(0, 0, 0), (0, 160, 0)]], np.uint8))


@pytest.mark.parametrize(
    ("masks", "encoding", "count"),
    [
        ([gray(0, 255), gray(0, 0)], "binary", 2),
        ([gray(0, 1), gray(0, 3), gray(255, 0)], "index", 4),
        ([gray(0, 1).convert("P")], "palette", 2),
        ([colored()], "color", 2),
    ],
)
def test_the_masks_tell_encoding_and_classes(tmp_path, masks, encoding, count):
    folder = image_set(tmp_path / "it's a set", masks)
    new(tmp_path / "demo", "--data", folder)
    data = load_params(tmp_path / "demo" / "params.yaml").data
    assert (data.name, data.archive, data.mask_encoding) == ("folder", "../it's a set", encoding)
    assert [each.name for each in data.classes][:2] == ["background", "class_1"]
    assert len({each.color for each in data.classes}) == count
    if encoding == "color":
        assert data.classes[1].color == (0, 160, 0)


def test_classes_by_name(tmp_path):
    folder = image_set(tmp_path / "set", [gray(0, 255)])
    new(tmp_path / "demo", "--data", folder, "--class", "ground", "--class", "dune grass")
    data = load_params(tmp_path / "demo" / "params.yaml").data
    assert [each.name for each in data.classes] == ["ground", "dune grass"]
    assert "the masks have 2 classes, 1 are named" in new(
        tmp_path / "other", "--data", folder, "--class", "ground", code=2
    )


def data_of(folder):
    return load_params(folder / "params.yaml").data


@pytest.mark.parametrize(
    ("masks", "options", "values", "names"),
    [
        ([gray(0, 127, 255)], [], {"0": "background", "127": "class_127", "255": "class_255"}, None),
        (
            [gray(0, 127, 255)],
            ["--class", "a", "--class", "b", "--class", "c"],
            {"0": "a", "127": "b", "255": "c"},
            None,
        ),
        ([gray(1, 2)], [], {"1": "class_1", "2": "class_2"}, None),
        ([gray(1, 2, 255)], [], {"1": "class_1", "2": "class_2", "255": "ignore"}, None),
        ([gray(0, 1, 2)], ["--ignore", "0"], {"0": "ignore", "1": "class_1", "2": "class_2"}, ["class_1", "class_2"]),
        ([gray(0, 7)], ["--class", "road=7", "--class", "ground=0"], {"7": "road", "0": "ground"}, ["road", "ground"]),
        ([gray(0, 255).convert("P")], [], {"0": "background", "255": "class_255"}, None),
        (
            [colored()],
            ["--class", "green=0,160,0", "--class", "rest=#000000"],
            {"#00a000": "green", "#000000": "rest"},
            ["green", "rest"],
        ),
        (
            [gray(0, 5, 7, 255)],
            ["-S", "data.mask_values={0: soil, 5-10: leaf, 250-255: ignore}"],
            {"0": "soil", "5-10": "leaf", "250-255": "ignore"},
            ["soil", "leaf"],
        ),
        (
            [colored()],
            ["-S", 'data.mask_values={#00A000: green, [0,0,0]: rest, "#010203": ignore}'],
            {"#00A000": "green", "[0, 0, 0]": "rest", "#010203": "ignore"},
            ["green", "rest"],
        ),
    ],
)
def test_values_that_are_no_ids(tmp_path, masks, options, values, names):
    folder = image_set(tmp_path / "set", masks)
    new(tmp_path / "demo", "--data", folder, *options)
    data = data_of(tmp_path / "demo")
    assert data.mask_values == values
    assert list(data.mask_values) == list(values), "the order of the classes"
    assert names is None or [each.name for each in data.classes] == names


def test_every_mask_is_looked_at_and_told(tmp_path):
    folder = image_set(tmp_path / "set", [*[gray(0, 1)] * 70, gray(0, 2), gray(0, 255)])
    printed = new(tmp_path / "demo", "--data", folder)
    assert "format folder, for 72 pairs of images/NAME with masks/NAME" in printed
    lines = [line.split() for line in printed.splitlines()]
    assert ["0", "50.00%", "72", "background"] in lines
    assert ["2", "0.69%", "1", "class_2"] in lines
    assert ["255", "0.69%", "1", "(never", "counts)"] in lines
    assert "written: data.mask_encoding index" in printed
    assert [each.name for each in data_of(tmp_path / "demo").classes] == ["background", "class_1", "class_2"]


def test_masks_that_were_saved_with_losses(tmp_path):
    folder = image_set(tmp_path / "set", [])
    pixels = np.zeros((64, 64), np.uint8)
    pixels[3:37, 5:43] = 255
    for kind, image in (("masks", Image.fromarray(pixels)), ("images", Image.new("RGB", (64, 64)))):
        image.save(folder / kind / "a.jpg")
    printed = new(tmp_path / "demo", "--data", folder)
    assert data_of(tmp_path / "demo").mask_encoding == "binary_snapped"
    assert "gray values between black and white become the nearer one" in printed


def test_a_zip_is_looked_into(tmp_path):
    folder = image_set(tmp_path / "set", [gray(0, 255)])
    shutil.make_archive(str(tmp_path / "set"), "zip", folder)
    new(tmp_path / "demo", "--data", tmp_path / "set.zip")
    data = data_of(tmp_path / "demo")
    assert (data.archive, data.mask_encoding, len(data.classes)) == ("../set.zip", "binary", 2)


def test_the_format_can_be_named_and_must_be_where_two_fit(tmp_path):
    folder = image_set(tmp_path / "set", [gray(0, 255)])
    shape = {"label": "leaf", "points": [[0, 0], [1, 0], [1, 1]], "shape_type": "polygon"}
    labelme = {"imagePath": "0.jpg", "imageHeight": 2, "imageWidth": 2, "shapes": [shape]}
    (folder / "images/0.json").write_text(json.dumps(labelme))
    printed = new(tmp_path / "demo", "--data", folder)
    assert "format labelme, because images/0.json has shapes and an imagePath; it could be folder too" in printed
    data = data_of(tmp_path / "demo")
    assert (data.name, data.classes) == ("labelme", ())
    new(tmp_path / "other", "--data", folder, "--format", "folder")
    assert data_of(tmp_path / "other").mask_encoding == "binary"
    coco = {"images": [], "annotations": [], "categories": []}
    (folder / "images/coco.json").write_text(json.dumps(coco))
    assert "could be coco (images/coco.json has" in new(tmp_path / "third", "--data", folder, code=2)


def test_a_project_on_a_path_looks_at_it_each_time(tmp_path):
    folder = image_set(tmp_path / "set", [gray(0, 255)])
    new(tmp_path / "demo", "--data", folder)
    new(tmp_path / "plain")
    stages = [read_yaml(tmp_path / name / "dvc.yaml")["stages"]["download"] for name in ("demo", "plain")]
    assert [stage.get("always_changed") for stage in stages] == [True, None]
    (tmp_path / "demo/requirements.lock").write_text("maskline==0.0.1  # code 00\n")
    git(tmp_path / "demo", "commit", "--quiet", "--all", "--message", "older")
    new(tmp_path / "demo", "--upgrade")
    assert read_yaml(tmp_path / "demo/dvc.yaml")["stages"]["download"]["always_changed"] is True


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--class", "a=0", "--class", "b"], "--class b: without a value, others have one"),
        (["--class", "a=0", "--class", "b=0"], "its value 0 stands twice"),
        (["--class", "a=0", "--class", "b=9"], "of no class: 255 (50.00% of the pixels, 1 files)"),
        (["--class", "a=0,0,0"], "the masks hold gray values, 0,0,0 is none"),
        (["--ignore", "x"], "--ignore x: no value and no color"),
        (["--ignore", "0"], "1 class is left"),
        (["--format", "coco", "--ignore", "0"], "format coco has labels, no values"),
        (["--format", "cocoa"], "unknown data set"),
    ],
)
def test_what_the_masks_cannot_be(tmp_path, options, message):
    folder = image_set(tmp_path / "set", [gray(0, 255)])
    assert message in new(tmp_path / "demo", "--data", folder, *options, code=2)
    assert not (tmp_path / "demo").exists()


def test_masks_of_another_size(tmp_path):
    folder = image_set(tmp_path / "set", [gray(0, 255), gray(0, 255)])
    Image.new("RGB", (8, 6)).save(folder / "images/1.jpg")
    assert "1.png: 2x2 pixels, its image has 8x6 (1 of 2 masks)" in new(tmp_path / "demo", "--data", folder, code=2)


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        ([], "no masks and no annotations that are known"),
        ([gray(0, 0)], "one value only"),
        ([gray(0, 1), colored()], "more than one kind"),
        ([Image.fromarray(np.arange(300 * 3, dtype=np.uint16).astype(np.uint8).reshape(1, 300, 3))], "colors"),
    ],
)
def test_masks_that_say_nothing(tmp_path, masks, message):
    assert message in new(tmp_path / "demo", "--data", image_set(tmp_path / "set", masks), code=2)


def test_names_given_by_s_are_those_that_are_looked_at(tmp_path):
    for kind, value in (("images", 7), ("masks", 1), ("masks_old", 255)):
        (tmp_path / "set" / kind).mkdir(parents=True)
        for n in range(4):
            pixels = np.zeros((8, 8), np.uint8)
            pixels[n:, 2:5] = value
            Image.fromarray(pixels).save(tmp_path / "set" / kind / f"{n}.png")
    said = new(tmp_path / "one", "--no-git", "--data", tmp_path / "set")
    assert "masks_old: its masks pair as well; -S data.mask_dir takes them" in said
    assert "written: data.mask_encoding index" in said
    said = new(tmp_path / "two", "--no-git", "--data", tmp_path / "set", "-S", "data.mask_dir=masks_old")
    assert "4 pairs of images/NAME with masks_old/NAME" in said
    assert "written: data.mask_dir masks_old, data.mask_encoding binary" in said


def ramp(*values):
    """A mask of halves, with 40 values between black and white at the edges."""
    pixels = np.repeat(np.array(values, np.uint8), 40)[None].repeat(40, 0)
    pixels[0] = np.linspace(0, 255, pixels.shape[1])
    return Image.fromarray(pixels)


def test_smoothed_masks_are_told_and_the_remedy_works(tmp_path):
    folder = image_set(tmp_path / "set", [ramp(0, 100, 200), ramp(0, 0, 100)])
    printed = new(tmp_path / "demo", "--data", folder, code=2)
    assert "smoothed edges, losses, or numbers of objects" in printed
    remedy = printed.split("-S '")[1].split("'")[0]
    assert remedy == "data.mask_values={0-50: background, 51-150: class_1, 151-255: class_2}"
    new(tmp_path / "demo", "--data", folder, "-S", remedy)
    data = data_of(tmp_path / "demo")
    assert list(data.mask_values) == ["0-50", "51-150", "151-255"]
    assert [each.name for each in data.classes] == ["background", "class_1", "class_2"]
    less = "data.mask_values={0-50: background, 51-150: leaf}"
    assert "of no class: 152 (" in new(tmp_path / "other", "--data", folder, "-S", less, code=2)
    assert "beside --class" in new(tmp_path / "other", "--data", folder, "-S", remedy, "--class", "a", code=2)


def test_numbers_of_objects_are_no_classes(tmp_path):
    folder = image_set(tmp_path / "set", [gray(*range(60), *[0] * 6000)])
    remedy = new(tmp_path / "demo", "--data", folder, code=2).split("-S '")[1].split("'")[0]
    assert remedy == "data.mask_values={0-0: background, 1-255: class_1}"
    new(tmp_path / "demo", "--data", folder, "-S", remedy)
    assert [each.name for each in data_of(tmp_path / "demo").classes] == ["background", "class_1"]


def boxed(*values, smooth=0.7, side=12):
    """A mask with a box of each value, and smoothed edges."""
    pixels = np.zeros((64, 64 * len(values)), np.uint8)
    for n, value in enumerate(values):
        pixels[20 : 20 + side, 64 * n + 20 : 64 * n + 20 + side] = value
    return Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(smooth))


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_few_values_of_smoothed_edges_are_no_classes(tmp_path, mode):
    folder = image_set(tmp_path / "set", [boxed(255).convert(mode), boxed(255, 255).convert(mode)])
    assert len(np.unique(boxed(255))) < 16
    data = describe(folder, project=tmp_path).params
    assert (data["mask_encoding"], len(data["classes"])) == ("binary_snapped", 2)


def test_small_classes_are_no_smoothed_edges(tmp_path):
    folder = image_set(tmp_path / "ids", [boxed(*range(1, 15), smooth=0, side=3)])
    assert len(describe(folder, project=tmp_path).params["classes"]) == 15
    folder = image_set(tmp_path / "three", [boxed(255), boxed(120, 255, side=25)])
    remedy = "{0-60: background, 61-187: class_1, 188-255: class_2}"
    with pytest.raises(DataError, match=f"which class: -S 'data.mask_values={remedy}'"):
        describe(folder, project=tmp_path)


def entries(colors, pixels):
    image = Image.fromarray(np.array([pixels, pixels], np.uint8)).convert("L")
    image = Image.frombytes("P", image.size, image.tobytes())
    image.putpalette([part for color in colors for part in color])
    return image


def test_palettes_that_differ_are_read_by_their_colors(tmp_path):
    black, red, green = (0, 0, 0), (255, 0, 0), (0, 255, 0)
    folder = image_set(tmp_path / "set", [entries([black, red], [0, 1, 1]), entries([green, black], [0, 1, 1])])
    printed = new(tmp_path / "demo", "--data", folder)
    assert "1.png: palette entry 0 has another color than in the masks before: the colors count" in printed
    data = data_of(tmp_path / "demo")
    assert (data.mask_encoding, [each.color for each in data.classes]) == ("color", [black, green, red])
    by_chance = [entries([black, (n, 9, 9), (9, n, 9)], [0, 1, 2]) for n in range(20, 30)]
    folder = image_set(tmp_path / "more", by_chance)
    remedy = "data.mask_values={0: ground, 1: leaf, 2: stem}"
    printed = new(tmp_path / "third", "--data", folder, code=2)
    assert (
        "the masks have 21 colors in all; save all with one palette; where the entries are the classes, -S" in printed
    )
    new(tmp_path / "third", "--data", folder, "-S", remedy)
    assert [each.name for each in data_of(tmp_path / "third").classes] == ["ground", "leaf", "stem"]


def test_white_of_1_and_of_255_is_one_class(tmp_path):
    folder = image_set(tmp_path / "set", [gray(0, 1), gray(0, 255), gray(0, 0)])
    assert "1 and 255 are one class" in new(tmp_path / "demo", "--data", folder)
    assert data_of(tmp_path / "demo").mask_values == {"0": "background", "1": "class_1", "255": "class_1"}
    folder = image_set(tmp_path / "both", [gray(0, 1), gray(0, 255), gray(1, 255)])
    assert "255 never counts" in new(tmp_path / "other", "--data", folder)


LISTS = {
    "classes.txt": "ground\nleaf\nstem\n",
    "labels.txt": "0 ground\n1 leaf\n2 stem\n",
    "class_dict_seg.csv": "name, r, g, b\nground, 0, 0, 0\nleaf, 9, 0, 0\nstem, 0, 9, 0\n",
    "dataset.json": json.dumps({"labels": {"ground": 0, "leaf": 1, "stem": 2, "ignore": 255}}),
    "obj_class_to_machine_color.json": json.dumps({"leaf": [1, 1, 1], "stem": [2, 2, 2]}),
    "config_v1.2.json": json.dumps(
        {"labels": [{"name": name, "color": [9, 0, i]} for i, name in enumerate(("ground", "leaf", "stem"))]}
    ),
}


@pytest.mark.parametrize("name", LISTS)
def test_names_of_classes_beside_the_masks(tmp_path, name):
    folder = image_set(tmp_path / "set", [gray(0, 1), gray(2, 255), gray(1, 255)])
    (folder / name).write_text(LISTS[name])
    described = describe(folder, project=tmp_path)
    first = "background" if name.startswith("obj") else "ground"
    assert [each["name"] for each in described.params["classes"]] == [first, "leaf", "stem"]
    assert f"names of classes from {name}" in described.lines


def test_names_that_do_not_fit_are_told(tmp_path):
    folder = image_set(tmp_path / "set", [gray(0, 1, 2)])
    (folder / "classes.txt").write_text("leaf\nstem\n")
    described = describe(folder, project=tmp_path)
    assert described.params["classes"][1]["name"] == "class_1"
    assert any("classes.txt names 2 classes, which do not fit what the masks hold" in each for each in described.lines)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("label_colors.txt", "0 0 0\tground\n0 160 0\tdune grass\n"),
        ("labelmap.txt", "ground:0,0,0::\ndune grass:0,160,0::\n"),
    ],
)
def test_names_of_colors_beside_the_masks(tmp_path, name, text):
    folder = image_set(tmp_path / "set", [colored()])
    (folder / name).write_text(text)
    assert describe(folder, project=tmp_path).params["mask_values"] == {"#000000": "ground", "#00a000": "dune grass"}


@pytest.mark.parametrize(
    "files",
    [
        {"train.txt": "images/0.jpg masks/0.png\nimages/2.jpg masks/2.png\n", "val.txt": "images/1.jpg masks/1.png\n"},
        {"splits/train.txt": "0\n2\n", "splits/val.txt": "1\n", "readme_test.txt": "some words\n"},
        {"split.csv": "filename,split\n0.jpg,train\n1.jpg,valid\n2.jpg,train\n"},
        {"train.txt": "./x/0.jpg\n/data/x/images/2.jpg\n", "val_list.txt": "x/1.jpg,masks/1.png\n"},
        {
            "ImageSets/Segmentation/train.txt": "0\n2\n",
            "ImageSets/Segmentation/val.txt": "1\n",
            "ImageSets/Main/train.txt": "0\n1\n",
        },
    ],
)
def test_lists_of_splits_beside_the_images(tmp_path, files):
    folder = image_set(tmp_path / "set", [gray(0, 1)] * 3)
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    described = describe(folder, project=tmp_path)
    assert described.params["split_lists"] == {"train": "splits/train.txt", "val": "splits/val.txt"}
    assert described.files == {"splits/train.txt": "0\n2\n", "splits/val.txt": "1\n"}
    assert "2 train, 1 val; written: data.split_lists" in described.lines[-1]


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"train.txt": "0\n7\n", "val.txt": "1\n"}, "train.txt names '7', which is no image of this set"),
        ({"train.txt": "0\n", "val.txt": "1\n"}, "name 2 of 3 images"),
        ({"train.txt": "0\n1\n2\n", "val.txt": "1\n"}, "have images in common"),
        ({"a/val.txt": "0\n", "b/val.txt": "1\n"}, "a/val.txt and b/val.txt are different lists"),
    ],
)
def test_lists_that_are_not_sure_are_told(tmp_path, files, words):
    folder = image_set(tmp_path / "set", [gray(0, 1)] * 3)
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    described = describe(folder, project=tmp_path)
    assert "split_lists" not in described.params
    assert words in described.lines[-1]
    assert "data.split_lists" in described.lines[-1]


def test_lists_are_files_of_the_project(tmp_path):
    folder = image_set(tmp_path / "set", [gray(0, 1)] * 2)
    (folder / "val.txt").write_text("1\n")
    new(tmp_path / "demo", "--data", folder)
    assert str(data_of(tmp_path / "demo").split_lists.val) == "splits/val.txt"
    assert git(tmp_path / "demo", "show", "HEAD:splits/val.txt") == "1\n"


def test_a_set_laid_out_like_a_published_one(tmp_path):
    folder = tmp_path / "set"
    for n in range(2):
        for place in (f"JPEGImages/{n}.jpg", f"SegmentationClass/{n}.png"):
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            gray(0, 1).convert("RGB" if place[-3:] == "jpg" else "L").save(folder / place)
    described = describe(folder, project=tmp_path)
    assert described.params["name"] == "voc2012"
    assert any("2 of the 21 classes of voc2012 have pixels; where they are" in line for line in described.lines)
    own = describe(folder, project=tmp_path, classes=["ground", "leaf"])
    assert (own.params["name"], own.params["classes"][1]["name"]) == ("folder", "leaf")
    with pytest.raises(DataError, match="give --format folder"):
        describe(folder, project=tmp_path, classes=["ground", "leaf"], name="voc2012")
    for n in range(2):
        gray(0, 77).save(folder / f"SegmentationClass/{n}.png")
    assert describe(folder, project=tmp_path).params["name"] == "folder"
