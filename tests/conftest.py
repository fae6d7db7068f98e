"""Fixtures that more than one folder of tests uses."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def _shared(name: str) -> Path:
    folder = ROOT.parent / "shared" / name
    if not folder.is_dir():
        pytest.skip(f"needs the folder ../shared/{name} beside the checkout")
    return folder


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Archives of real data sets."""
    return _shared("data")


@pytest.fixture(scope="session")
def shared_conformance() -> Path:
    """Numbers that MMSegmentation computed."""
    return _shared("conformance")
