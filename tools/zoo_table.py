"""``python -m tools.zoo_table CONFIGS`` writes lib/maskline/weights/zoo.csv from MMSegmentation's metafiles.

CONFIGS is the folder of configurations of MMSegmentation 1.2.2 (``mmseg/.mim/configs`` of its wheel, Apache-2.0). What
is taken are facts: names, addresses, data sets and published scores.
"""

import csv
import io
import re
from pathlib import Path
from typing import Any

import click

from maskline.core.files import write_text
from maskline.params.base.reading import read_yaml
from maskline.weights.zoo import BASE, COLUMNS, TABLE

_DATED = re.compile(r"_\d{8}_\d{6}-[0-9a-f]{8}\.pth$")


@click.command()
@click.argument("configs", type=click.Path(path_type=Path, exists=True, file_okay=False))
def main(configs: Path) -> None:
    """Write the table."""
    rows: dict[str, list[str]] = {}
    for metafile in sorted(configs.glob("*/metafile.yaml")):
        for model in read_yaml(metafile).get("Models", []):
            if model.get("Weights"):
                row = _row(model, family=metafile.parent.name)
                # Some names are given twice; the later file is called as it was before MMSegmentation 1.0.
                row[0] = row[0] if row[0] not in rows else _DATED.sub("", row[-1].rsplit("/", 1)[-1])
                assert row[0] not in rows, row
                rows[row[0]] = row
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows[name] for name in sorted(rows))
    write_text(TABLE, stream.getvalue())
    click.echo(f"{len(rows)} checkpoints")


def _row(model: dict[str, Any], *, family: str) -> list[str]:
    results = model["Results"]
    results = results[0] if isinstance(results, list) else results
    scores = [f"{name} {value}" for name, value in results["Metrics"].items() if not isinstance(value, list)]
    # One address has its host misspelled.
    path = "/" + model["Weights"].split("://", 1)[1].split("/", 1)[1]
    base = "/" + BASE.split("://", 1)[1].split("/", 1)[1]
    assert path.startswith(base), path
    return [model["Name"], family, results["Dataset"], "; ".join(scores), path.removeprefix(base)]


if __name__ == "__main__":
    main()
