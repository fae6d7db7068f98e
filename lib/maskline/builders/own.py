"""Parts of the user's own code: loaded, and held to what is asked of such a part before they are called."""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar, cast

from torch import nn

from maskline.core import own_code
from maskline.core.errors import ParamsError

M = TypeVar("M", bound=nn.Module)

_PLACE = "params.yaml"


def own_module(text: str, kind: Callable[..., M], *, options: Mapping[str, Any], **given: Any) -> M:
    """Make what a class of the user's own makes.

    Args:
        text: ``path/to/file.py:Name``.
        kind: What the class must be.
        options: The user's keywords.
        given: Keywords that every such class gets.

    Raises:
        ParamsError: It cannot be loaded, is no such class, or does not take these keywords.
    """
    own_class = own_code.load(text, place=_PLACE)
    assert isinstance(kind, type)
    if not (isinstance(own_class, type) and issubclass(own_class, kind)):
        raise ParamsError(
            f"{_PLACE}: {text}", f"no {kind.__name__}", f"derive it from {kind.__module__}.{kind.__name__}"
        )
    if missing := sorted(getattr(own_class, "__abstractmethods__", ())):
        raise ParamsError(f"{_PLACE}: {text}", f"lacks {', '.join(missing)}", f"define it, as {kind.__name__} says")
    _check_call(own_class, text, options, **given)
    return cast(M, own_class(**given, **options))


def own_function(text: str, *arguments: str, options: Mapping[str, Any]) -> Callable[..., Any]:
    """Return a function of the user's own with its options.

    Args:
        text: ``path/to/file.py:name``.
        arguments: What it is called with, by position.
        options: The user's keywords.

    Raises:
        ParamsError: It cannot be loaded, is no function, or does not take these arguments.
    """
    function = own_code.load(text, place=_PLACE)
    if isinstance(function, type) or not callable(function):
        raise ParamsError(f"{_PLACE}: {text}", "no function", f"define a function of {', '.join(arguments)}")
    _check_call(function, text, options, *arguments)
    return partial(function, **options)


def _check_call(function: Callable[..., Any], text: str, options: Mapping[str, Any], *args: Any, **given: Any) -> None:
    """Refuse a call that Python would refuse."""
    if twice := sorted(given.keys() & options.keys()):
        raise ParamsError(f"{_PLACE}: {text}", f"{twice[0]} is given anyway", f"take {twice[0]} out of options")
    try:
        inspect.signature(function).bind(*args, **given, **options)
    except TypeError as error:
        takes = ", ".join([*args, *given]) + " and what options has"
        raise ParamsError(f"{_PLACE}: {text}", f"does not take its keywords ({error})", f"it gets {takes}") from error
