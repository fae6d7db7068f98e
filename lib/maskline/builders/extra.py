"""Rows of ``augment.extra`` as transforms of kornia.augmentation, each tried once before any work."""

import difflib
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import kornia.augmentation
import torch
from kornia.augmentation import AugmentationBase2D

from maskline.augment.extra import Transform
from maskline.core.errors import ParamsError
from maskline.params.extra import ExtraParams
from maskline.runtime.torch_seeds import torch_generator

T = TypeVar("T")

# By kornia's documentation they work on red, green and blue; not all of them complain of other channels.
_OF_COLORS = frozenset(
    {
        "ColorJiggle",
        "ColorJitter",
        "RandomGrayscale",
        "RandomHue",
        "RandomJPEG",
        "RandomPlanckianJitter",
        "RandomRGBShift",
        "RandomSaturation",
        "RandomSnow",
    }
)


def extra_transforms(
    rows: tuple[ExtraParams, ...], *, channels: int, crop_size: tuple[int, int]
) -> tuple[Transform, ...]:
    """Build the transforms of ``augment.extra``.

    Args:
        rows: In their order.
        channels: Of the images.
        crop_size: Height and width of the images.

    Raises:
        ParamsError: No such class or keyword, a value that the class refuses, another size, or images that it cannot
            take.
    """
    return tuple(
        _transform(row, place=f"params.yaml: augment.extra.{number}", channels=channels, crop_size=crop_size)
        for number, row in enumerate(rows)
    )


def _transform(row: ExtraParams, *, place: str, channels: int, crop_size: tuple[int, int]) -> Transform:
    kind = _class(row.name, place)
    if channels != 3 and row.name in _OF_COLORS:
        problem = f"{row.name} works on red, green and blue, and model.in_channels is {channels}"
        raise ParamsError(place, problem, "take the row out")
    module = _tried(lambda: kind(**_keywords(kind, row.keywords, place)), row.name, place)
    transform = _tried(lambda: Transform(row.name, module, channels=channels, crop_size=crop_size), row.name, place)
    _tried(lambda: _try(transform, module, place=place, channels=channels, crop_size=crop_size), row.name, place)
    return transform


def _class(name: str, place: str) -> type[AugmentationBase2D]:
    known = {
        each: value
        for each, value in vars(kornia.augmentation).items()
        if inspect.isclass(value) and issubclass(value, AugmentationBase2D) and "Base2D" not in each
    }
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    raise ParamsError(
        place,
        f"{name!r} is no transform of kornia.augmentation",
        f"did you mean {near[0]}?" if near else "its documentation lists them",
    )


def _keywords(kind: type[AugmentationBase2D], given: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Return what the class is called with: lists as the tuples or tensors that it wants."""
    parameters = dict(list(inspect.signature(kind.__init__).parameters.items())[1:])
    for key in given:
        if key not in parameters:
            near = difflib.get_close_matches(key, parameters, n=1, cutoff=0.5)
            raise ParamsError(
                place,
                f"{kind.__name__} has no keyword {key!r}",
                f"did you mean {near[0]}?" if near else f"it has {', '.join(parameters)}",
            )
    missing = [
        key for key, value in parameters.items() if value.default is inspect.Parameter.empty and key not in given
    ]
    if missing:
        raise ParamsError(place, f"{kind.__name__} needs {missing[0]}", f"give the row a {missing[0]}")
    return {key: _value(value, parameters[key].annotation) for key, value in given.items()}


def _value(value: Any, annotation: Any) -> Any:
    if not isinstance(value, list):
        return value
    if annotation is torch.Tensor:
        return torch.tensor(value)
    return tuple(_value(each, None) for each in value)


def _try(
    transform: Transform, module: AugmentationBase2D, *, place: str, channels: int, crop_size: tuple[int, int]
) -> None:
    """Draw for one sample and apply it to one image, so that what cannot work is told before any work."""
    before = torch.get_rng_state()
    image = 255 * torch.rand(1, channels, *crop_size, generator=torch_generator(0, "trial of a transform"))
    drawn = transform.draw(0)
    always = type(drawn)(name=drawn.name, seed=drawn.seed, happens=True, params=drawn.params)
    size = tuple(module(image[:, :channels] / 255, params=transform.params(always)).shape[2:])
    if size != crop_size:
        raise ParamsError(
            place,
            f"{transform.name} makes {size[0]}x{size[1]} of a crop of {crop_size[0]}x{crop_size[1]}",
            "give it a size equal to augment.crop_size, or take the row out",
        )
    transform.apply(image, [(torch.zeros(1, *crop_size, dtype=torch.int64), 255)], [always], fill=torch.zeros(channels))
    if not torch.equal(before, torch.get_rng_state()):
        torch.set_rng_state(before)
        problem = f"{transform.name} draws in a way that cannot be repeated for one sample"
        raise ParamsError(place, problem, "take the row out")


def _tried(make: Callable[[], T], name: str, place: str) -> T:
    try:
        return make()
    except ParamsError:
        raise
    except Exception as error:  # kornia's own checks raise errors of many kinds
        message = str(error).strip().splitlines()
        problem = f"{name} cannot be used ({message[0] if message else type(error).__name__})"
        raise ParamsError(place, problem, "see the class in kornia.augmentation") from error
