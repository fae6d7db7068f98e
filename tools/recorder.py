"""Run one stage and write down which params and which of the project's files it really touched.

``python -m tools.recorder stages.train record.json``, from the project's folder. Python's own opens are seen,
those inside compiled libraries are not.
"""

import importlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

import stages  # this checkout's lib/ first on the path
from maskline.params.base import reading
from maskline.params.base.types import Section

assert stages.__file__, "stages is a package with an __init__.py"


class Recorder:
    """Keys of params.yaml and files below ``root`` that were touched since ``start``."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.keys: set[str] = set()
        self.read: set[str] = set()
        self.written: set[str] = set()
        self._names: dict[int, str] = {}
        self._kept: list[Section] = []  # an id is only good while its object lives

    def start(self) -> None:
        """Begin to record, until the process ends."""
        load, copy, dump = reading.load_sections, Section.model_copy, Section.model_dump

        def recorded_load(path: Path, kind: type[Section]) -> Section:
            sections: Section = load(path, kind)
            self._name(sections, "")
            return sections

        def recorded_copy(section: Section, **options: Any) -> Section:
            copied = copy(section, **options)
            if id(section) in self._names:
                self._name(copied, self._names[id(section)])
            return copied

        def recorded_dump(section: Section, **options: Any) -> dict[str, Any]:
            for key in set(type(section).model_fields) - set(options.get("exclude") or ()):
                self._note_whole(section, key)
            return dump(section, **options)

        def recorded_get(section: Section, key: str) -> Any:
            if key in type(section).model_fields:
                self._note(section, key)
            return object.__getattribute__(section, key)

        setattr(reading, "load_sections", recorded_load)  # noqa: B010  (a plain assignment is what mypy refuses)
        for name, function in (
            ("model_copy", recorded_copy),
            ("model_dump", recorded_dump),
            ("__getattribute__", recorded_get),
        ):
            setattr(Section, name, function)
        sys.addaudithook(self._audit)

    def record(self) -> dict[str, list[str]]:
        """Return what was touched, sorted; a file that was written does not count as read."""
        return {
            "params": sorted(self.keys),
            "read": sorted(self.read - self.written),
            "written": sorted(self.written),
        }

    def _name(self, section: Section, name: str) -> None:
        self._kept.append(section)
        self._names[id(section)] = name
        for key, value in section.__dict__.items():
            for part in value if isinstance(value, tuple) else (value,):
                if isinstance(part, Section):
                    self._name(part, f"{name}.{key}".lstrip("."))

    def _note(self, section: Section, key: str) -> None:
        value = section.__dict__[key]
        parts = value if isinstance(value, tuple) else (value,)
        inner = bool(parts) and all(isinstance(part, Section) for part in parts)
        if id(section) in self._names and not inner:
            self.keys.add(f"{self._names[id(section)]}.{key}".lstrip("."))

    def _note_whole(self, section: Section, key: str) -> None:
        self._note(section, key)
        value = section.__dict__[key]
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, Section):
                for below in type(part).model_fields:
                    self._note_whole(part, below)

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event != "open" or not isinstance(arguments[0], str):
            return
        path = Path(os.path.realpath(arguments[0]))
        if not path.is_relative_to(self.root):
            return
        name = target_of(path.relative_to(self.root))
        flags = arguments[2] if isinstance(arguments[2], int) else 0
        if flags & (os.O_WRONLY | os.O_RDWR):
            self.written.add(name)
        elif path.is_file():  # a folder is opened to be synced or removed
            self.read.add(name)


def target_of(path: Path) -> str:
    """Return the file that a path stands for: ``.NAME.part`` is written in place of ``NAME``."""
    return "/".join(part[1:-5] if part.startswith(".") and part.endswith(".part") else part for part in path.parts)


def covers(listed: str, key: str) -> bool:
    """Tell whether a params key in dvc.yaml covers another key."""
    return key == listed or key.startswith(f"{listed}.")


def lookup(values: Mapping[str, Any], key: str) -> Any:
    """Return the value at a dotted key."""
    value: Any = values
    for part in key.split("."):
        value = value[part]
    return value


def main() -> None:
    """Run the stage named first, write the record to the path named second."""
    module, target = sys.argv[1:]
    recorder = Recorder(Path.cwd())
    recorder.start()
    command = importlib.import_module(module).main
    assert isinstance(command, click.Command), module
    command.main([], prog_name=module, standalone_mode=False)
    Path(target).write_text(json.dumps(recorder.record(), indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
