import copy

import jsonschema
import pytest
from pydantic import ValidationError

from maskline.core.errors import ParamsError
from maskline.params.base.reading import read_yaml
from maskline.params.whole import Params, json_schema, load_params, validate_params
from tools.trial import complete_params


@pytest.fixture(scope="module")
def plain(shipped_params):
    """Every key, as the project's own file and the defaults have it."""
    return complete_params(shipped_params)


def changed(values, key, value):
    values = copy.deepcopy(values)
    *path, last = [int(part) if part.isdigit() else part for part in key.split(".")]
    section = values
    for part in path:
        section = section[part]
    if value is ...:
        del section[last]
    else:
        section[last] = value
    return values


def leaves(values, prefix=""):
    for key, value in values.items():
        yield prefix + key
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")


def flat(values, prefix=""):
    for key, value in values.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def value_at(values, key):
    for part in key.split("."):
        values = values[part]
    return values


def error_of(values):
    with pytest.raises(ParamsError) as caught:
        validate_params(values, place="params.yaml")
    return str(caught.value)


def test_the_projects_own_file_is_valid_and_short(shipped_params):
    values, settings = read_yaml(shipped_params), load_params(shipped_params)
    assert settings.optimizer.lr == values["optimizer"]["lr"]
    assert isinstance(settings.augment.crop_size, tuple)
    assert len((shipped_params).read_text(encoding="utf-8").splitlines()) <= 170


def test_the_projects_own_file_says_what_the_defaults_say_but_for_the_heads_and_a_row_of_kornia(plain):
    """So that a recipe, which is told from the defaults, means the same on a fresh file: its use takes the row out."""
    defaults = Params().model_dump(mode="json")
    differing = {key for key, value in flat(plain) if dict(flat(defaults)).get(key) != value}
    assert {key.split(".")[1] for key in differing if key.startswith("model.")} == {"decode_head", "auxiliary_heads"}
    assert all(key.startswith(("model.", "augment.extra")) for key in differing)


def test_the_projects_own_file_has_every_key_of_optimizer_and_schedule(shipped_params, plain):
    values = read_yaml(shipped_params)
    for section in ("optimizer", "schedule"):
        assert set(leaves(values[section])) == set(leaves(plain[section]))


def test_the_projects_own_file_has_every_section_that_a_stage_lists(root, shipped_params):
    listed = {key for stage in read_yaml(root / "dvc.yaml")["stages"].values() for key in stage["params"]}
    assert listed <= read_yaml(shipped_params).keys()
    assert listed <= Params.model_fields.keys(), "whole sections: a key may be left out"


def test_the_projects_own_file_fits_its_schema(plain):
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(plain, schema)
    with pytest.raises(jsonschema.ValidationError, match=r"(?i)additional properties"):
        jsonschema.validate({**plain, "optimiser": {}}, schema)


def test_the_first_line_names_the_schema(root, shipped_params):
    first = (shipped_params).read_text(encoding="utf-8").splitlines()[0]
    assert first == "# yaml-language-server: $schema=./params.schema.json"
    assert (root / "params.schema.json").is_file()


def test_every_key_may_be_left_out(plain):
    defaults = Params().model_dump(mode="json")
    for key in leaves(plain):
        if key == "data.classes" or key.startswith("model.auxiliary_heads"):
            continue
        if key in {"model.decode_head.name", "model.neck.name"}:
            assert f"{key}: missing" in error_of(changed(plain, key, ...))
            continue
        values = changed(plain, key, ...)
        section = key.split(".")[0]
        left = validate_params(values).model_dump(mode="json")
        assert value_at(left, key) == value_at(defaults, key), key
        assert {name: left[name] for name in left if name != section} == {n: plain[n] for n in plain if n != section}


def test_every_key_refuses_a_mapping_that_is_not_its_own(plain):
    for key in leaves(plain):
        if key.endswith(".options"):  # the keywords of a part of one's own
            continue
        message = error_of(changed(plain, key, {"surely_no_key": 1}))
        assert message.startswith(f"params.yaml: {key}"), key
        assert "\n" not in message


def test_sections_cannot_be_changed_after_loading(plain):
    settings = validate_params(plain)
    with pytest.raises(ValidationError, match="frozen"):
        settings.optimizer.lr = 1.0


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 0.001), ("1E+2", 100.0), ("1e-05", 1e-05), (".5", 0.5), ("0.001", 0.001), ("1", 1.0)],
)
def test_numbers_are_read_as_yaml_1_2(tmp_path, shipped_params, text, value):
    path = tmp_path / "params.yaml"
    path.write_text((shipped_params).read_text(encoding="utf-8").replace("lr: 0.002", f"lr: {text}"))
    assert load_params(path).optimizer.lr == value


def test_yes_and_no_are_words(tmp_path, shipped_params):
    path = tmp_path / "params.yaml"
    path.write_text((shipped_params).read_text(encoding="utf-8").replace("nesterov: false", "nesterov: no"))
    with pytest.raises(ParamsError, match=r'optimizer\.nesterov: "no" is wrong'):
        load_params(path)


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("optimizer.xyz", 1, "optimizer.xyz: unknown key; valid keys: name, lr"),
        ("optimizer.weigth_decay", 1, "optimizer.weigth_decay: unknown key; did you mean weight_decay?"),
        ("optimiser", {}, "optimiser: unknown key; did you mean optimizer?"),
        ("model.decode_head.in_idx", 1, "did you mean in_index?"),
        ("model.auxiliary_heads.0.channel", 1, "model.auxiliary_heads.0.channel: unknown key; did you mean channels?"),
        ("optimizer.name", "adamv", '"adamv" is not one of sgd, adam, adamw, muon, rmsprop'),
        ("optimizer.lr", "1e-3", '"1e-3" is text; write the number without quotes'),
        ("optimizer.lr", -1, "optimizer.lr: -1 is wrong; give greater than 0"),
        ("optimizer.lr", True, "optimizer.lr: true is wrong; give a valid number"),
        ("train.iterations", 1.5, "train.iterations: 1.5 is wrong"),
        ("train.iterations", True, "train.iterations: true is wrong"),
        ("train.iterations", 0, "greater than or equal to 1"),
        ("train.seed", 2**32, "train.seed"),
        ("model.align_corners", 1, "model.align_corners: 1 is wrong"),
        ("augment.crop_size", [128], "augment.crop_size"),
        ("augment.crop_size.1", "128", "augment.crop_size.1"),
        ("augment.ratio_range", [2.0, 1.0], "the first value 2 is larger than the second 1"),
        ("augment.photometric.contrast", [2.0, 1.0], "augment.photometric: the first value 2 is larger"),
        ("augment.blur.sigma", [2.0, 1.0], "augment.blur: the first value 2 is larger"),
        ("model.mean", [0.0, 0.0], "model: mean has 2 values for 3 channels"),
        ("model.decode_head.losses", [], "model.decode_head.losses"),
        ("model.decode_head.losses", [{"name": "dice", "weight": 0}], "nothing would be learned"),
        ("optimizer.momentum", 1.0, "optimizer.momentum: 1.0 is wrong; give less than 1"),
        ("schedule.milestones", [3, 2], "schedule: milestones must rise"),
        ("data.image_scale", [9.0, 2.0], "image_scale: 9 is not below 2"),
        ("data.image_scale", ["p9", "p2"], "image_scale: 9 is not below 2"),
        ("data.image_scale", ["p1", "p101"], "data.image_scale"),
        ("schedule.warmup_length", 1200, "warmup_length 1200 is not below train.iterations 1200"),
        ("evaluate.stride", [600, 600], "evaluate: stride is larger than window"),
        ("data.name", "folder", "data.classes needs at least two classes"),
        ("data.sha256", "abc", "data.sha256"),
        ("data.ignore_index", 2**31, "data.ignore_index: 2147483648 is wrong; give less than 2147483648"),
        ("export.opset", 17, "export.opset: 17 is wrong; give greater than or equal to 18"),
        ("train", None, "params.yaml: train"),
        ("train", [1], "params.yaml: train"),
    ],
)
def test_an_error_names_key_value_and_remedy(plain, key, value, text):
    message = error_of(changed(plain, key, value))
    assert text in message
    assert "\n" not in message
    assert "pydantic" not in message


def test_nesterov_needs_momentum(plain):
    values = changed(changed(plain, "optimizer.name", "sgd"), "optimizer.nesterov", True)
    assert validate_params(values).optimizer.nesterov
    assert "nesterov needs momentum above 0" in error_of(changed(values, "optimizer.momentum", 0.0))


def test_several_errors_name_the_first_and_list_the_others(plain):
    values = changed(changed(plain, "optimizer.lr", -1), "train.iterations", 0)
    assert "(also wrong: train.iterations)" in error_of(values)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_must_be_finite(plain, value):
    message = error_of(changed(plain, "augment.noise.std", value))
    assert "finite" in message or "augment.noise.std" in message


def test_a_checksum_may_carry_its_prefix(plain):
    for text in ("sha256:" + "0" * 64, "a" * 64):
        assert validate_params(changed(plain, "data.sha256", text)).data.sha256 == text


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "no such file; run from the project's folder"),
        (b"a: [1", "not YAML"),
        (b"- 1\n", "not a mapping of sections"),
        (b"", "not a mapping of sections"),
        (b"\xff\xfe\xff", "cannot be read"),
        (b"a: 1\na: 2\n", "not YAML"),
    ],
)
def test_a_damaged_file_is_one_line(tmp_path, content, text):
    path = tmp_path / "params.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ParamsError) as caught:
        load_params(path)
    assert text in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


_NINE = ", ".join(["*b{}"] * 9)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: &a\n  b: *a\n", "aliases and merge keys unfolded"),
        ("b0: &b0 [1]\n" + "".join(f"b{i}: &b{i} [{_NINE.format(*[i - 1] * 9)}]\n" for i in range(1, 9)), "unfolded"),
        ("data: {}\n#" + "x" * (512 << 10), "more than 512 KiB; shorten it"),
        ("data: " + "[" * 3000, "too many levels"),
        ("data: 2001-99-99", "not YAML: month must be in 1..12"),
        ("data: !!int word", "not YAML: invalid literal"),
        ("data: !!omap [a: 1, a: 1]", "not YAML: AssertionError"),
    ],
)
def test_yaml_that_no_memory_holds_or_python_refuses(tmp_path, text, problem):
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ParamsError, match=problem):
        load_params(tmp_path / "params.yaml")


def test_class_weights_that_are_all_zero(shipped_params):
    values = read_yaml(shipped_params)
    values["model"]["decode_head"]["losses"] = [{"name": "cross_entropy", "class_weights": [0.0, 0.0]}]
    with pytest.raises(ParamsError, match="every class weight is 0"):
        validate_params(values)
