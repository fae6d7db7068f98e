"""The page that ``dvc plots show`` and ``dvc plots diff`` fill, with Vega inside instead of links to a CDN.

``python -m tools.plots_page`` writes .dvc/plots_page.html, which .dvc/config names. It is 0.9 MB and follows from
the pinned vl-convert-python, so that git does not keep it.
"""

from pathlib import Path

import vl_convert

from maskline.files import write_text

PAGE = Path(__file__).resolve().parent.parent / ".dvc" / "plots_page.html"

_TEMPLATE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
{refresh_tag}
<title>maskline plots</title>
<script>%s</script>
<style>
body { font-family: system-ui, sans-serif; margin: 1.5rem; }
table { border-spacing: 15px; }
img { max-width: 100%%; }
</style>
</head>
<body>
{plot_divs}
</body>
</html>
"""


def page() -> str:
    """Return the template; DVC puts the charts in place of ``{plot_divs}``."""
    vega = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    assert "</script" not in vega, "the bundle would end its own script element"
    return _TEMPLATE % vega


if __name__ == "__main__":
    write_text(PAGE, page())
