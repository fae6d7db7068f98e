"""Chromium without a window, for pages of the report."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-extensions",
)


def run_in_page(page: str, script: str, folder: Path) -> Any:
    """Open the page, run the body of a JavaScript function in it, return what it returns; skip without Chromium."""
    if PROGRAM is None:
        pytest.skip("needs chromium on the path")
    probe = (
        "<script>document.body.append(Object.assign(document.createElement('pre'), {id: 'result', textContent:"
        f" JSON.stringify((() => {{ try {{ {script} }} catch (error) {{ return String(error); }} }})())}}));</script>"
    )
    file = folder / "page.html"
    file.write_text(page.replace("</body>", probe + "</body>"), encoding="utf-8")
    result = subprocess.run(
        [PROGRAM, *FLAGS, f"--user-data-dir={folder / 'profile'}", "--dump-dom", file.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = re.search(r'<pre id="result">(.*?)</pre>', result.stdout, re.DOTALL)
    assert found, result.stderr
    return json.loads(html.unescape(found[1]))
