"""The recipes that MMSegmentation 1.2.2's configurations make: each by its own name there.

``published.json`` beside this file holds what ``maskline.weights.mmseg`` reads of these configurations (Apache-2.0),
each part once, and the results that the metafiles state; ``tools.published_recipes`` wrote it. Some of the recipes also
stand in recipes/, under the name that is computed of their params.
"""

import json
import textwrap
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from maskline.projects.recipe_text import recipe_text

TABLE = Path(__file__).with_name("published.json")

MACHINE = {"cache": "stream", "journal_every": 1000}
"""The section machine of these recipes: long runs on large sets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A configuration of MMSegmentation as a recipe.

    Args:
        name: There.
        file: Of the recipe in recipes/, without ``.yaml``; None: it stands in the table alone.
        family: Folder of the configuration.
        data: Data set, as ``data.name`` has it, or by MMSegmentation's name where there is no layout for it.
        score: Published result; empty: none.
        start: Weights that the backbone starts from there; empty: none.
        notes: What of the configuration has no counterpart.
        parts: Numbers of its parts.
    """

    name: str
    file: str | None
    family: str
    data: str
    score: str
    start: str
    notes: tuple[str, ...]
    parts: tuple[int, ...]

    @property
    def shown_name(self) -> str:
        """The name that a list has."""
        return self.file or self.name

    def sections(self) -> dict[str, Any]:
        """Return its sections, with every key that the configuration decides."""
        sections: dict[str, Any] = {}
        for number in self.parts:
            for section, values in _table()["parts"][number].items():
                sections.setdefault(section, {}).update(values)
        return json.loads(json.dumps({**sections, "machine": MACHINE}))  # type: ignore[no-any-return]

    def text(self) -> str:
        """Return the recipe's text."""
        start = f", from {self.start} (import-weights, then model.weights)" if self.start else ""
        comments = [f"Published: {self.score}{start}."] if self.score else []
        run = "; one run, not yet repeated here" if self.score else ""
        comments.append(f"Source: MMSegmentation 1.2.2, {self.name}{run}.")
        if self.notes:
            comments += textwrap.wrap(f"Not as there: {'; '.join(self.notes)}.", width=116)
        return recipe_text(self.shown_name, comments, self.sections())


@cache
def _table() -> dict[str, Any]:
    return json.loads(TABLE.read_text(encoding="utf-8"))  # type: ignore[no-any-return]


@cache
def published() -> dict[str, Published]:
    """Return all by MMSegmentation's name, sorted."""
    table = _table()
    return {
        name: Published(
            name=name,
            file=row.get("file"),
            family=row["family"],
            data=row["data"],
            score=row.get("score", ""),
            start=row.get("start", ""),
            notes=tuple(table["notes"][number] for number in row.get("notes", ())),
            parts=tuple(row["parts"]),
        )
        for name, row in table["recipes"].items()
    }
