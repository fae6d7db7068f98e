"""The pages as a site: built without a warning, with every page in the menu and no link to what is not there."""

import re
import subprocess
import sys
from types import SimpleNamespace

import pytest

from tools import site_links


@pytest.fixture(scope="module")
def site(root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_is_built_and_in_the_menu(site, root):
    start = (site / "index.html").read_text(encoding="utf-8")
    for page in (root / "docs").rglob("*.md"):
        built = page.relative_to(root / "docs").with_suffix(".html")
        assert (site / built).is_file()
        assert f'href="{built.as_posix()}"' in start or built.name == "index.html", built


def test_links_within_the_site_lead_somewhere(site):
    for page in site.rglob("*.html"):
        for target in re.findall(r'href="([^":#?]+\.html)', page.read_text(encoding="utf-8")):
            assert target.startswith("/") or (page.parent / target).exists(), f"{page.name}: {target}"


def test_pages_ask_the_internet_for_nothing(site):
    text = (site / "index.html").read_text(encoding="utf-8")
    assert not re.findall(r'(?:src|<link[^>]*href)="https?://', text)


def test_links_out_of_the_documents_become_text():
    page = SimpleNamespace(file=SimpleNamespace(src_uri="how-to/a.md"))
    text = "[b](b.md), [test](../../tests/test_x.py), [up](../index.md#x), [web](https://example.org)"
    assert site_links.on_page_markdown(text, page=page) == (
        "[b](b.md), test (`tests/test_x.py`), [up](../index.md#x), [web](https://example.org)"
    )
