"""From params to objects: the only module that knows both. Everything below takes plain keywords."""

import logging
from pathlib import Path
from typing import Any

from maskline import world
from maskline.build_augment import augmentation
from maskline.build_backbone import encoder_weights
from maskline.build_data import with_class_weights
from maskline.build_model import criteria, criterion, loss, segmentor, without_start_weights
from maskline.build_optim import optimizer, schedule, to_iterations
from maskline.data.dataset import PreparedSplit
from maskline.engine import checkpoint, device
from maskline.engine.loader import TrainBatches, check_crop
from maskline.engine.receipt import receipt
from maskline.engine.run import Job
from maskline.engine.train import Loop
from maskline.errors import CheckpointError, ParamsError
from maskline.inference.crf import DenseCrf
from maskline.inference.crf_full import FullCrf
from maskline.inference.pipeline import Crf, Inference
from maskline.inference.predictor import Predictor
from maskline.inference.views import Views
from maskline.labels import LabelSet
from maskline.models import batch_norm, depthwise
from maskline.models.folding import fold_norms
from maskline.models.segmentor import SegmentorBase
from maskline.models.sync_norm import synchronise
from maskline.optim import optimizers
from maskline.optim.schedules import Schedule
from maskline.params import (
    CrfParams,
    EvaluateParams,
    Params,
    validate_model,
)
from maskline.params_model import ModelParams
from maskline.torch_seeds import seed_torch

__all__ = ["criteria", "criterion", "loss", "segmentor", "without_start_weights"]  # parts, handed on

log = logging.getLogger("maskline")


def training(params: Params, prepared: Path) -> Job:
    """Build a training run over prepared data.

    Raises:
        MasklineError: A part of the params cannot be built, or the data is not there.
    """
    train = params.train
    device.set_deterministic(train.threads)
    compute = device.resolve(device=train.device, precision=train.precision, channels_last=train.channels_last)
    split = PreparedSplit.open(prepared, "train", cache=train.cache)
    check_channels(params.model, split)
    seed_torch(train.seed, "weights")
    model = _network(params.model, split.labels.num_classes)
    model.to(compute.device, memory_format=compute.memory_format)  # type: ignore[call-overload]
    trained = _trained_params(params)
    weighted, class_weights = with_class_weights(params.model, prepared)
    card = {
        "params": trained,  # the others are not train's: DVC would not see that they are in its output
        "labels": split.labels.to_dict(),
        "preprocessing": {"mean": list(params.model.mean), "std": list(params.model.std), "scale": 255},
        "receipt": receipt(
            params=trained,
            prepared=prepared,
            lock=Path("requirements.lock"),
            compute=compute,
            threads=train.threads,
            compiled=device.resolve_compile(train.compile, compute.device.type),
        )
        | ({"class_weights": class_weights} if class_weights else {})
        | encoder_weights(params.model),
    }
    return Job(
        model=model,
        optimizer=optimizer(params.optimizer, model),
        loop=_loop(params.model_copy(update={"model": weighted}), prepared, split, compute),
        card=card,
    )


def _network(params: ModelParams, num_classes: int) -> SegmentorBase:
    """Build the network; syncbn over several processes holds for the batch norms of a library's encoder too."""
    model = segmentor(params, num_classes=num_classes)
    kept = synchronise(model) if params.norm.name == "syncbn" and world.size() > 1 else 0
    batch_norm.quicken(model)
    depthwise.quicken(model)
    if kept:
        log.warning("train: %d batch norms of the encoder keep the statistics of their own process", kept)
    return model


def describe(params: Params, job: Job) -> str:
    """Return one line on what is about to be trained, and which knobs have no effect."""
    compute = job.loop.compute
    count = sum(parameter.numel() for parameter in job.model.parameters())
    unread = ", ".join(optimizers.unread_knobs(params.optimizer.name))
    return (
        f"{count:,} parameters, {len(job.loop.batches.split)} images, {compute.device.type} {compute.precision}; "
        f"{params.optimizer.name} does not read {unread}"
    )


def batches(params: Params, split: PreparedSplit) -> TrainBatches:
    """Build the training batches by iteration.

    Raises:
        DataError: The crop is larger than every image.
        ParamsError: As ``maskline.build_augment.augmentation``.
    """
    size, model = params.train.batch_size, params.model
    made = augmentation(params.augment, split.labels, batch_size=size, mean=model.mean, std=model.std)
    check_crop(split, made)
    return TrainBatches(split, made, seed=params.train.seed, batch_size=params.train.batch_size)


def run_length(params: Params, split: PreparedSplit) -> int:
    """Return the iterations of the run."""
    train = params.train
    return train.iterations if train.epochs is None else to_iterations(train.epochs, _epoch_iterations(params, split))


def run_schedule(params: Params, split: PreparedSplit) -> Schedule:
    """Build the run's learning rate schedule.

    Raises:
        ParamsError: As ``maskline.build_optim.schedule``.
    """
    epoch = _epoch_iterations(params, split)
    return schedule(params.schedule, iterations=run_length(params, split), epoch_iterations=epoch)


def _epoch_iterations(params: Params, split: PreparedSplit) -> float:
    return len(split) / (params.train.batch_size * params.train.accumulate)


def check_channels(params: ModelParams, split: PreparedSplit) -> None:
    """Check that the network takes what the prepared data has.

    Raises:
        ParamsError: It does not.
    """
    if params.in_channels != split.channels:
        raise ParamsError(
            "params.yaml: model.in_channels",
            f"{params.in_channels}, but the prepared images have {split.channels} channels",
            f"set it to {split.channels}, and give mean and std as many values",
        )


def load_segmentor(folder: Path) -> SegmentorBase:
    """Load a trained model folder in eval mode, float32, on the CPU; takes normalised NCHW images.

    Raises:
        CheckpointError: The folder is not whole, or its weights do not fit its params.
    """
    card = checkpoint.read_card(folder)
    labels = LabelSet.from_dict(card["labels"], place=folder / checkpoint.CARD_FILE)
    try:
        params = validate_model(card["params"]["model"], place=folder / checkpoint.CARD_FILE)
    except ParamsError as error:
        raise CheckpointError(error.place, error.problem, "the model is of another version; train again") from error
    # The file's own weights follow: neither a download nor the weights it once started from are needed.
    model = segmentor(without_start_weights(params), num_classes=labels.num_classes)
    weights = checkpoint.read_weights(folder, expected_sha256=card["receipt"].get("weights_sha256"))
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(
            folder / checkpoint.WEIGHTS_FILE, f"not of the network that model.json describes ({error})", "train again"
        ) from error
    return model.eval()


def predictor(params: EvaluateParams, folder: Path) -> Predictor:
    """Build the use of a trained model folder on pictures.

    Raises:
        CheckpointError: As ``load_segmentor``.
        ParamsError: A device that is not there.
    """
    preprocessing = checkpoint.read_card(folder)["preprocessing"]
    kind, model = device.resolve_kind(params.device, place="evaluate.device"), load_segmentor(folder)
    return Predictor(
        model=(fold_norms(model) if params.precision == "bf16" else model).to(kind),
        mean=tuple(preprocessing["mean"]),
        std=tuple(preprocessing["std"]),
        mode=params.inference,
        window=params.window,
        stride=params.stride,
        batch_size=params.batch_size,
        weighting=params.window_weights,
        average=params.average,
        precision=params.precision,
    )


def inference(params: EvaluateParams, folder: Path) -> Inference:
    """Build the use of a trained model with all that follows the network; what is to be tuned is left as it stands.

    Raises:
        CheckpointError: As ``load_segmentor``.
        ParamsError: A step whose package is not installed.
    """
    return Inference(
        predictor=predictor(params, folder),
        views=Views(scales=params.tta.scales, flips=params.tta.flips),
        crf=_crf(params.crf) if params.crf.enabled else None,
        threshold=params.threshold if isinstance(params.threshold, float) else None,
        min_component_px=params.min_component_px,
        max_hole_px=params.max_hole_px,
    )


def _crf(params: CrfParams) -> Crf:
    values = params.model_dump(exclude={"enabled", "method", "tune", "radius"})
    return DenseCrf(**values, radius=params.radius) if params.method == "window" else FullCrf(**values)


def _loop(params: Params, prepared: Path, split: PreparedSplit, compute: device.Compute) -> Loop:
    train = params.train
    shared = batches(params, split).share(rank=world.rank(), size=world.size())
    if train.cache == "device":
        shared.reside(compute.device)
    return Loop(
        batches=shared,
        validation=PreparedSplit.find(prepared, "val", cache=train.cache),
        criteria=criteria(params.model),
        schedule=run_schedule(params, split),
        compute=compute,
        iterations=run_length(params, split),
        val_every=train.val_every,
        preview_every=train.preview_every,
        preview_samples=train.preview_samples,
        log_every=train.log_every,
        journal_every=train.journal_every,
        best_metric=train.best_metric,
        clip_norm=params.optimizer.clip_norm,
        workers=train.workers,
        accumulate=train.accumulate,
        early_stop=train.early_stop,
        ema_decay=train.ema_decay,
        compiled=device.resolve_compile(train.compile, compute.device.type),
    )


def _trained_params(params: Params) -> dict[str, Any]:
    """Return the settings that the train stage depends on, as plain types."""
    return {
        "augment": params.augment.model_dump(mode="json", exclude={"preview_samples"}),
        "model": params.model.model_dump(mode="json"),
        "optimizer": params.optimizer.model_dump(mode="json"),
        "schedule": params.schedule.model_dump(mode="json"),
        "train": params.train.model_dump(mode="json"),
    }
