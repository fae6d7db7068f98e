"""Rows of ``augment.extra``: transforms of kornia.augmentation by the names of their classes."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field, model_validator

from maskline.params.base.types import Fraction, Section

_MIX = "it mixes samples"
_CONTAINER = "it is a container of transforms"
_POLICY = "it is a policy that draws other transforms"
_BASE = "it is a base class"
_VOLUME = "it is for volumes"
_OWN_ROWS = "give each of its transforms a row of its own"
_REFUSED = {
    "RandomCutMixV2": (_MIX, "use augment.cutmix"),
    "RandomMixUpV2": (_MIX, "use augment.mixup"),
    "RandomTransplantation": (_MIX, "use augment.copy_paste"),
    "RandomMosaic": (_MIX, "use augment.cutmix"),
    "PatchMix": (_MIX, "use augment.cutmix"),
    "RandomJigsaw": ("it cuts the image into pieces, and its masks stay whole", "use augment.elastic"),
    "RandomDissolving": (
        "it downloads a diffusion model and draws while it is applied",
        "use RandomGaussianNoise or RandomPlasmaBrightness",
    ),
    "Normalize": ("images are normalized after all rows", "set model.mean and model.std"),
    "Denormalize": ("images are normalized after all rows", "set model.mean and model.std"),
    "AutoAugment": (_POLICY, _OWN_ROWS),
    "RandAugment": (_POLICY, _OWN_ROWS),
    "TrivialAugment": (_POLICY, _OWN_ROWS),
    "AugmentationSequential": (_CONTAINER, _OWN_ROWS),
    "ImageSequential": (_CONTAINER, _OWN_ROWS),
    "PatchSequential": (_CONTAINER, _OWN_ROWS),
    "VideoSequential": (_CONTAINER, _OWN_ROWS),
    "ManyToManyAugmentationDispather": (_CONTAINER, _OWN_ROWS),
    "ManyToOneAugmentationDispather": (_CONTAINER, _OWN_ROWS),
}
_BATCHWISE = ("each sample is drawn by itself", "leave it out")
_REFUSED_KEYS = {
    "same_on_batch": _BATCHWISE,
    "p_batch": _BATCHWISE,
    "keepdim": ("what comes in is a batch", "leave it out"),
    "fill": ("what comes in from outside has one color in all operations", "set augment.fill"),
    "fill_value": ("what comes in from outside has one color in all operations", "set augment.fill"),
    "pad_value": ("what comes in from outside has one color in all operations", "set augment.fill"),
}
_FILLS_INSIDE = "RandomChannelDropout"  # its fill_value is that of the channel


class ExtraParams(Section):
    """A transform of kornia.augmentation, with the keywords of its class; the others are checked where it is made."""

    model_config = ConfigDict(extra="allow")

    name: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9]*$")] = Field(
        description="Class in kornia.augmentation, such as `RandomPlanckianJitter`; all other keys are its keywords."
    )
    p: Fraction | None = Field(default=None, description="Probability, of each sample; nothing: as the class has it.")

    @model_validator(mode="after")
    def _check(self) -> "ExtraParams":
        reason = _REFUSED.get(self.name)
        if reason is None and self.name.endswith("3D"):
            reason = _VOLUME, f"use {self.name.removesuffix('3D')}, if there is one"
        if reason is None and ("Base2D" in self.name or self.name.startswith("MixAugmentationBase")):
            reason = _BASE, "name a transform"
        if reason is not None:
            raise ValueError(f"{self.name} cannot be a row of augment.extra: {reason[0]}; {reason[1]}")
        for key in self.keywords:
            if key in _REFUSED_KEYS and not (key == "fill_value" and self.name == _FILLS_INSIDE):
                problem, remedy = _REFUSED_KEYS[key]
                raise ValueError(f"{self.name} gets no {key}: {problem}; {remedy}")
        return self

    @property
    def keywords(self) -> dict[str, Any]:
        """What the class is called with, as plain YAML types."""
        given = {} if self.p is None else {"p": self.p}
        return {**(self.__pydantic_extra__ or {}), **given}
