"""What requirements.lock says beside what is installed; the name of maskline in it is tested with maskline new."""

import logging
import sys

import pytest

from maskline.cli import package_lock


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Packages that lie in two folders, the second of which Python does not reach for one of them."""
    for folder, names in {
        "one": ("torch-2.13.0+cpu", "ruamel.yaml-0.19.1", "click_plugins-1.0", "nvidia_nccl_cu13-2.1", "triton-3.0"),
        "two": ("torch-1.0", "numpy-2.0.0"),
    }.items():
        for name in names:
            (tmp_path / folder / f"{name}.dist-info").mkdir(parents=True)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "none"), str(tmp_path / "one"), str(tmp_path / "two")])


def lock(folder, *lines):
    path = folder / "requirements.lock"
    path.write_text("# Every package.\n" + "".join(f"{line}\n" for line in lines))
    return path


def test_builds_cuda_and_what_is_not_installed_do_not_count(tmp_path, installed):
    same = ("torch==2.13.0+cu130", "ruamel-yaml==0.19.1 ; python_version > '3'", "mypy==1.0", "numpy==2.0.0 # code 1")
    assert package_lock.differences(lock(tmp_path, *same, "nvidia-nccl-cu13==9.9", "triton==9.9")) == []
    assert package_lock.differences(tmp_path / "none") == []


def test_other_versions_are_one_line(tmp_path, installed, caplog):
    path = lock(tmp_path, "Torch==2.11.0", "click-plugins==1.1", "numpy==2.0.1", "ruamel.yaml==0.18")
    assert package_lock.differences(path) == [
        "click-plugins 1.0, not 1.1",
        "numpy 2.0.0, not 2.0.1",
        "ruamel.yaml 0.19.1, not 0.18",
        "Torch 2.13.0, not 2.11.0",
    ]
    with caplog.at_level(logging.WARNING, logger="maskline"):
        package_lock.check(path)
    (line,) = caplog.messages
    assert line.startswith(f"{path}: installed is click-plugins 1.0, not 1.1; numpy 2.0.0, not 2.0.1; ruamel")
    assert " and 1 more; pip install -r " in line
