"""The measures beyond the confusion matrix by name, a line each: what ``evaluate.extra_metrics`` may hold."""

from typing import TYPE_CHECKING, Literal

MEASURES = {
    "boundary": "boundary IoU, and boundary F at a tolerance of boundary_px",
    "surface": "95 % Hausdorff distance and average surface distance, px",
    "cldice": "clDice, for thin structures",
    "ranking": "area under the ROC curve and average precision",
    "calibration": "expected calibration error",
}
"""Name -> what it gives; in the order of the scores. Each is a function in a file of ``maskline.metrics.measures``."""

if TYPE_CHECKING:
    MeasureName = str
else:
    MeasureName = Literal[tuple(MEASURES)]
