"""Data set name, or the user's own file -> the function that finds images and masks."""

from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from maskline.convert import formats
from maskline.convert.format_parts.tree import Tree
from maskline.convert.records import Layout, LayoutSettings, SourceSet
from maskline.core import own_code
from maskline.core.errors import DataError, ParamsError

ANY_MASKS = "folder"
"""The format of all sets of images and masks that have no other one."""


def names() -> list[str]:
    """Return the data sets: one for each file of ``formats``."""
    return sorted(module.name for module in iter_modules(formats.__path__))


def layout(name: str) -> Layout:
    """Return the layout of a data set: the function ``read`` of its file.

    Raises:
        DataError: Unknown name.
    """
    if name not in names():
        raise DataError("data.name", f"unknown data set {name!r}", f"choose one of {', '.join(names())}")
    read: Layout = import_module(f"{formats.__name__}.{name}").read
    return read


def recognised(tree: Tree) -> list[tuple[str, str]]:
    """Return (name, reason) of each data set that a folder may be, by the function ``recognise`` of its file.

    ``folder``, which takes any images with masks, is the last one.
    """
    answers = []
    for name in sorted(names(), key=lambda name: (name == ANY_MASKS, name)):
        recognise = getattr(import_module(f"{formats.__name__}.{name}"), "recognise", None)
        reason = recognise(tree) if recognise is not None else None
        answers += [(name, reason)] if reason is not None else []
    return answers


def layout_key(text: str) -> str:
    """Return what tells a layout from all others: a data set's name, or the hash of the user's own file."""
    return f"{text} {own_code.hashes([text], place='data.layout')}" if own_code.is_own(text) else text


def own_layout(text: str) -> Layout:
    """Return the function that ``path/to/file.py:function`` names.

    Raises:
        ParamsError: No such file or function, or the file cannot be imported.
    """
    place = f"data.layout: {text}"
    function = own_code.load(text, place="data.layout")
    if not callable(function):
        raise ParamsError(place, "no function", "name a function of the unpacked folder and LayoutSettings")

    def read(folder: Path, settings: LayoutSettings) -> SourceSet:
        source = function(folder, settings)
        if not isinstance(source, SourceSet):
            raise DataError(place, f"returned {type(source).__name__}", "return a maskline.convert.records.SourceSet")
        return source

    return read
