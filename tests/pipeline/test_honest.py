"""dvc.yaml tells the truth: what a stage imports, reads and writes is what it lists, and nothing else."""

import ast
import importlib
import json
import subprocess

import click
import pytest
from dvc.utils.hydra import apply_overrides
from PIL import Image

from maskline.params.base.reading import read_yaml
from tools.closure import ROOT, closure, code_deps, is_code, stage_module
from tools.recorder import covers
from tools.trial import TINY, copy_of

PIPELINE = read_yaml(ROOT / "dvc.yaml")
STAGES = PIPELINE["stages"]
NAMES = list(STAGES)


def paths(entries):
    """Paths of outs, metrics or plots, with or without options."""
    return [next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries or ()]


def outputs(stage):
    return [path for kind in ("outs", "metrics", "plots") for path in paths(stage.get(kind))]


def below(path, folder):
    return path == folder or path.startswith(f"{folder}/")


# Files that name times, which no stage may have among its outs: two runs never give the same.
TOP_TABLES = [
    path
    for plot in PIPELINE["plots"]
    for options in plot.values()
    for path in (options["y"] if isinstance(options["y"], dict) else ())
    if path not in {made for stage in STAGES.values() for made in outputs(stage)}
]
# The same and the export's agreement as JSON, for programs: as metrics, DVC would join their keys with the scores.
BESIDE = [*(path.replace(".csv", ".json") for path in TOP_TABLES), "reports/export/metrics.json"]


def test_the_six_stages_in_order():
    assert NAMES == ["download", "convert", "augment-preview", "train", "evaluate", "export"]
    assert [stage_module(stage) for stage in STAGES.values()] == [f"stages.{n.replace('-', '_')}" for n in NAMES]


@pytest.mark.parametrize("name", NAMES)
def test_code_deps_are_the_import_closure_and_the_lock(name):
    listed = [dep for dep in STAGES[name]["deps"] if is_code(dep)]
    assert listed == code_deps(STAGES[name]), "run: make deps"


def test_the_closure_follows_imports_of_every_kind(tmp_path):
    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    write("stages/__init__.py", "import sys")
    write("stages/one.py", "def main():\n    from maskline import a\n    import maskline.b.c\n")
    write("lib/maskline/__init__.py", "")
    write("lib/maskline/a.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from maskline import types\n")
    write("lib/maskline/b/__init__.py", "from maskline.d import thing")
    write("lib/maskline/b/c.py", "try:\n    pass\nfinally:\n    import maskline.e\nPAGE = 'page.html'")
    write("lib/maskline/b/page.html", "{% include 'page.css' %}")
    write("lib/maskline/b/page.css", "")
    write("lib/maskline/b/other.html", "page")
    for name in ("d", "e", "f", "types"):
        write(f"lib/maskline/{name}.py", "X = 1")
    assert closure("stages.one", root=tmp_path) == [
        "lib/maskline/a.py",
        "lib/maskline/b/__init__.py",
        "lib/maskline/b/c.py",
        "lib/maskline/b/page.css",
        "lib/maskline/b/page.html",
        "lib/maskline/d.py",
        "lib/maskline/e.py",
        "stages/__init__.py",
        "stages/one.py",
    ]


@pytest.mark.parametrize("name", NAMES)
def test_each_path_option_is_listed(name):
    module = importlib.import_module(stage_module(STAGES[name]))
    command = module.main
    defaults = {option.default for option in command.params if isinstance(option.type, click.Path)}
    listed = {dep for dep in STAGES[name]["deps"] if not is_code(dep)} | set(outputs(STAGES[name]))
    defaults = {path for path in defaults if not path.startswith(".maskline/")}
    assert defaults - {*TOP_TABLES, *BESIDE} == listed | {"params.yaml"}
    assert all(option.default is not None for option in command.params), "a stage runs with no options at all"


def test_metrics_beside_the_stages_are_written_by_one_of_them():
    defaults = set()
    for stage in STAGES.values():
        module = importlib.import_module(stage_module(stage))
        command = module.main
        defaults |= {option.default for option in command.params if isinstance(option.type, click.Path)}
    assert set(TOP_TABLES) <= defaults


def test_commands_are_one_line_without_values():
    for name, stage in STAGES.items():
        assert stage["cmd"] == f"python -m stages.{name.replace('-', '_')}"
        assert stage["desc"]


def test_git_keeps_reports_and_dvc_keeps_data():
    for stage in STAGES.values():
        for path in paths(stage.get("outs")):
            assert path.startswith("data/") or path == "reports/evaluate/report.html"
        for kind in ("metrics", "plots"):
            for entry in stage.get(kind, ()):
                path, options = next(iter(entry.items()))
                assert path.startswith("reports/")
                assert options["cache"] is False, path
        assert not any(isinstance(entry, dict) for entry in stage.get("outs", ())), "no persist, no uncached outs"


def test_a_stage_lists_whole_sections_that_every_params_file_has(shipped_params):
    """A key that may be left out must not be listed: where it is missing, DVC stops."""
    values = read_yaml(shipped_params)
    for name, stage in STAGES.items():
        assert len(set(stage["params"])) == len(stage["params"]), name
        assert set(stage["params"]) <= values.keys(), name
        assert "machine" not in stage["params"], "what changes no bit runs nothing again"


def rerun_by(key):
    """Stages that run again when this key changes: those that list it, and what follows from them."""
    changed = {name for name, stage in STAGES.items() if any(covers(listed, key) for listed in stage["params"])}
    for name, stage in STAGES.items():  # in order, so that one pass is enough
        made = [path for earlier in changed for path in outputs(STAGES[earlier])]
        if any(below(path, dep) for dep in stage["deps"] for path in made):
            changed.add(name)
    return [name for name in NAMES if name in changed]


AFTER_TRAIN = ["train", "evaluate", "export"]


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("data.name", NAMES),
        ("augment.rotate_degrees", ["augment-preview", *AFTER_TRAIN]),
        ("preview.samples", ["augment-preview"]),
        ("model.decode_head.channels", ["augment-preview", *AFTER_TRAIN]),
        ("optimizer.lr", AFTER_TRAIN),
        ("schedule.power", AFTER_TRAIN),
        ("train.iterations", ["augment-preview", *AFTER_TRAIN]),
        ("evaluate.gallery", ["evaluate", "export"]),  # export where it changes the scores
        ("export.opset", ["export"]),
        ("machine.workers", []),
        ("predict.stream_mib", []),
    ],
)
def test_a_change_runs_no_more_than_it_must(key, expected):
    assert rerun_by(key) == expected


def test_setting_an_equal_value_leaves_params_yaml_as_it_is(shipped_params, tmp_path):
    path = tmp_path / "params.yaml"
    before = (shipped_params).read_bytes()
    path.write_bytes(before)
    apply_overrides(path, ["train.seed=0", "optimizer.lr=2e-3", "augment.crop_size.0=128", "model.backbone.name=unet"])
    assert path.read_bytes() == before
    apply_overrides(path, ["optimizer.lr=0.01"])
    assert path.read_bytes() == before.replace(b"  lr: 0.002\n", b"  lr: 0.01\n")


def test_params_yaml_has_no_word_that_yaml_1_1_reads_otherwise(shipped_params):
    for line in (shipped_params).read_text(encoding="utf-8").splitlines():
        assert len(line) <= 120
        content = line.strip()
        if content and not content.startswith("#"):
            assert " #" not in content, f"DVC loses comments behind a value: {line}"
            value = content.split(": ", 1)[-1]
            assert value.lower() not in {"yes", "no", "on", "off", "y", "n"}, line
            assert not value.startswith(("[", "{", "'", '"', "&", "*")) or value in {"[]", "{}"}, line


def test_every_reader_of_params_goes_through_one_function(root):
    """Files that read YAML; to write a file with its comments kept is another matter."""
    found = []
    # One reads, with bounds of length and size; two edit the lines of files, for maskline recipe and new.
    ours = {"yaml_text.py", "yaml_lines.py", "overrides.py"}
    for path in [*sorted((root / "lib").rglob("*.py")), *sorted((root / "stages").rglob("*.py"))]:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        if imported & {"yaml", "ruamel.yaml", "omegaconf", "dvc.api"} and path.name not in ours:
            found.append(path)
    assert found == []


# What the stages really touch: each is run by itself, in order, and recorded.


@pytest.fixture(scope="module")
def records(tiny_project, tmp_path_factory):
    """Stage name -> what it touched, for the synthetic set."""
    return {name: record(tiny_project, name, tmp_path_factory.mktemp("record")) for name in NAMES}


@pytest.fixture(scope="module")
def folder_records(root, tmp_path_factory):
    """The same of download and convert for a folder of one's own, which reads other keys."""
    base = tmp_path_factory.mktemp("folder")
    for i in range(6):
        for kind, mode in (("images", "RGB"), ("masks", "L")):
            (base / "set" / kind).mkdir(parents=True, exist_ok=True)
            picture = Image.new(mode, (40, 32), (10 * i, 20, 30) if mode == "RGB" else 0)
            picture.paste((200, i, 90) if mode == "RGB" else 1, (4, 4, 20 + i, 20))
            picture.save(base / "set" / kind / f"{i}.png")
    values = {
        "data.name": "folder",
        "data.archive": str(base / "set"),
        "data.classes": [{"name": "ground", "color": [0, 0, 0]}, {"name": "thing", "color": [255, 0, 0]}],
    }
    project = copy_of(root, base, {**TINY, **values})
    return {name: record(project, name, base) for name in NAMES[:2]}


def record(project, name, folder):
    target = folder / f"{name}.json"
    project.environment["PYTHONDONTWRITEBYTECODE"] = "1"  # else a file that an earlier stage read is not opened again
    project.run("python", "-m", "tools.recorder", stage_module(STAGES[name]), str(target))
    return json.loads(target.read_text())


@pytest.mark.pipeline
@pytest.mark.parametrize("name", NAMES)
def test_a_stage_reads_the_sections_it_lists_and_no_other(name, records, folder_records):
    read = set(records[name]["params"]) | set(folder_records.get(name, {}).get("params", ()))
    sections = {key.split(".")[0] for key in read} - {"machine"}  # which changes no bit of what is written
    assert sections == set(STAGES[name]["params"])


@pytest.mark.pipeline
@pytest.mark.parametrize("name", NAMES)
def test_a_stage_opens_the_files_it_lists_and_no_other(name, tiny_project, records):
    listed = [*outputs(STAGES[name]), *TOP_TABLES, *BESIDE]
    written = [path for path in records[name]["written"] if kept(path)]
    assert [path for path in written if not any(below(path, out) for out in listed)] == []
    listed += [*STAGES[name]["deps"], "params.yaml", "tools"]
    read = [path for path in records[name]["read"] if kept(path) and (tiny_project.folder / path).read_bytes()]
    assert [path for path in read if not any(below(path, dep) for dep in listed)] == []


def kept(path):
    """Tell a file that means something from Python's bytecode and the resume journal."""
    return "__pycache__" not in path and not path.startswith(".maskline/") and not path.endswith(".former")


@pytest.mark.pipeline
def test_a_run_leaves_no_other_new_file(tiny_project, records):
    listed = [path for stage in STAGES.values() for path in outputs(stage)] + TOP_TABLES + BESIDE
    status = subprocess.run(
        ["git", "status", "--porcelain", "--ignored", "--untracked-files=all", "-z"],
        cwd=tiny_project.folder,
        capture_output=True,
        check=True,
        text=True,
    )
    new = [entry[3:] for entry in status.stdout.split("\0") if entry]
    assert [path for path in new if not any(below(path, out) for out in listed) and kept(path)] == []
    for path in listed:
        assert (tiny_project.folder / path).exists(), path
