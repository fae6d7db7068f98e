"""From a trained model folder to its use on images."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from maskline.builders.model import no_larger_than, segmentor, without_start_weights
from maskline.core import own_code
from maskline.core.errors import CheckpointError, ParamsError
from maskline.data.labels import LabelSet
from maskline.inference.crf import DenseCrf
from maskline.inference.crf_full import FullCrf
from maskline.inference.folding import fold_norms
from maskline.inference.pipeline import Crf, Inference
from maskline.inference.predictor import Predictor
from maskline.inference.tta import Tta
from maskline.models.ensemble import Ensemble
from maskline.models.segmentor import SegmentorBase
from maskline.params.base.types import Scale
from maskline.params.evaluate import CrfParams, EvaluateParams
from maskline.params.network.model import ModelParams, validate_model
from maskline.runtime import checkpoint, device


def load_segmentor(folder: Path) -> SegmentorBase:
    """Load a trained model folder in eval mode, float32, on the CPU; takes normalized NCHW images.

    Of several models in one folder (``maskline.builders.ensemble``) it is the ensemble.

    Raises:
        CheckpointError: The folder is not whole, or its weights do not fit its params.
    """
    card = checkpoint.read_card(folder)
    networks = _networks(folder, card)
    labels = LabelSet.from_dict(card["labels"], place=folder / checkpoint.CARD_FILE)
    for params in networks:
        if params.in_channels != len(card["preprocessing"]["mean"]):
            problem = f"{len(card['preprocessing']['mean'])} numbers for mean, {params.in_channels} channels"
            raise CheckpointError(folder / checkpoint.CARD_FILE, problem, "take it as training wrote it")
        _check_own_code(folder / checkpoint.CARD_FILE, params, card["receipt"].get("own_code", {}))
    weights = checkpoint.read_weights(folder, expected_sha256=card["receipt"].get("weights_sha256"))
    with no_larger_than(weights, place=folder / checkpoint.CARD_FILE, remedy="take both from one run"):
        # The file's own weights follow: neither a download nor the weights it once started from are needed.
        built = [segmentor(without_start_weights(params), num_classes=labels.num_classes) for params in networks]
        model = Ensemble(built) if "members" in card else built[0]
    checkpoint.check_values(folder / checkpoint.WEIGHTS_FILE, weights, model.state_dict())
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(
            folder / checkpoint.WEIGHTS_FILE,
            f"not of the network that model.json describes ({checkpoint.misfit(model.state_dict(), weights)})",
            "take both files from one run, or train again (dvc repro -f train)",
        ) from error
    return model.eval()


def _networks(folder: Path, card: Mapping[str, Any]) -> list[ModelParams]:
    """Return the section of the network, or of each of an ensemble's.

    Raises:
        CheckpointError: There is none, or it is of another version.
    """
    place = folder / checkpoint.CARD_FILE
    if not card["params"].get("model") or not {"mean", "std"} <= card["preprocessing"].keys():
        problem = "says nothing of the network or its images"
        raise CheckpointError(place, problem, "take it as training wrote it, or train again")
    try:
        return [validate_model(section, place=place) for section in card.get("members") or [card["params"]["model"]]]
    except ParamsError as error:
        raise CheckpointError(error.place, error.problem, "the model is of another version; train again") from error


def _check_own_code(place: Path, params: ModelParams, trained_with: Mapping[str, str]) -> None:
    """Raise where a head or backbone of the user's own is not here, or not as it was when the model was trained."""
    try:
        here = own_code.hashes(params.own_code(losses=False).values(), place=str(place))
    except ParamsError as error:
        remedy = "bring it back, or run in the project's folder"
        raise CheckpointError(error.place, f"{error.problem}, and the network is made of it", remedy) from error
    for file, found in here.items():
        if trained_with.get(file, found) != found:
            remedy = "undo the edit, or train again (dvc repro)"
            raise CheckpointError(f"{place}: {file}", "not what the model was trained with", remedy)


def build_predictor(params: EvaluateParams, folder: Path) -> Predictor:
    """Build the use of a trained model folder on images.

    Raises:
        CheckpointError: As ``load_segmentor``.
        ParamsError: A device that is not there.
    """
    preprocessing, scale = checkpoint.read_card(folder)["preprocessing"], scale_of_images(params.scale, folder)
    kind, model = device.resolve_kind(params.device, place="evaluate.device"), load_segmentor(folder)
    return Predictor(
        model=fold_norms(model).to(kind),
        mean=tuple(preprocessing["mean"]),
        std=tuple(preprocessing["std"]),
        mode=params.inference,
        window=params.window,
        stride=params.stride,
        batch_size=params.batch_size,
        weighting=params.window_weights,
        average=params.average,
        precision=params.precision,
        scale=scale,
        align_corners=scale is not None and model.align_corners,
    )


def scale_of_images(scale: Scale | Literal["model"] | None, folder: Path) -> Scale | None:
    """Return what images are scaled to before a trained model sees them; None: they keep their size.

    Args:
        scale: ``evaluate.scale``.
        folder: The model, whose own word is ``model``; one of before that key keeps images as they are.

    Raises:
        CheckpointError: The model cannot be read.
    """
    if scale == "model":
        return _networks(folder, checkpoint.read_card(folder))[0].test_scale
    return scale


def build_inference(params: EvaluateParams, folder: Path) -> Inference:
    """Build the use of a trained model with all that follows the network; what is to be tuned is left as it stands.

    Raises:
        CheckpointError: As ``load_segmentor``.
        ParamsError: A step whose package is not installed.
    """
    return Inference(
        predictor=build_predictor(params, folder),
        tta=Tta(scales=params.tta.scales, flips=params.tta.flips),
        crf=_crf(params.crf) if params.crf.enabled else None,
        threshold=params.threshold if isinstance(params.threshold, float) else None,
        min_component_px=params.min_component_px,
        max_hole_px=params.max_hole_px,
    )


def _crf(params: CrfParams) -> Crf:
    values = params.model_dump(exclude={"enabled", "method", "tune", "radius"})
    return DenseCrf(**values, radius=params.radius) if params.method == "window" else FullCrf(**values)
