"""Sets to convert and a folder to do it in."""

from tests.set_fixtures import make_set, settings, workspace

__all__ = ["make_set", "settings", "workspace"]
