"""The set-up of .venv, with a stand-in for Python that writes down what it is asked for."""

import os
import shutil
import stat
import subprocess

import pytest

# Makes a .venv whose python is this script again; fails at pip while the file `broken` is there.
STUB = """#!/bin/sh
echo "$@" >> "$LOG"
case "$*" in
  *version_info*) [ -z "$TOO_OLD" ] ;;
  "-m venv"*) mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
  *"pip install"*) [ ! -e broken ] ;;
esac
"""


class Checkout:
    def __init__(self, folder, root):
        self.folder = folder
        self.log = folder / "log"
        for name in ("Makefile", "pyproject.toml", "requirements.lock"):
            shutil.copy(root / name, folder / name)
        tools = folder / "tools-on-path"
        tools.mkdir()
        for name in ("python3", "python3.11", "python3.12", "python3.13", "python3.14"):
            (tools / name).write_text(STUB)
            (tools / name).chmod(stat.S_IRWXU)
        self.environment = {**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "LOG": str(self.log)}
        for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "PYTHON"):
            self.environment.pop(name, None)

    def make(self, *arguments, **environment):
        self.log.write_text("")
        done = subprocess.run(
            ["make", *arguments],
            cwd=self.folder,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        return done, [line for line in self.log.read_text().splitlines() if line != "-c"]

    @property
    def installs(self):
        return [line for line in self.log.read_text().splitlines() if "pip install" in line]


@pytest.fixture
def checkout(tmp_path, root):
    return Checkout(tmp_path, root)


def test_the_first_time_it_makes_the_environment_and_installs(checkout):
    done, calls = checkout.make("env")
    assert done.returncode == 0, done.stderr
    assert "-m venv .venv" in calls
    assert "-r requirements.lock" in checkout.installs[0]
    assert checkout.installs[1].endswith("--no-deps --no-build-isolation -e .")
    assert "-m tools.plots_page" in calls


def test_the_second_time_it_does_nothing(checkout):
    checkout.make("env")
    done, calls = checkout.make("env")
    assert done.returncode == 0
    assert calls in ([], ["-c "])
    assert done.stdout == ""


def test_an_interrupted_install_is_made_anew(checkout):
    (checkout.folder / "broken").touch()
    done, _ = checkout.make("env")
    assert done.returncode != 0
    (checkout.folder / ".venv" / "half").touch()
    (checkout.folder / "broken").unlink()
    done, calls = checkout.make("env")
    assert done.returncode == 0, done.stderr
    assert "-m venv .venv" in calls
    assert not (checkout.folder / ".venv" / "half").exists()
    assert len(checkout.installs) == 2


@pytest.mark.parametrize("name", ["requirements.lock", "pyproject.toml"])
def test_another_lock_or_project_installs_into_the_same_environment(checkout, name):
    checkout.make("env")
    (checkout.folder / ".venv" / "own").touch()
    path = checkout.folder / name
    path.write_text(path.read_text(encoding="utf-8") + "# a change\n", encoding="utf-8")
    done, calls = checkout.make("env")
    assert done.returncode == 0
    assert "-m venv .venv" not in calls
    assert len(checkout.installs) == 2
    assert (checkout.folder / ".venv" / "own").exists()


def test_an_environment_made_by_hand_is_kept(checkout):
    binaries = checkout.folder / ".venv" / "bin"
    binaries.mkdir(parents=True)
    shutil.copy(checkout.folder / "tools-on-path" / "python3", binaries / "python")
    (checkout.folder / ".venv" / "own").touch()
    done, calls = checkout.make("env")
    assert done.returncode == 0
    assert "-m venv .venv" not in calls
    assert (checkout.folder / ".venv" / "own").exists()


def test_a_moved_checkout_installs_again(checkout, tmp_path_factory):
    checkout.make("env")
    target = tmp_path_factory.mktemp("moved") / "checkout"
    shutil.copytree(checkout.folder, target)
    checkout.folder = target
    checkout.make("env")
    assert len(checkout.installs) == 2


def test_without_a_fitting_python_it_says_which_is_needed(checkout):
    done, _ = checkout.make("env", TOO_OLD="yes")
    assert done.returncode == 2
    assert "no Python 3.11 to 3.14 on the path" in done.stderr
    assert not (checkout.folder / ".venv").exists()


def test_targets_set_the_environment_up_first(root):
    text = (root / "Makefile").read_text(encoding="utf-8")
    for target in ("repro", "check", "bench", "docs", "deps", "commit"):
        assert f"\n{target}: env\n" in text
    assert "\ntest: check\n" in text


def test_ci_calls_make_test_and_nothing_else(root):
    lines = (root / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("#!")
    assert [line for line in lines[1:] if "make" in line] == ["exec make test"]
    assert os.access(root / ".ci" / "run", os.X_OK)


def test_every_requirement_is_pinned(root):
    lines = (root / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert len(pins) > 50
    assert not [line for line in pins if "==" not in line or "+" in line or "@" in line]
    assert not [line for line in pins if line.lower().startswith(("nvidia", "triton", "maskline"))]
