"""``maskline plan``: a recipe with reasons, its values in params.yaml, whose data section stays."""

import json

import pytest
from click.testing import CliRunner

from maskline.analysis.plan import planning, trial
from maskline.analysis.plan.rules import Costs
from maskline.commands import plan
from maskline.params.base.reading import read_yaml
from maskline.params.whole import load_params
from tools.trial import TINY, write_params

COSTS = Costs(iteration=0.05, scored_image=0.2, start=10.0, entry=0.01)


@pytest.fixture(scope="module")
def prepared(shipped_params, tmp_path_factory):
    from stages import convert, download

    base = tmp_path_factory.mktemp("plan")
    params = base / "params.yaml"
    params.write_bytes(shipped_params.read_bytes())
    write_params(params, TINY)
    shared = ["--params", str(params), "--raw", str(base / "raw")]
    download.main(shared, standalone_mode=False)
    written = ["--prepared", str(base / "prepared")]
    for option in convert.main.params:  # the reports go beside
        if option.name not in {"params_path", "raw", "prepared"}:
            written += [option.opts[0], str(base / option.name)]
    convert.main([*shared, *written], standalone_mode=False)
    return base


@pytest.fixture
def run(prepared, tmp_path, monkeypatch):
    """Run the command with a machine whose speed is known."""
    monkeypatch.setattr(trial, "precision", lambda *_: ("bf16", 0.2, 0.1))
    monkeypatch.setattr(trial, "costs", lambda *_, **__: COSTS)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_bytes((prepared / "params.yaml").read_bytes())

    def run(*options):
        return CliRunner().invoke(plan.main, [str(prepared / "prepared"), "--minutes", "2", *options])

    return run


def test_it_writes_a_recipe_and_params(run, tmp_path):
    before = load_params(tmp_path / "params.yaml")
    result = run("--yes", "--threads", "1")
    assert result.exit_code == 0, result.output
    params = load_params(tmp_path / "params.yaml")
    assert params.data == before.data
    assert (params.train.threads, params.train.precision) == (1, "bf16")
    assert 0.9 * 120 < params.train.iterations * 0.05 + 10 < 120
    recipe = read_yaml(tmp_path / "plan.yaml")
    assert recipe["train"]["iterations"] == params.train.iterations
    assert "data" not in recipe
    assert "  # a step takes 0.2 s in fp32, 0.1 s in bf16" in (tmp_path / "plan.yaml").read_text().splitlines()
    assert "iterations" in result.output


def test_a_dry_run_writes_nothing(run, tmp_path):
    before = (tmp_path / "params.yaml").read_bytes()
    for options in (("--dry-run",), ("--json",)):
        result = run(*options)
        assert result.exit_code == 0, result.output
        assert (tmp_path / "params.yaml").read_bytes() == before
        assert not (tmp_path / "plan.yaml").exists()
    assert json.loads(result.stdout)["data"]["train"] == 4


def test_data_that_was_not_prepared(tmp_path):
    result = CliRunner().invoke(plan.main, [str(tmp_path), "--minutes", "2"])
    assert result.exit_code == 2
    assert "no prepared data set" in result.output


def test_the_trial_measures_the_engines_own_step(prepared):
    costs = trial.costs(load_params(prepared / "params.yaml"), prepared / "prepared", seconds=0.0)
    assert 0 < costs.entry < costs.start
    assert min(costs.iteration, costs.scored_image) > 0
    assert planning.length(costs, planning.fingerprint(prepared / "prepared"), minutes=1).keys["train.iterations"] >= 1
