"""Hooks of mkdocs: the menu has every page, and links out of docs/ (to code and tests) become the file's name.

On a code host such a link leads to the file; the built site has the documents alone.
"""

import re
from pathlib import Path, PurePosixPath
from typing import Any

_DOORS = {"How to": "how-to", "Choose": "choose", "Reference": "reference", "Explanation": "explanation"}

_LINK = re.compile(r"\[([^\]]+)\]\(((?:\.\./)+[^)#\s]+)(#[^)]*)?\)")


def on_config(config: Any) -> Any:
    """Return the configuration with the menu: the start, then each folder's pages by their file names."""
    docs = Path(config["docs_dir"])
    config["nav"] = ["index.md", "getting-started.md", "results.md"]
    for title, folder in _DOORS.items():
        pages = sorted((docs / folder).glob("*.md"))
        config["nav"].append({title: [page.relative_to(docs).as_posix() for page in pages]})
    return config


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Return the page with such links as text; mkdocs calls this for each page."""
    folder = PurePosixPath(page.file.src_uri).parent

    def plain(match: re.Match[str]) -> str:
        target = _joined(folder, match[2])
        return f"{match[1]} (`{target[3:]}`)" if target.startswith("../") else match[0]

    return _LINK.sub(plain, markdown)


def _joined(folder: PurePosixPath, link: str) -> str:
    parts: list[str] = []
    for part in (*folder.parts, *PurePosixPath(link).parts):
        if part == ".." and parts and parts[-1] != "..":
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts)
