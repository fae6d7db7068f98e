"""Fixtures of the pipeline tests."""

import pytest

from tools.trial import TINY, Project, copy_of


@pytest.fixture(scope="session")
def tiny_project(root, tmp_path_factory) -> Project:
    """A copy of the project with tiny settings; nothing has run in it."""
    return copy_of(root, tmp_path_factory.mktemp("tiny"), TINY)
