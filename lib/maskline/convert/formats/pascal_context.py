"""PASCAL Context, sixty classes: background and 59 others.

The tree, the rules and the source: ``format_parts/pascal_context.py``.
"""

from pathlib import Path

from maskline.convert.format_parts.pascal_context import read_context, recognise
from maskline.convert.records import LayoutSettings, SourceSet

__all__ = ["read", "recognise"]


def read(folder: Path, settings: LayoutSettings) -> SourceSet:
    """Find masks, their images and the lists.

    Raises:
        DataError: No file of this set is there.
    """
    return read_context(folder, settings, name="pascal_context", background=True)
