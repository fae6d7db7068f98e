"""The learning rates of a run as an image."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from maskline.core.files import replace_file


def draw_rates(path: Path, rates: Mapping[str, Sequence[float]]) -> None:
    """Write a PNG of learning rates over iterations; the same rates give the same bytes.

    Args:
        path: The file.
        rates: Learning rate of each iteration from 0, by the name of the parameter group.
    """
    figure = Figure(figsize=(8, 4.5), dpi=120, layout="constrained")
    axes = figure.subplots()
    for name, values in rates.items():
        axes.plot(range(len(values)), values, label=name)
    axes.set_xlabel("iteration")
    axes.set_ylabel("learning rate")
    axes.grid(visible=True, alpha=0.3)
    axes.set_ylim(bottom=0)
    if len(rates) > 1:
        axes.legend(fontsize="small")
    with replace_file(path) as part:
        figure.savefig(part, format="png", metadata={"Software": None})
