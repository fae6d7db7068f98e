import logging
import os
import shlex
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from maskline.cli.entry import log, params_option, stage, start_logging
from maskline.core.errors import DataError, DataProblemsError, ParamsError
from maskline.params.base.reading import read_yaml
from tools.closure import ROOT, stage_module

STAGES = [stage_module(stage) for stage in read_yaml(ROOT / "dvc.yaml")["stages"].values()]


def command(function, wrap=stage):
    return click.command()(params_option(wrap(function)))


def run(function, *arguments, wrap=stage):
    return CliRunner().invoke(command(function, wrap), arguments)


def test_a_stage_gets_its_params_path(tmp_path, shipped_params):
    seen, other = [], tmp_path / "other.yaml"
    shutil.copy(shipped_params, other)

    def note(params_path):
        seen.append(params_path)

    result = run(note, "--params", str(other))
    assert result.exit_code == 0
    assert seen == [other]


def test_windows_is_refused_in_one_line_before_any_work(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    result = run(lambda params_path: pytest.fail("it ran"))
    assert result.exit_code == 2
    assert result.output.count("\n") == 1
    assert result.output.startswith("error: Windows: files are locked")


def test_a_user_error_is_one_line_and_exit_code_2():
    def fail(params_path):
        raise ParamsError(params_path, "wrong\nvalue", "fix it")

    result = run(fail)
    assert result.exit_code == 2
    assert result.stderr == "error: params.yaml: wrong value; fix it\n"


def test_names_send_no_commands_to_the_terminal():
    def fail(params_path):
        raise DataError("\x1b]0;title\x07", "wrong", "fix it")

    assert run(fail).stderr == "error: \\x1b]0;title\\x07: wrong; fix it\n"
    start_logging()
    line = logging.LogRecord("maskline", logging.INFO, "", 0, "read %s", ("\x1b[2J",), None)
    assert log.handlers[0].format(line) == "read \\x1b[2J"


@pytest.mark.parametrize(("code", "expected"), [(0, 2), (None, 2), (3, 3)])
def test_code_that_ends_the_stage_does_not_end_it_well(code, expected):
    def leave(params_path):
        sys.exit(code)

    assert run(leave).exit_code == expected


def test_a_section_that_the_stage_does_not_read_is_checked_before_any_work(tmp_path):
    seen, other = [], tmp_path / "other.yaml"
    other.write_text("export:\n  opsett: 18\n")

    def note(params_path):
        seen.append(params_path)

    result = run(note, "--params", str(other))
    assert (result.exit_code, seen) == (2, [])
    assert result.stderr == f"error: {other}: export.opsett: unknown key; did you mean opset?\n"


def test_several_problems_are_one_line_each():
    def fail(params_path):
        problems = [DataError(f"{params_path} {i}", "wrong", "fix it") for i in range(2)]
        raise DataProblemsError("set", problems)

    result = run(fail)
    assert result.exit_code == 2
    assert result.stderr == "error: params.yaml 0: wrong; fix it\nerror: params.yaml 1: wrong; fix it\n"


def test_a_defect_keeps_its_traceback():
    def fail(params_path):
        raise AssertionError("our own mistake")

    result = run(fail)
    assert result.exit_code == 1
    assert isinstance(result.exception, AssertionError)


def test_ctrl_c_ends_with_130():
    def stop(params_path):
        raise KeyboardInterrupt

    result = run(stop)
    assert result.exit_code == 130
    assert "stopped" in result.stderr


def test_a_full_disk_is_a_user_error():
    def full(params_path):
        raise OSError(28, "No space left on device")

    result = run(full)
    assert result.exit_code == 2
    assert "free space" in result.stderr


def test_the_log_level_follows_the_environment():
    code = textwrap.dedent("""
        from maskline.cli import entry
        entry.start_logging(); entry.start_logging()
        entry.log.info("info line"); entry.log.error("error line")
    """)
    environment = {**os.environ, "MASKLINE_LOG": "error"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stderr == "error line\n"


def test_no_log_level(tmp_path):
    done = in_a_shell("MASKLINE_LOG=loud {}", cwd=tmp_path)
    told = "error: MASKLINE_LOG: LOUD is no level; set it to DEBUG, INFO, WARNING or ERROR, or unset it\n"
    assert (done.returncode, done.stderr) == (2, told)


@pytest.mark.parametrize("module", STAGES)
def test_help_lists_every_path_and_loads_nothing_heavy(module, root):
    code = f"import sys, {module} as m; m.main(['--help'], standalone_mode=False); print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    text, modules = done.stdout.rsplit("\n[", maxsplit=1)
    assert "--params" in text
    loaded = {name.strip("' ]\n").split(".")[0] for name in modules.split(",")}
    assert not loaded & {"torch", "numpy", "pandas", "timm", "kornia", "matplotlib", "pydantic", "onnx"}


def test_help_of_train_answers_in_half_a_second(root):
    def fastest(*arguments):
        times = []
        for _ in range(5):
            start = time.perf_counter()
            subprocess.run([sys.executable, *arguments], capture_output=True, cwd=root, check=True)
            times.append(time.perf_counter() - start)
        return min(times)

    empty, answer = fastest("-c", "pass"), fastest("-m", "stages.train", "--help")
    print(f"python -c pass {empty:.3f} s, python -m stages.train --help {answer:.3f} s")
    assert answer < max(0.5, 10 * empty)  # the second bound is for a machine on which Python itself is slow


def test_a_real_interrupt_ends_with_130_and_no_traceback():
    code = textwrap.dedent("""
        import os, signal, click
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background starts with it ignored
        from maskline.cli import entry

        @click.command()
        @entry.errors_to_exit_code
        def main():
            os.kill(os.getpid(), signal.SIGINT)

        main()
    """)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert "Traceback" not in done.stderr


def in_a_shell(line, *, cwd, code="pass"):
    """Run a command whose work is ``code`` by a line of a shell, in which ``{}`` stands for it."""
    program = cwd / "command.py"
    program.write_text(
        "import click\nfrom maskline.cli import entry\n\n@click.command()\n@entry.errors_to_exit_code\n"
        f"def main():\n    {code}\n\nmain()\n"
    )
    arguments = ["bash", "-c", line.format(shlex.join([sys.executable, str(program)]))]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, cwd=cwd)
    assert "Traceback" not in done.stderr
    return done


def test_without_standard_error_no_file_takes_its_number(tmp_path):
    write = "import os, sys; file = open('result', 'w'); os.write(2, b'noise'); print(sys.stderr.isatty())"
    assert in_a_shell("{} 2>&-", cwd=tmp_path, code=write).stdout == "False\n"
    assert (tmp_path / "result").read_text() == ""


def test_a_full_disk_behind_standard_output_is_one_line(tmp_path):
    done = in_a_shell("{} > /dev/full", cwd=tmp_path, code="click.echo('text')")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("error: standard output: no space left on device; ")


@pytest.mark.parametrize(
    "code", ["print(open('/'))", "from maskline.core import errors as e; raise e.DataError(*'abc')"]
)
def test_an_error_on_a_full_disk_keeps_its_exit_code(tmp_path, code):
    assert in_a_shell("{} > /dev/full 2>&1", cwd=tmp_path, code=code).returncode == 2


@pytest.mark.parametrize("code", ["print('n\\udcff')", "open('f', 'w').write('n\\udcff')"])
def test_a_name_that_is_not_utf_8(tmp_path, code):
    done = in_a_shell("{}", cwd=tmp_path, code=code)
    told = "error: what is written: would hold n\\udcff, which is not UTF-8; rename what has that name\n"
    assert (done.returncode, done.stdout, done.stderr) == ((0, "n\\udcff\n", "") if "print" in code else (2, "", told))


@pytest.mark.parametrize("module", ["maskline.commands.main", "stages.convert"])
def test_help_on_a_full_disk_is_one_line(module):
    command = [sys.executable, "-m", module, "--help"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("error: standard output: no space left on device; ")


def test_a_working_folder_that_is_gone_is_one_line(tmp_path):
    (tmp_path / "gone").mkdir()
    done = in_a_shell("cd gone && rmdir ../gone && {}", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (
        2,
        "error: the working folder: was removed; cd to a folder that is there\n",
    )


def test_too_few_open_files_are_one_line(tmp_path):
    done = in_a_shell("ulimit -n 32 && {}", cwd=tmp_path, code="[open('command.py') for _ in range(99)]")
    assert done.returncode == 2
    assert "too many open files; allow more open files (ulimit -n 1024)" in done.stderr
