"""Model sections of the published recipes in recipes/, each network once."""

from typing import Any

from maskline.projects.published import published

NETWORKS: dict[str, dict[str, Any]] = {}
for _one in published().values():
    if _one.file:
        NETWORKS.setdefault(_one.file.split("_1xb")[0], _one.sections()["model"])
