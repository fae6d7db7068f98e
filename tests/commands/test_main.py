import subprocess
import sys
import tomllib

from click.testing import CliRunner

from maskline import __version__
from maskline.commands import main as command


def test_list_of_commands_imports_none():
    code = (
        "import sys; from maskline.commands.main import main; main(['--help'], standalone_mode=False); "
        "bad = {'torch', 'numpy', 'onnxruntime', 'maskline.commands.predict'} & set(sys.modules); "
        "sys.exit(str(bad or 0))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "0"
    assert "Segment pictures" in done.stdout


def test_help_of_a_command_imports_no_torch():
    code = (
        "import sys; from maskline.commands.main import main; main(['predict', '--help'], standalone_mode=False); "
        "sys.exit(str({'torch', 'numpy', 'onnxruntime'} & set(sys.modules) or 0))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "0"
    assert "OUT/shares.csv" in done.stdout


def test_every_listed_command_is_there():
    for name, line in command.COMMANDS.items():
        found = command.main.get_command(None, name)
        assert callable(found.callback)
        assert line.endswith(".")


def test_unknown_command_names_the_nearest():
    result = CliRunner().invoke(command.main, ["perdict"])
    assert result.exit_code == 2
    assert "no command 'perdict'; did you mean predict?" in result.output


def test_version():
    assert CliRunner().invoke(command.main, ["--version"]).output == f"maskline, version {__version__}\n"


def test_entry_point(root):
    scripts = tomllib.loads((root / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {"maskline": "maskline.commands.main:main"}
