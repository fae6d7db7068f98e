"""Model sections of the published recipes in recipes/, and of those of papers, each network once."""

from typing import Any

from maskline.projects.published import published
from tools.recipe_papers import PAPERS

NETWORKS: dict[str, dict[str, Any]] = {}
for _one in published().values():
    if _one.file:
        NETWORKS.setdefault(_one.file.split("_1xb")[0], _one.sections()["model"])
for _name, _paper in PAPERS.items():
    NETWORKS.setdefault(_name.split("_1xb")[0], _paper.changes["model"])
