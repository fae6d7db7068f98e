"""The training augmentation and its batches from the params."""

import difflib
from dataclasses import fields

from maskline.augment.color_jitter import ColorJitter
from maskline.augment.deform import Deform
from maskline.augment.loader import TrainBatches, check_crop
from maskline.augment.mixing import Mixing
from maskline.augment.pipeline import Augmentation
from maskline.augment.pixel_ops import PixelOps
from maskline.augment.resize import Resize
from maskline.augment.soft_labels import SoftLabels
from maskline.builders.extra import extra_transforms
from maskline.core.errors import ParamsError
from maskline.data.dataset import PreparedSplit
from maskline.data.labels import LabelSet
from maskline.params.augment import AugmentParams
from maskline.params.input import InputParams
from maskline.params.train import TrainParams


def build_batches(
    split: PreparedSplit,
    *,
    augment: AugmentParams,
    look: InputParams,
    train: TrainParams,
    soft: SoftLabels | None = None,
) -> TrainBatches:
    """Build the training batches by iteration; training, the preview and the replay use the same.

    Args:
        split: Images and masks.
        augment: What is done to them.
        look: What the network's input looks like.
        train: Seed and batch size.
        soft: Soft labels of the images, for training; no pixel of an image or mask depends on them.

    Raises:
        DataError: The crop is larger than every image.
        ParamsError: As ``augmentation``.
    """
    mean, std = normalization(look, split)
    pipeline = augmentation(augment, split.labels, batch_size=train.batch_size, mean=mean, std=std)
    check_crop(split, pipeline)
    return TrainBatches(split, pipeline, seed=train.seed, batch_size=train.batch_size, soft=soft)


def normalization(look: InputParams, split: PreparedSplit) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return what is subtracted from each channel and what divides it, with the train split's numbers for auto.

    Raises:
        DataError: auto, and convert has written no numbers.
        ParamsError: auto, and a channel has one value everywhere.
    """
    if "auto" not in (look.mean, look.std):
        return look.numbers()
    known = split.statistics()
    if look.std == "auto" and min(known.std) == 0:
        problem = f"auto, but channel {known.std.index(0)} has one value in all train images"
        raise ParamsError("params.yaml: model.std", problem, "leave it out of data.channels, or give numbers")
    mean, std = (known.mean if look.mean == "auto" else look.mean), (known.std if look.std == "auto" else look.std)
    return InputParams(in_channels=split.channels, mean=mean, std=std).numbers()


def augmentation(
    params: AugmentParams, labels: LabelSet, *, batch_size: int, mean: tuple[float, ...], std: tuple[float, ...]
) -> Augmentation:
    """Build the training augmentation.

    Args:
        params: The section.
        labels: The classes.
        batch_size: Samples that can lend each other pixels.
        mean: Gray levels of 255, one a channel.
        std: Likewise.

    Raises:
        ParamsError: A class that is none; samples that lend, in batches of one; colors where there are none; a row
            of ``extra`` that cannot be used.
    """
    _check_channels(params, channels=len(mean))
    return Augmentation(
        crop_size=params.crop_size,
        resize=Resize(
            ratio_range=params.ratio_range,
            scale=params.scale,
            keep_ratio=params.keep_ratio,
            shorter_sides=params.shorter_sides,
            longer_side=params.longer_side,
        ),
        cat_max_ratio=params.cat_max_ratio,
        class_crop=params.class_crop,
        rotate_degrees=params.rotate_degrees,
        flip_horizontal=params.flip_horizontal,
        flip_vertical=params.flip_vertical,
        deform=_deform(params),
        photometric_prob=params.photometric.prob,
        brightness=params.photometric.brightness,
        contrast=params.photometric.contrast,
        saturation=params.photometric.saturation,
        hue_degrees=params.photometric.hue_degrees,
        color_jitter=_color_jitter(params),
        blur_prob=params.blur.prob,
        blur_sigma=params.blur.sigma,
        noise_prob=params.noise.prob,
        noise_std=params.noise.std,
        pixel_ops=_pixel_ops(params, channels=len(mean)),
        mixing=_mixing(params, labels, batch_size=batch_size),
        fill=mean if params.fill is None else tuple(map(float, params.fill)),
        within_valid=params.within_valid,
        ignore_index=labels.ignore_index,
        mean=mean,
        std=std,
        extra=extra_transforms(params.extra, channels=len(mean), crop_size=params.crop_size),
    )


def _check_channels(params: AugmentParams, *, channels: int) -> None:
    """Refuse what works on red, green and blue where images have other channels."""
    colorful = {
        "photometric.mode": params.photometric.mode != "matrix",
        "clahe": params.clahe.prob > 0,
        "grayscale": params.grayscale.prob > 0,
        "channel_dropout": params.channel_dropout.prob > 0,
        "fill": params.fill is not None,
    }
    used = [key for key, is_on in colorful.items() if is_on]
    if channels != 3 and used:
        raise ParamsError(
            f"params.yaml: augment.{used[0]}",
            f"works on red, green and blue, and model.in_channels is {channels}",
            "switch it off (prob 0; photometric.mode matrix; fill null)",
        )


def _deform(params: AugmentParams) -> Deform | None:
    probs = (params.affine.prob, params.perspective.prob, params.elastic.prob)
    if not any(probs) and params.rotate_prob == 1:
        return None
    return Deform(
        rotate_prob=params.rotate_prob,
        affine_prob=params.affine.prob,
        shear_degrees=params.affine.shear_degrees,
        translate=params.affine.translate,
        perspective_prob=params.perspective.prob,
        tilt=params.perspective.tilt,
        elastic_prob=params.elastic.prob,
        magnitude_px=params.elastic.magnitude_px,
        spacing_px=params.elastic.spacing_px,
    )


def _color_jitter(params: AugmentParams) -> ColorJitter | None:
    photometric = params.photometric
    if photometric.mode == "matrix":
        return None
    return ColorJitter(
        mode=photometric.mode,
        prob=photometric.prob,
        brightness=photometric.brightness,
        contrast=photometric.contrast,
        saturation=photometric.saturation,
        hue_degrees=photometric.hue_degrees,
    )


def _pixel_ops(params: AugmentParams, *, channels: int) -> PixelOps | None:
    """Return the operations that ``PixelOps`` has a probability of; each has the section of its name."""
    names = [field.name.removesuffix("_prob") for field in fields(PixelOps) if field.name.endswith("_prob")]
    sections = {name: getattr(params, name).model_dump() for name in names}
    if not any(section["prob"] for section in sections.values()):
        return None
    values = {f"{name}_{key}": value for name, section in sections.items() for key, value in section.items()}
    return PixelOps(channels=channels, **values)


def _mixing(params: AugmentParams, labels: LabelSet, *, batch_size: int) -> Mixing | None:
    classes = tuple(_class_id(name, labels) for name in params.copy_paste.classes)
    if not params.mixes:
        return None
    if batch_size < 2:
        raise ParamsError(
            "params.yaml: augment",
            f"copy_paste, cutmix and mixup take from other samples, and train.batch_size is {batch_size}",
            "raise train.batch_size, or set their prob to 0",
        )
    return Mixing(
        batch_size=batch_size,
        copy_paste_prob=params.copy_paste.prob,
        classes=classes or tuple(range(1, labels.num_classes)),
        cutmix_prob=params.cutmix.prob,
        cutmix_alpha=params.cutmix.alpha,
        mixup_prob=params.mixup.prob,
        mixup_alpha=params.mixup.alpha,
    )


def _class_id(name: str, labels: LabelSet) -> int:
    for names in (labels.class_names, labels.keys):
        if name in names:
            return list(names).index(name)
    near = difflib.get_close_matches(name, labels.class_names, n=1, cutoff=0.5)
    raise ParamsError(
        "params.yaml: augment.copy_paste.classes",
        f"{name!r} is no class of this data set",
        f"did you mean {near[0]}?" if near else f"choose from {', '.join(labels.class_names)}",
    )
