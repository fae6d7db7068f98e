"""A hook of mkdocs: links out of docs/ (to code and tests) become the file's name in the built pages.

On a code host they lead to the file; the built site has the documents alone.
"""

import re
from pathlib import PurePosixPath
from typing import Any

_LINK = re.compile(r"\[([^\]]+)\]\(((?:\.\./)+[^)#\s]+)(#[^)]*)?\)")


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
