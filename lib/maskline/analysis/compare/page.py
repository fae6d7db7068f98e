"""The report page of a run with a comparison with another run in it.

The page that evaluate writes has none: it is an output of DVC and must not depend on what git holds.
"""

from collections.abc import Iterator
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from maskline.analysis.compare.images import Comparison
from maskline.analysis.compare.paired_tests import Difference
from maskline.core.errors import DataError

_HERE, _LINK = "<!-- comparison -->", "<!-- link to the comparison -->"
_CHANGED = 10


def with_comparison(page: str, comparison: Comparison, *, a: str, b: str, place: object) -> str:
    """Return the page with a section that compares two runs, and a link to it.

    Args:
        page: Text of the report page of the second run.
        comparison: The comparison.
        a: Name of the first run.
        b: Name of the second run.
        place: Of the page, for the error.

    Raises:
        DataError: Not a page of this version, or one that has a comparison.
    """
    if page.count(_HERE) != 1 or page.count(_LINK) != 1:
        raise DataError(place, "not a report page as evaluate writes it", "evaluate again (dvc repro -f evaluate)")
    environment = Environment(
        loader=PackageLoader("maskline", "analysis/compare"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    section = environment.get_template("comparison.html").render(
        a=a,
        b=b,
        images=comparison.images,
        rows=list(_rows(comparison.scores)),
        ranking=comparison.ranking,
        changed=list(_changed(comparison)),
    )
    return page.replace(_LINK, '<a href="#comparison">Comparison</a>').replace(_HERE, section)


def _rows(differences: list[Difference]) -> Iterator[dict[str, Any]]:
    """Yield a row a score; all share one scale, which ends at the farthest end of an interval."""
    ends = [abs(end) for one in differences for end in (one.low, one.high, one.difference) if end is not None]
    reach = max([*ends, 1e-9])
    for one in differences:
        interval = "" if one.low is None else f"{one.low:+.4f} to {one.high:+.4f}"
        known = one.low is not None and one.high is not None
        yield {
            "name": one.name.replace(".", " · "),  # lines break there
            "a": f"{one.a:.4f}",
            "b": f"{one.b:.4f}",
            "difference": f"{one.difference:+.4f}",
            "interval": interval,
            "p": f"{one.p:.3f}",
            "sure": known and not one.low <= 0 <= one.high,  # type: ignore[operator]
            "at": _position(one.difference, reach),
            "left": _position(one.low, reach) if one.low is not None else None,
            "width": f"{50 * (one.high - one.low) / reach:.2f}%" if known else None,  # type: ignore[operator]
            "spoken": f"{one.name}: {one.difference:+.4f}" + (f", interval {interval}" if interval else ""),
        }


def _position(value: float, reach: float) -> str:
    return f"{50 + 50 * value / reach:.2f}%"


def _changed(comparison: Comparison) -> Iterator[dict[str, str]]:
    for row in [row for row in comparison.images if row["difference"] is not None][:_CHANGED]:
        yield {
            "id": str(row["id"]),
            "a": f"{row['a']:.4f}",
            "b": f"{row['b']:.4f}",
            "difference": f"{row['difference']:+.4f}",
        }
