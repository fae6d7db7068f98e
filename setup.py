"""The wheel carries the pipeline: what `maskline new` makes a project of is copied from the top of the checkout.

So git holds one copy, and a wheel needs no clone. Everything else about the package stands in pyproject.toml.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
CARRIED = (
    "dvc.yaml",
    "params.yaml",
    "params.schema.json",
    ".dvcignore",
    ".gitignore",
    ".dvc/config",
    ".dvc/.gitignore",
    ".dvc/plots",
    "stages",
    "own",
    "recipes",
    "docs",
)


class BuildWithProject(build_py):
    """Copies the pipeline into the package, but for an editable install, which finds it in the checkout."""

    def run(self) -> None:
        """Build as usual, then put the pipeline into maskline/project."""
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib) / "maskline" / "project"
        shutil.rmtree(target, ignore_errors=True)
        for name in CARRIED:
            source = ROOT / name
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
            else:
                shutil.copy(source, target / name)


setup(cmdclass={"build_py": BuildWithProject})
