"""``maskline params``: every key with its origin, and the line that sets it, pasted."""

import json
import shlex
import shutil
import subprocess
import sys

import pytest
from click.testing import CliRunner
from dvc.utils.hydra import apply_overrides
from ruamel.yaml import YAML

from maskline.commands.params import main
from maskline.doctor import project
from maskline.params.base.reading import read_yaml
from maskline.params.whole import Params, load_params, validate_params
from maskline.projects.params_key import explain, hydra
from maskline.projects.params_overview import ABSENT, look_up, overview


@pytest.fixture
def file(root, shipped_params, tmp_path):
    shutil.copy(root / "dvc.yaml", tmp_path)
    return shutil.copy(shipped_params, tmp_path / "params.yaml")


def run(file, *words):
    return CliRunner().invoke(main, [*words, "--params", str(file)])


def change(file, edit):
    values = read_yaml(file)
    edit(values)
    with file.open("w") as stream:
        YAML().dump(values, stream)


def row(file, key):
    (found,) = [each for each in json.loads(run(file, "--json").output) if each["key"] == key]
    return found["value"], found["origin"]


def test_the_whole_file_means_what_the_short_one_means(file):
    result = run(file)
    assert result.exit_code == 0, result.output
    whole = file.with_name("whole.yaml")
    whole.write_text(result.output)
    assert load_params(whole) == load_params(file)
    assert overview(whole).left_out == []
    assert len(read_yaml(whole)) == len(Params.model_fields)


def test_where_a_value_comes_from(file):
    change(file, lambda values: values["train"].update(workers=values["machine"].pop("workers") + 2))
    assert row(file, "optimizer.lr") == (0.002, "params.yaml")
    assert row(file, "data.archive") == (None, "params.yaml")
    assert row(file, "train.ema_decay") == (0.0, "default")
    assert row(file, "machine.workers") == (2, "former name train.workers")
    assert row(file, "model.decode_head.losses.1.smooth") == (1.0, "default")
    assert "    name: unet                                        # params.yaml\n" in run(file).output
    assert "multi_grid: null                                  # default; not read by unet\n" in run(file).output
    assert "former name train.workers" in run(file, "machine.workers").output


def test_the_whole_for_a_script(file):
    rows = {row["key"]: row for row in json.loads(run(file, "--json").output)}
    assert rows.keys() == overview(file).values.keys()
    assert (rows["optimizer.lr"]["value"], rows["optimizer.lr"]["origin"]) == (0.002, "params.yaml")
    assert rows["train.ema_decay"]["origin"] == "default"


def test_what_is_said_of_a_key(file):
    assert run(file, "optimizer.lr").output.splitlines() == [
        "optimizer.lr",
        "  Learning rate that the schedule scales.",
        "  type:           number > 0",
        "  default:        0.002",
        "  here:           0.002 (params.yaml)",
        "  stages:         train",
        "  set it:         dvc exp run -S optimizer.lr=0.002",
    ]
    found = json.loads(run(file, "train.ema_decay", "--json").output)
    assert (found["here"], found["origin"], found["stages"][0]) == ("0.0", "default", "augment-preview")
    assert found["line"] == "-S ++train.ema_decay=0.0"
    assert json.loads(run(file, "machine.cache", "--json").output)["stages"] == []


def test_a_section_lists_its_keys(file):
    found = json.loads(run(file, "model.decode_head", "--json").output)
    assert found["description"] == "Convolutions and a classifier."
    assert found["kind"].startswith("section; name: fcn, linear, separable_fcn, fcn_skip, psp")
    assert found["keys"]["model.decode_head.channels"] == "16 (params.yaml)"
    assert found["line"] == ""
    found = json.loads(run(file, "model.auxiliary_heads", "--json").output)
    assert found["kind"].startswith("list of sections; name: fcn")
    assert "model.auxiliary_heads.0.losses.0.weight" in found["keys"]
    assert json.loads(run(file, "model.auxiliary_heads.0", "--json").output)["keys"] == found["keys"]
    assert json.loads(run(file, "augment.crop_size.0", "--json").output)["key"] == "augment.crop_size"


def test_a_key_of_another_name_says_so(file):
    found = json.loads(run(file, "model.decode_head.bins", "--json").output)
    assert (found["names"], found["here"]) == (["psp", "uper", "ann", "apc"], "")
    assert "  not read by:    unet\n" in run(file, "model.backbone.multi_grid").output
    assert "only with name" not in run(file, "model.decode_head.num_convs").output


def test_a_name_says_what_it_may_be(file):
    said = json.loads(run(file, "model.decode_head.name", "--json").output)
    assert said["kind"].startswith("fcn, linear, separable_fcn, fcn_skip, psp, ")
    assert said["kind"].endswith(", path/to/file.py:Name")
    said = json.loads(run(file, "model.auxiliary_heads.0.losses.0.name", "--json").output)
    assert said["kind"].startswith("cross_entropy, ohem, ")
    assert json.loads(run(file, "schedule.name", "--json").output)["kind"].startswith("poly, cosine, step")


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("optimizer.lrr", "optimizer.lrr: unknown key; did you mean optimizer.lr?"),
        ("lr", "lr: unknown key; did you mean optimizer.lr?"),
        ("base_chanels", "base_chanels: unknown key; did you mean model.backbone.base_channels?"),
        ("optimizers", "optimizers: unknown key; did you mean optimizer?"),
        ("optimiser.lr", "optimiser.lr: unknown key; did you mean optimizer.lr?"),
        ("model.decode_head.bin", "did you mean model.decode_head.bins?"),
        ("model.auxiliary_heads.0.losses.0.weightt", "did you mean model.auxiliary_heads.0.losses.0.weight?"),
        ("optimizer.lr.x", "unknown key"),
        ("", "unknown key; maskline params prints all keys"),
        ("0", "unknown key"),
        ("qqq", "unknown key; maskline params prints all keys"),
    ],
)
def test_an_unknown_key_is_one_line(file, key, text):
    result = run(file, key)
    assert result.exit_code == 2
    assert text in result.output
    assert len(result.output.splitlines()) == 1


def test_a_wrong_file_is_one_line(file):
    change(file, lambda values: values["optimizer"].update(lr=-1))
    result = run(file)
    assert (result.exit_code, "optimizer.lr: -1 is wrong" in result.output) == (2, True)


def test_the_line_of_each_key_can_be_pasted(file):
    """All of them at once: afterwards each key is in the file, with its value, and the file means the same."""
    before, found, overrides = load_params(file), overview(file), []
    assert len(found.values) > 200
    for key in found.values:
        flag, override = shlex.split(explain(found, key).line)
        named = look_up(found.content, key) is not ABSENT
        assert (flag, override.startswith("++")) == ("-S", not named), key
        overrides.append(override)
    apply_overrides(file, overrides)
    content = read_yaml(file)
    assert {key: look_up(content, key) for key in found.values} == {key: v.value for key, v in found.values.items()}
    assert load_params(file) == before


def test_one_plus_would_not_do(file):
    from dvc.exceptions import DvcException

    with pytest.raises(DvcException):
        apply_overrides(file, ["+optimizer.lr=0.1"])
    with pytest.raises(DvcException):
        apply_overrides(file, ["train.ema_decay=0.1"])
    apply_overrides(file, ["++train.ema_decay=0.1", "++optimizer.lr=0.1"])
    assert load_params(file).train.ema_decay == 0.1


@pytest.mark.parametrize(
    "value", ["a b", 'say "x"', "true", "", "a,b", "5", "-", "1e3", ["x", {"a": [1, None, "own/b.py:C"]}]]
)
def test_values_are_quoted_for_the_grammar_of_overrides(tmp_path, value):
    path = tmp_path / "x.yaml"
    path.write_text("a: 1\n")
    apply_overrides(path, [f"a={hydra(value)}"])
    assert read_yaml(path)["a"] == value


def test_every_key_that_is_known_can_be_explained(shipped_params):
    found = overview(shipped_params)

    def check(schema, prop, key):
        while "$ref" in prop:
            prop = schema["$defs"][prop["$ref"].rsplit("/", 1)[1]]
        for name, below in prop.get("properties", {}).items():
            said = explain(found, f"{key}.{name}".lstrip("."))
            assert said.kind, key
            check(schema, below, said.key)
        for option in prop.get("oneOf", ()):
            check(schema, option, key)

    schema = Params.model_json_schema()
    check(schema, schema, "")


def test_it_needs_no_torch_and_no_numpy(shipped_params):
    code = (
        "import sys; from maskline.commands.main import main; main(['params', 'optimizer.lr'], standalone_mode=False); "
        "sys.exit(str({'torch', 'numpy', 'dvc', 'PIL'} & set(sys.modules) or 0))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=shipped_params.parent, capture_output=True, text=True, check=False
    )
    assert done.stderr.strip() == "0"


def test_doctor_says_how_many_keys_are_left_out(file):
    said = project.left_out(file, load_params(file))
    count = len(overview(file).left_out)
    assert count > 100
    assert said.state == "ok"
    assert said.found.startswith(f"{count} keys are left out")
    assert "-S ++KEY=VALUE" in said.found
    whole = file.with_name("whole.yaml")
    whole.write_text(overview(file).yaml())
    assert project.left_out(whole, load_params(whole)).found == "no key is left out"


def test_defaults_are_those_that_an_empty_file_has(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("{}\n")
    found = overview(path)
    assert {value.origin for value in found.values.values()} == {"default"}
    assert found.params == validate_params({})
    for key in found.values:
        said = explain(found, key)
        if ".losses." not in key and ".extra." not in key and not key.endswith((".name", "head.name")):
            assert said.default == said.here, key
