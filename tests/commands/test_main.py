import os
import re
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
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
    assert "Segment images" in done.stdout


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


def complete(shell, words):
    """What the shell would be offered for the last word."""
    environment = {**os.environ, "_MASKLINE_COMPLETE": f"{shell}_complete", "COMP_WORDS": words}
    environment["COMP_CWORD"] = words.split()[-1] if shell == "fish" else str(len(words.split()) - 1)
    program = Path(sys.executable).parent / "maskline"
    return subprocess.run([program], env=environment, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell):
    program = Path(sys.executable).parent / "maskline"
    environment = {**os.environ, "_MASKLINE_COMPLETE": f"{shell}_source"}
    script = subprocess.run([program], env=environment, capture_output=True, text=True, check=True).stdout
    assert f"_MASKLINE_COMPLETE={shell}_complete" in script
    assert "predict" in complete(shell, "maskline pre")
    assert "unet-s5-d16_fcn_1xb16-40k_hrf-256x256" in complete(
        shell, "maskline recipe show unet-s5-d16_fcn_1xb16-40k_h"
    )


def test_bash_takes_the_completion_script(tmp_path):
    program = Path(sys.executable).parent / "maskline"
    environment = {**os.environ, "_MASKLINE_COMPLETE": "bash_source"}
    script = subprocess.run([program], env=environment, capture_output=True, text=True, check=True).stdout
    (tmp_path / "maskline.sh").write_text(script)
    code = f". {tmp_path}/maskline.sh && complete -p maskline"
    shown = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "complete -o nosort -F _maskline_completion maskline"


def test_exit_codes_of_the_page(root):
    page = (root / "docs/reference/exit-codes.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| (\d+) \|", page, re.MULTILINE) == ["0", "1", "2", "130", "143"]
    assert CliRunner().invoke(command.main, ["--version"]).exit_code == 0
    assert CliRunner().invoke(command.main, ["predict"]).exit_code == 2
    assert CliRunner().invoke(command.main, ["name", "/nowhere.yaml"]).exit_code == 2


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_exit_code_of_a_command_that_is_stopped(number, code):
    program = (
        "import os, signal, time; from maskline.cli.entry import errors_to_exit_code\n"
        # A shell's background jobs ignore SIGINT, and so would their children.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"@errors_to_exit_code\ndef main():\n    os.kill(os.getpid(), {int(number)})\n    time.sleep(20)\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert done.returncode in (code, -number)  # a shell tells 128 + number where a signal ends a process
    assert "Traceback" not in done.stderr
