"""What prepared data says to the other sections of params.yaml."""

from pathlib import Path
from typing import Any, cast, get_args

from maskline.data import manifest
from maskline.losses.class_weights import Rule, class_weights
from maskline.params.network.model import ModelParams, validate_model

_AUTO = "auto:"


def with_class_weights(params: ModelParams, prepared: Path) -> tuple[ModelParams, dict[str, list[float]]]:
    """Return the section with numbers in place of each ``class_weights: auto:RULE``, and the numbers of each rule.

    Args:
        params: The model section.
        prepared: Prepared data; read only where a loss asks for a rule.

    Raises:
        DataError: No labelled pixel in the train split, or no prepared data.
    """
    by_rule: dict[str, list[float]] = {}
    values = _filled(params.model_dump(mode="json"), prepared, by_rule)
    return (validate_model(values, place="params.yaml") if by_rule else params), by_rule


def _filled(value: Any, prepared: Path, by_rule: dict[str, list[float]]) -> Any:
    if isinstance(value, list):
        return [_filled(entry, prepared, by_rule) for entry in value]
    if not isinstance(value, dict):
        return value
    # What the options of the user's own code mean is that code's affair.
    filled = {key: entry if key == "options" else _filled(entry, prepared, by_rule) for key, entry in value.items()}
    text = filled.get("class_weights")
    if isinstance(text, str):
        if text not in by_rule:
            rule = text.removeprefix(_AUTO)
            assert rule in get_args(Rule)
            by_rule[text] = [round(weight, 6) for weight in _train_weights(prepared, rule=cast(Rule, rule))]
        filled["class_weights"] = by_rule[text]
    return filled


def _train_weights(prepared: Path, *, rule: Rule) -> list[float]:
    """Return the weights of a prepared set's classes, from its train split.

    Raises:
        DataError: No manifest, or no labelled pixel in the train split.
    """
    frame, labels = manifest.read(prepared)
    train = frame[frame["split"] == "train"]
    return class_weights([int(train[f"pixels_{i}"].sum()) for i in range(labels.num_classes)], rule=rule)
