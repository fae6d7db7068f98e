"""A part of the user's own: named ``path/to/file.py:Name`` where others are named by a word."""

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from maskline.core import own_code
from maskline.params.base.types import Section


def _checked(text: str) -> str:
    if own_code.is_own(text):
        return _checked_own(text)
    return text


def _checked_own(text: str) -> str:
    if problem := own_code.problem_of(text):
        raise ValueError(f"{text!r} is {problem}; give {own_code.FORM}, relative to the project's folder")
    return text


OwnName = Annotated[
    str, AfterValidator(_checked_own), Field(json_schema_extra={"pattern": r"^[^:]+\.py:[A-Za-z_][A-Za-z_0-9]*$"})
]
AnyName = Annotated[str, AfterValidator(_checked)]
Options = dict[str, Any]


class OwnSection(Section):
    """What every part of the user's own has."""

    name: OwnName = Field(description="`path/to/file.py:Name`, relative to the project's folder and inside of it.")
    options: Options = Field(default={}, description="Keywords that it is called with besides those that all have.")
