"""A training run from its params."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from maskline.augment.soft_labels import SecondAnnotator, SoftFolder, SoftLabels
from maskline.builders.augment import build_batches, normalization
from maskline.builders.backbone import encoder_origin, encoder_weights
from maskline.builders.class_weights import with_class_weights
from maskline.builders.losses import criteria
from maskline.builders.model import segmentor
from maskline.builders.optim import optimizer, schedule, to_iterations
from maskline.cli.guard import check_listed
from maskline.core import own_code
from maskline.core.errors import DataError, ParamsError
from maskline.core.state_folder import user_path
from maskline.data.dataset import PreparedSplit
from maskline.engine.live import open_live
from maskline.engine.receipt import receipt
from maskline.engine.run import Job
from maskline.engine.train import Loop
from maskline.losses.composite import CompositeLoss
from maskline.models.segmentor import SegmentorBase
from maskline.models.sync_norm import synchronize
from maskline.optim.schedules import Schedule
from maskline.params.network.model import ModelParams
from maskline.params.stages.train import TrainStage
from maskline.params.train import SECOND_ANNOTATOR, TrainParams
from maskline.runtime import checkpoint, device
from maskline.runtime.patches import batch_norm, depthwise, memory
from maskline.runtime.processes import distributed
from maskline.runtime.torch_seeds import seed_torch

log = logging.getLogger("maskline")

_LISTED = ("augment", "model", "optimizer", "schedule", "train")


def build_training(params: TrainStage, prepared: Path) -> Job:
    """Build a training run over prepared data.

    Raises:
        MasklineError: A part of the params cannot be built, or the data is not there.
    """
    train, own = params.train, params.model.own_code()
    check_listed(own)
    memory.tune(enabled=params.machine.tuned_memory, huge_pages=False)
    compute = device.resolve(device=train.device, precision=train.precision, channels_last=train.channels_last)
    device.set_deterministic(train.threads, enabled=train.deterministic or compute.device.type == "cpu")
    split = PreparedSplit.open(prepared, "train", cache=params.machine.kept)
    check_channels(params.model, split)
    mean, std = normalization(params.model, split)
    seed_torch(train.seed, "weights")
    model = _network(params.model, split.labels.num_classes, fast_layers=train.fast_layers)
    for head in model.heads().values():
        head.begin(batches=run_length(params, split) * train.accumulate)
    model.to(compute.device, memory_format=compute.memory_format)  # type: ignore[call-overload]
    weighted, class_weights = with_class_weights(params.model, prepared)
    loop = _loop(params.model_copy(update={"model": weighted}), prepared, split, compute)
    optimizer_ = optimizer(params.optimizer, model)
    trained = _trained_params(params)
    card = {  # last: the receipt has the hash of the code that all parts have loaded
        "params": trained,  # the others are not train's: DVC would not see that they are in its output
        "labels": split.labels.to_dict(),
        "preprocessing": {"mean": list(mean), "std": list(std), "scale": 255},
        **({} if split.rule is None else {"reading": split.rule.to_dict()}),
        **_origin(params.model),
        "receipt": receipt(
            params=trained,
            prepared=prepared,
            lock=Path("requirements.lock"),
            compute=compute,
            threads=train.threads,
            compiled=device.resolve_compile(train.compile, compute.device.type),
            own_code=own_code.hashes(own.values(), place="params.yaml"),
        )
        | ({"class_weights": class_weights} if class_weights else {})
        | _soft_receipt(loop.batches.soft)
        | encoder_weights(params.model),
    }
    return Job(model=model, optimizer=optimizer_, loop=loop, card=card)


def _soft_receipt(soft: SoftLabels | None) -> dict[str, Any]:
    """Return what the receipt says of soft labels in a folder; those of the prepared data stand in its manifest."""
    return {"soft_labels_sha256": soft.list_sha256} if isinstance(soft, SoftFolder) else {}


def _origin(params: ModelParams) -> dict[str, Any]:
    """Return where the weights come from that training starts with, and their licence, as far as their card tells."""
    if params.weights is None:
        origin = encoder_origin(params)
        if origin is not None:
            log.info("train: starts from %s; its licence: %s", origin["name"], origin["licence"])
    elif (Path(params.weights) / checkpoint.CARD_FILE).is_file():
        origin = checkpoint.read_card(Path(params.weights)).get("origin")
    else:
        origin = None
    return {} if origin is None else {"origin": origin}


def _network(params: ModelParams, num_classes: int, *, fast_layers: bool) -> SegmentorBase:
    """Build the network; syncbn over several processes holds for the batch norms of a library's encoder too."""
    model = segmentor(params, num_classes=num_classes)
    kept = synchronize(model) if params.norm.name == "syncbn" and distributed.size() > 1 else 0
    if fast_layers:
        batch_norm.quicken(model)
        depthwise.quicken(model)
    if kept:
        log.warning("train: %d batch norms of the encoder keep the statistics of their own process", kept)
    return model


def describe_training(job: Job) -> str:
    """Return one line on what is about to be trained."""
    compute = job.loop.compute
    count = sum(parameter.numel() for parameter in job.model.parameters())
    return f"{count:,} parameters, {len(job.loop.batches.split)} images, {compute.device.type} {compute.precision}"


def run_length(params: TrainStage, split: PreparedSplit) -> int:
    """Return the iterations of the run."""
    train = params.train
    return train.iterations if train.epochs is None else to_iterations(train.epochs, _epoch_iterations(params, split))


def run_schedule(params: TrainStage, split: PreparedSplit) -> Schedule:
    """Build the run's learning rate schedule.

    Raises:
        ParamsError: As ``maskline.builders.optim.schedule``.
    """
    epoch = _epoch_iterations(params, split)
    return schedule(params.schedule, iterations=run_length(params, split), epoch_iterations=epoch)


def _epoch_iterations(params: TrainStage, split: PreparedSplit) -> float:
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
            f"set it to {split.channels}, and give mean and std as many values, or auto",
        )


def _loop(params: TrainStage, prepared: Path, split: PreparedSplit, compute: device.Compute) -> Loop:
    train, losses, length = params.train, criteria(params.model), run_length(params, split)
    soft = _soft_labels(train, split, losses, keeps=params.machine.kept in ("ram", "device"))
    shared = build_batches(split, augment=params.augment, look=params.model, train=train, soft=soft).share(
        rank=distributed.rank(), size=distributed.size()
    )
    cache = params.machine.cache
    if cache == "device" or (cache == "auto" and shared.fits(compute.device)):
        shared.reside(compute.device)
    return Loop(
        batches=shared,
        validation=PreparedSplit.find(prepared, "val", cache=params.machine.kept),
        criteria=losses,
        schedule=run_schedule(params, split),
        compute=compute,
        iterations=length,
        val_every=train.val_every,
        preview_every=train.preview_every,
        preview_samples=train.preview_samples,
        log_every=train.log_every,
        journal_every=params.machine.journal_every,
        best_metric=train.best_metric,
        clip_norm=params.optimizer.clip_norm,
        workers=0 if shared.is_resident else params.machine.workers,
        accumulate=train.accumulate,
        early_stop=train.early_stop,
        ema_decay=train.ema_decay,
        ema_ramp=train.ema_ramp,
        compiled=device.resolve_compile(train.compile, compute.device.type),
        deferred=compute.device.type != "cpu",
        live=None if distributed.rank() else open_live(params.machine.log_to, params=_trained_params(params)),
        graph=device.resolve_graph(train.graph, compute.device.type, own_code=bool(params.model.own_code())),
        soft_weight=train.soft_weight,
        test_scale=params.model.test_scale,
        swa_first=0 if train.swa_from is None else max(round(train.swa_from * length), 1),
        swa_every=train.swa_every,
        swa_batches=train.swa_batches,
    )


def _soft_labels(
    params: TrainParams, split: PreparedSplit, losses: Mapping[str, nn.Module], *, keeps: bool
) -> SoftLabels | None:
    """Return the soft labels of the train split; None: training learns from the masks alone.

    Raises:
        DataError: They are not there, or about none of the images.
        ParamsError: A loss takes none.
    """
    if params.soft_labels is None:
        return None
    for head, loss in losses.items():
        hard = loss.hard_only() if isinstance(loss, CompositeLoss) else [type(loss).__name__]
        if hard:
            problem = f"{params.soft_labels}, but {hard[0]}, a loss of {head}, takes no soft labels"
            remedy = "choose cross_entropy, dice, jaccard, tversky or focal_tversky, or take soft_labels out"
            raise ParamsError("params.yaml: train.soft_labels", problem, remedy)
    if params.soft_labels == SECOND_ANNOTATOR:
        soft: SoftLabels = SecondAnnotator(split.labels)
        count, remedy = split.second_annotators, "take it out, or choose a set with a second annotator"
    else:
        soft = SoftFolder.open(user_path(params.soft_labels), split.labels, keeps=keeps)
        count, remedy = len(soft.files.keys() & set(split.ids)), "make them of this set (maskline folds --soft-labels)"
    if not count:
        raise DataError("train.soft_labels", f"{params.soft_labels} has none of the {len(split)} train images", remedy)
    log.info("train: %d of %d train images have soft labels, of weight %g", count, len(split), params.soft_weight)
    return soft


def _trained_params(params: TrainStage) -> dict[str, Any]:
    """Return the sections that the train stage lists in dvc.yaml, every key of them, as plain types."""
    return {name: getattr(params, name).model_dump(mode="json") for name in _LISTED}
