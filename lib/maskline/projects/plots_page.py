"""The page that ``dvc plots show`` and ``dvc plots diff`` fill, with Vega inside instead of links to a CDN.

DVC puts each chart into a script of the page, and Vega compiles its expressions: both must be allowed. The page may
load nothing and send nothing.
"""

from importlib.util import find_spec

_TEMPLATE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval';
 style-src 'unsafe-inline'; img-src 'self' file: data: blob:; base-uri 'none'; form-action 'none'">
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


def can_be_made() -> bool:
    """Tell whether vl-convert-python, which has Vega inside, is installed."""
    return find_spec("vl_convert") is not None


def page() -> str:
    """Return the template, 0.9 MB; DVC puts the charts in place of ``{plot_divs}``."""
    import vl_convert

    vega = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    assert "</script" not in vega, "the bundle would end its own script element"
    return _TEMPLATE % vega
