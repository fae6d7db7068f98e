"""``python -m tools.plots_page`` writes .dvc/plots_page.html, which .dvc/config names.

It is 0.9 MB and follows from the pinned vl-convert-python, so that git does not keep it.
"""

from pathlib import Path

from maskline.core.files import write_text
from maskline.projects.plots_page import page

PAGE = Path(__file__).resolve().parent.parent / ".dvc" / "plots_page.html"

if __name__ == "__main__":
    write_text(PAGE, page())
