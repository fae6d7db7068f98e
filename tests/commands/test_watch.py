"""``maskline watch`` on the tables of a run."""

from types import SimpleNamespace

from click.testing import CliRunner

from maskline.analysis.live_curves import sparkline
from maskline.commands.watch import main
from maskline.engine.live import Live


def measured(folder, number):
    steps = [{"iteration": i, "lr": 0.1, "loss": 2.0 / i} for i in range(1, number + 1)]
    Live(folder, {}).update(SimpleNamespace(steps=steps, validations=[{"iteration": number, "mIoU": 0.75}]))


def test_curves_of_a_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    measured(tmp_path / ".maskline/live/faster", 8)
    for arguments in ([], ["--once"], ["faster"]):
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, result.output
        assert "faster: 8 iterations" in result.output
        (line,) = [line for line in result.output.splitlines() if " loss " in line]
        cells = [cell.strip() for cell in line.split("│")[1:-1]]
        assert cells[0] == "loss"
        assert cells[1][0] == "█"
        assert cells[1][-1] == "▁"
        assert cells[2:] == ["0.25", "0.25", "2"]
        assert "0.75" in result.output


def test_no_run_is_one_line(tmp_path):
    result = CliRunner().invoke(main, ["--folder", str(tmp_path / "live")])
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "no run is training; start one" in result.stderr
    measured(tmp_path / "live" / "one", 2)
    assert "no run other is training" in CliRunner().invoke(main, ["other", "--folder", str(tmp_path / "live")]).stderr


def test_a_sparkline_keeps_its_width_and_ends():
    assert sparkline([0.0, 1.0], width=10) == "▁█"
    assert sparkline([1.0, 1.0, 1.0], width=10) == "▁▁▁"
    assert len(sparkline(list(range(1000)), width=60)) == 60
