"""The files of an audit."""

from collections.abc import Sequence
from pathlib import Path

from maskline.analysis.audit import labelling, page, tables
from maskline.analysis.audit.auditing import Audit, judged_again
from maskline.analysis.audit.members import Part
from maskline.core.files import write_text
from maskline.params.evaluate import EvaluateParams


def write(
    out: Path,
    params: EvaluateParams,
    parts: Sequence[Part],
    done: Audit,
    *,
    number: int,
    title: str,
    warning: str,
) -> None:
    """Write tables, page and lists; the first images are predicted again for the page.

    Args:
        out: Folder of the files.
        params: How models are used.
        parts: As they were audited.
        done: The audit.
        number: How many images are on the page and in the lists.
        title: Of the page.
        warning: On the page; empty: none.

    Raises:
        StorageError: A file cannot be written.
    """
    shown = [page.drawn(rank, judged, done.labels) for rank, judged in judged_again(params, parts, done, number=number)]
    facts = [
        f"{len(done.images)} images",
        f"{len(done.labels.class_names)} classes",
        "each judged by a model that has not seen it" if not warning else "judged by models that a user named",
    ]
    write_text(out / "images.csv", tables.image_table(done))
    write_text(out / "regions.csv", tables.region_table(done))
    write_text(out / "audit.html", page.render(done, shown, title=title, facts=facts, warning=warning))
    write_text(out / "files.txt", labelling.file_list(done, number=number))
    write_text(out / "label_studio.json", labelling.label_studio_tasks(done, number=number))
    write_text(out / "label_studio.xml", labelling.label_studio_config())
    write_text(out / "cvat.xml", labelling.cvat_annotations(done, number=number))
