"""``python -m tools.choose`` writes the tables of docs/choose/backbone.md: size, published score, licence of weights.

What they say stands in the recipes of ``maskline.projects.published`` and in ``maskline.weights.zoo``.
"""

import re
from collections.abc import Callable
from pathlib import Path

import torch

from maskline.builders.model import segmentor, without_start_weights
from maskline.core.files import write_text
from maskline.params.network.model import validate_model
from maskline.projects.published import Published, published
from maskline.weights.zoo import licence

PAGE = Path(__file__).resolve().parent.parent / "docs" / "choose" / "backbone.md"

_CLASSES = {"cityscapes": 19, "ade20k": 150}
_SHOWN = {
    "cityscapes": (
        "cgnet_fcn_4xb8-60k_cityscapes-512x1024",
        "fast_scnn_8xb4-160k_cityscapes-512x1024",
        "erfnet_fcn_4xb4-160k_cityscapes-512x1024",
        "mobilenet-v3-d8_lraspp_4xb4-320k_cityscapes-512x1024",
        "bisenetv2_fcn_4xb8-160k_cityscapes-1024x1024",
        "segformer_mit-b0_8xb1-160k_cityscapes-1024x1024",
        "ddrnet_23-slim_in1k-pre_2xb6-120k_cityscapes-1024x1024",
        "pidnet-s_2xb6-120k_1024x1024-cityscapes",
        "stdc2_in1k-pre_4xb12-80k_cityscapes-512x1024",
        "ddrnet_23_in1k-pre_2xb6-120k_cityscapes-1024x1024",
        "pidnet-l_2xb6-120k_1024x1024-cityscapes",
        "ocrnet_hr18_4xb2-80k_cityscapes-512x1024",
        "deeplabv3plus_r50-d8_4xb2-80k_cityscapes-512x1024",
        "segformer_mit-b2_8xb1-160k_cityscapes-1024x1024",
        "ocrnet_hr48_4xb2-80k_cityscapes-512x1024",
        "segformer_mit-b5_8xb1-160k_cityscapes-1024x1024",
        "mask2former_swin-t_8xb2-90k_cityscapes-512x1024",
        "mask2former_swin-l-in22k-384x384-pre_8xb2-90k_cityscapes-512x1024",
    ),
    "ade20k": (
        "segformer_mit-b0_8xb2-160k_ade20k-512x512",
        "segnext_mscan-t_1xb16-adamw-160k_ade20k-512x512",
        "segmenter_vit-t_mask_8xb1-160k_ade20k-512x512",
        "fpn_poolformer_s12_8xb4-40k_ade20k-512x512",
        "segformer_mit-b2_8xb2-160k_ade20k-512x512",
        "deeplabv3plus_r50-d8_4xb4-160k_ade20k-512x512",
        "segnext_mscan-l_1xb16-adamw-160k_ade20k-512x512",
        "twins_svt-s_uperhead_8xb2-160k_ade20k-512x512",
        "swin-tiny-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512",
        "convnext-tiny_upernet_8xb2-amp-160k_ade20k-512x512",
        "segformer_mit-b5_8xb2-160k_ade20k-512x512",
        "mask2former_swin-t_8xb2-160k_ade20k-512x512",
        "beit-base_upernet_8xb2-160k_ade20k-640x640",
        "mae-base_upernet_8xb2-amp-160k_ade20k-512x512",
        "knet-s3_swin-l_upernet_8xb2-adamw-80k_ade20k-640x640",
        "mask2former_swin-l-in22k-384x384-pre_8xb2-160k_ade20k-640x640",
    ),
}

_SHORT = {
    licence(""): "Apache-2.0",  # the usual one
    licence("segformer"): "NVIDIA's: research and evaluation only",
    licence("segnext"): "commercial use by leave of the authors",
}


def terms(name: str) -> str:
    """Return the licence of the published weights of a recipe, in few words."""
    family = next(one.family for one in published().values() if name in (one.name, one.file))
    return _SHORT[licence(family)]


def row(one: Published, parameters: Callable[[Published], str]) -> str:
    """Return the row of a recipe."""
    score = one.score.split(",")[0].removeprefix("mIoU ")
    return f"| `{one.shown_name}` | {parameters(one)} | {score} | {terms(one.name)} |"


def tables(parameters: Callable[[Published], str]) -> dict[str, str]:
    """Return data set -> its table, best last.

    Args:
        parameters: Tells the size of a recipe's network.
    """
    head = "| recipe | million parameters | mIoU | licence of its published weights |\n| --- | ---: | ---: | --- |"
    return {
        data: "\n".join([head, *(row(published()[name], parameters) for name in sorted(names, key=_score))])
        for data, names in _SHOWN.items()
    }


def _score(name: str) -> str:
    return published()[name].score


def millions(one: Published) -> str:
    """Return the millions of parameters of a recipe's network for the classes of its set, auxiliary heads included."""
    with torch.device("meta"):
        section = without_start_weights(validate_model(one.sections()["model"], place=one.name))
        model = segmentor(section, num_classes=_CLASSES[one.data])
    return f"{sum(parameter.numel() for parameter in model.parameters()) / 1e6:.1f}"


def main() -> None:
    """Write the tables into the page."""
    text = PAGE.read_text(encoding="utf-8")
    for data, table in tables(millions).items():
        text = re.sub(rf"(<!-- {data}: .* -->\n\n)(.|\n)*?(\n\n)", rf"\g<1>{table}\g<3>", text, count=1)
    write_text(PAGE, text)


if __name__ == "__main__":
    main()
