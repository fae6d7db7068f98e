"""The pages under docs/ that the package brings: found by name, and written as HTML that needs no server."""

import difflib
import html
import itertools
import os
import re
import shutil
import tempfile
from pathlib import Path, PurePosixPath

from markdown_it import MarkdownIt
from markdown_it.token import Token

from maskline.core.errors import ParamsError
from maskline.core.files import write_text
from maskline.projects.resources import pipeline_folder

START = "index"

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ max-width: 52rem; margin: 2rem auto; padding: 0 1rem; font: 1rem/1.5 system-ui, sans-serif; }}
pre, table {{ display: block; overflow-x: auto; }}
pre {{ background: #8881; padding: .7rem; }}
table {{ border-collapse: collapse; }}
td, th {{ border: 1px solid #8886; padding: .2rem .5rem; text-align: left; vertical-align: top; }}
:root {{ color-scheme: light dark; }}
</style>
<nav>{start}</nav>
{body}</html>
"""


def folder() -> Path:
    """Return the folder with the pages: in a wheel beside the pipeline, in a clone docs/."""
    return pipeline_folder() / "docs"


def pages() -> dict[str, str]:
    """Return the title of each page by its name, such as ``how-to/training``; the start first, then by name."""
    paths = {path.relative_to(folder()).with_suffix("").as_posix(): path for path in folder().rglob("*.md")}
    ordered = sorted(paths, key=lambda name: (name != START, "/" in name, name))
    return {name: _title(paths[name]) for name in ordered}


def find(name: str) -> str:
    """Return the full name of a page: ``training`` is ``how-to/training``.

    Raises:
        ParamsError: No page is called so, or several are.
    """
    wanted = name.removeprefix("docs/").removesuffix(".md").strip("/")
    names = list(pages())
    if wanted in names:
        return wanted
    short = [each for each in names if PurePosixPath(each).name == wanted]
    if len(short) == 1:
        return short[0]
    near = difflib.get_close_matches(wanted, [PurePosixPath(each).name for each in names], n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else "maskline docs --list names all"
    raise ParamsError("maskline docs", f"no page {name!r}", " or ".join(short) or hint)


def text(name: str) -> str:
    """Return a page's Markdown, by its full name."""
    return (folder() / f"{name}.md").read_text(encoding="utf-8")


def write_site(target: Path | None) -> Path:
    """Write all pages as HTML, linked with each other, and return the folder.

    Links out of docs/, to code and tests, become the file's name: an installed package has no such files.

    Args:
        target: The folder; None: a new one of this user's alone, among the temporary files.
    """
    target = Path(tempfile.mkdtemp(prefix="maskline-docs-")) if target is None else target
    parser = MarkdownIt("commonmark").enable("table")
    for name, title in pages().items():
        tokens = parser.parse(text(name))
        _with_anchors(tokens)
        for token in tokens:
            if token.children:
                token.children = _with_local_links(token.children, PurePosixPath(name).parent)
        up = os.path.relpath(f"{START}.html", PurePosixPath(name).parent)
        start = "" if name == START else f'<a href="{up}">maskline</a>'
        body = parser.renderer.render(tokens, parser.options, {})
        write_text(target / f"{name}.html", _PAGE.format(title=html.escape(title), start=start, body=body))
    for file in folder().rglob("*.*"):  # images, and files to take
        if file.suffix != ".md":
            copy = target / file.relative_to(folder())
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
    return target


def _title(path: Path) -> str:
    first = next((line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("# ")), path.stem)
    return first.removeprefix("# ").replace("`", "")


def _with_anchors(tokens: list[Token]) -> None:
    """Give each heading the id by which code hosts link to it."""
    for opening, inline in itertools.pairwise(tokens):
        if opening.type == "heading_open":
            opening.attrSet("id", re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", inline.content.lower())))


def _with_local_links(tokens: list[Token], parent: PurePosixPath) -> list[Token]:
    kept: list[Token] = []
    dropped = False
    for token in tokens:
        if token.type == "link_open":
            path, _, anchor = str(token.attrGet("href")).partition("#")
            joined = PurePosixPath(os.path.normpath(parent / path))
            dropped = "://" not in path and bool(path) and joined.parts[:1] == ("..",)
            if path.endswith(".md") and "://" not in path:
                token.attrSet("href", path.removesuffix(".md") + ".html" + (f"#{anchor}" if anchor else ""))
        if token.type in {"link_open", "link_close"} and dropped:
            continue
        kept.append(token)
    return kept
