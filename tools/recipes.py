"""The recipes in recipes/: MMSegmentation's that are published with a result, those of papers, and ours.

``python -m tools.recipes`` writes them; a test fails while one of them is stale. The first are those of
``maskline.projects.published`` that have a file, which ``tools.published_recipes`` reads from MMSegmentation; the
others stand in ``tools.recipe_papers``, ``tools.recipe_few_labels`` and ``tools.recipe_measured``. A recipe says what
differs from the defaults, and of the section machine always the same keys: the use of another recipe leaves none.
"""

import textwrap
from pathlib import Path

from maskline.core.files import write_text
from maskline.projects.published import published
from maskline.projects.recipe_text import recipe_text
from tools.recipe_few_labels import FEW_LABELS
from tools.recipe_measured import MEASURED
from tools.recipe_papers import PAPERS

ROOT = Path(__file__).resolve().parent.parent


def recipes() -> dict[str, str]:
    """Return file name -> text of every recipe."""
    texts = {one.file: one.text() for one in published().values() if one.file}
    for name, recipe in MEASURED.items():
        texts[name] = recipe_text(name, [*_lines(recipe.about), "Measured: docs/results.md"], recipe.changes)
    for name, paper in PAPERS.items():
        texts[name] = recipe_text(name, paper.about, paper.changes)
    for name, (about, changes) in FEW_LABELS.items():
        texts[name] = recipe_text(name, [*_lines(about), "Not measured here."], changes)
    return {f"{name}.yaml": texts[name] for name in sorted(texts)}


def _lines(about: str) -> list[str]:
    return textwrap.wrap(about, width=116)


def main() -> None:
    """Write every recipe."""
    for name, text in recipes().items():
        write_text(ROOT / "recipes" / name, text)


if __name__ == "__main__":
    main()
