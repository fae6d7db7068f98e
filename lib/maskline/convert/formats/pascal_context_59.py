"""PASCAL Context, its 59 frequent classes; background is ignored.

The tree, the rules and the source: ``format_parts/pascal_context.py``.
"""

from pathlib import Path

from maskline.convert.format_parts.pascal_context import read_context
from maskline.convert.records import LayoutSettings, SourceSet


def read(folder: Path, settings: LayoutSettings) -> SourceSet:
    """Find masks, their images and the lists.

    Raises:
        DataError: No file of this set is there.
    """
    return read_context(folder, settings, name="pascal_context_59", background=False)
