"""All problems of a failed conversion in one report, as CSV, text and HTML."""

import csv
import html
import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from maskline.core.errors import DataError, DataProblemsError, StorageError
from maskline.core.files import write_text
from maskline.core.state_folder import state_folder
from maskline.core.text import cell

_HEADER = ("place", "problem", "remedy")
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Problems of the data set</title>
<style>body{{font:15px sans-serif;margin:2em}}td,th{{text-align:left;vertical-align:top;padding:.3em 1em .3em 0;
border-bottom:1px solid #ccc}}</style></head>
<body><h1>{count} problems</h1><table><tr>{header}</tr>
{rows}
</table></body></html>
"""


def problems_file() -> Path:
    """Return where the report goes as CSV: outside of DVC's outs, which keep their content."""
    return state_folder("convert_problems.csv")


@contextmanager
def listed_problems(target: Path) -> Iterator[None]:
    """Write the problems of a ``DataError`` of the block to ``target`` (CSV) and beside it as .txt and .html.

    The three files are removed if the block ends well.
    """
    try:
        yield
    except DataError as error:
        problems = error.problems if isinstance(error, DataProblemsError) else (error,)
        with suppress(StorageError):  # the problems themselves matter more
            _write(target, problems)
            error.listing = str(target)
        raise
    for suffix in (".csv", ".txt", ".html"):
        target.with_suffix(suffix).unlink(missing_ok=True)


def write_csv(target: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write rows of text as CSV, whole or not at all."""
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([map(cell, row) for row in rows])
    write_text(target, sink.getvalue())


def _write(target: Path, problems: Sequence[DataError]) -> None:
    rows = [(problem.place, problem.problem, problem.remedy) for problem in problems]
    write_csv(target, _HEADER, rows)
    write_text(target.with_suffix(".txt"), "".join(f"{problem}\n" for problem in problems))
    cells = ["".join(f"<td>{html.escape(text)}</td>" for text in row) for row in rows]
    page = _PAGE.format(
        count=len(rows),
        header="".join(f"<th>{name}</th>" for name in _HEADER),
        rows="\n".join(f"<tr>{row}</tr>" for row in cells),
    )
    write_text(target.with_suffix(".html"), page)
