"""``maskline docs``: pages found by their short names, written as HTML that links nowhere else, opened or printed."""

import re
import webbrowser
from pathlib import Path

import pytest
from click.testing import CliRunner

from maskline.commands import docs as command
from maskline.projects import docs_pages


def run(*arguments):
    return CliRunner().invoke(command.main, list(arguments))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return docs_pages.write_site(tmp_path_factory.mktemp("site"))


def test_every_page_is_written_and_its_links_lead_to_a_page_and_a_heading(site, root):
    pages = sorted(path.relative_to(root / "docs").with_suffix("") for path in (root / "docs").rglob("*.md"))
    assert sorted(page.relative_to(site).with_suffix("") for page in site.rglob("*.html")) == pages
    for page in site.rglob("*.html"):
        for target, anchor in re.findall(r'href="([^":#]*)(?:#([^"]*))?"', page.read_text(encoding="utf-8")):
            linked = page.parent / target if target else page
            assert linked.is_file(), f"{page.name}: {target}"
            assert not anchor or f'id="{anchor}"' in linked.read_text(encoding="utf-8"), f"{page.name}: {anchor}"


def test_tables_and_code_are_there_and_the_internet_is_not(site):
    text = (site / "how-to" / "training.html").read_text(encoding="utf-8")
    assert "<table>" in text
    assert '<code class="language-bash">' in text
    assert not re.findall(r'(?:src|<link[^>]*href)="https?://', text)


def test_a_page_opens_in_the_browser_by_its_short_name(monkeypatch):
    opened = []

    class Browser:
        def open(self, url):
            opened.append(url)
            return True

    monkeypatch.setattr(webbrowser, "get", Browser)
    done = run("resume")
    assert opened == [Path(done.stdout.strip()).as_uri()]
    assert Path(done.stdout.strip()).name == "resume.html"


def test_without_a_browser_it_is_printed(monkeypatch):
    def get():
        raise webbrowser.Error("could not locate runnable browser")

    monkeypatch.setattr(webbrowser, "get", get)
    assert run("how-to/resume").stdout == docs_pages.text("how-to/resume")


def test_list_names_each_page_with_its_title():
    assert re.search(r"^how-to/resume +Go on after a stop$", run("--list").stdout, re.MULTILINE)


@pytest.mark.parametrize(("page", "hint"), [("resum", "did you mean resume?"), ("zzzz", "maskline docs --list")])
def test_an_unknown_page_is_one_line(page, hint):
    done = run(page)
    assert done.exit_code == 2
    assert hint in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_page_that_asks_for_a_clone_says_so(root):
    """Who installed a wheel has no Makefile, tools or tests."""
    for path in (root / "docs").rglob("*.md"):
        text = path.read_text(encoding="utf-8")
        text = re.sub(r"<!--.*?-->", "", text)
        if re.search(r"\bmake [a-z]+\b`|^make [a-z]+$|python -m (tools|pytest)", text, re.MULTILINE):
            assert "clone" in text, path.name
