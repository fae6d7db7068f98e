"""Several trained models as one model folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from maskline.builders.inference import load_segmentor, scale_of_images
from maskline.core.errors import CheckpointError
from maskline.models.ensemble import Ensemble, member_name
from maskline.params.base.types import Scale
from maskline.runtime import checkpoint

_ALIKE = ("labels", "preprocessing", "reading")


def write_ensemble(folders: Sequence[Path], output: Path) -> None:
    """Write a model folder with several trained models inside, which every reader of one takes.

    The card is the first model's, with the networks of all under ``members``; ensembles among them give their own.

    Args:
        folders: Trained models, two or more.
        output: Replaced as a whole, where it is a model folder.

    Raises:
        CheckpointError: One cannot be read, or was trained for other classes or images than the first, or sees them at
            another scale.
    """
    if len(folders) < 2:
        raise CheckpointError("ensemble", f"{len(folders)} model", "name two or more")
    checkpoint.check_replaceable(output)
    cards = [checkpoint.read_card(folder) for folder in folders]
    for folder, card in zip(folders[1:], cards[1:], strict=True):
        for key in _ALIKE:
            if card.get(key) != cards[0].get(key):
                problem = f"was trained with other {key} than {folders[0]}"
                raise CheckpointError(folder / checkpoint.CARD_FILE, problem, "name models of one data set")
        if (own := scale_of_images("model", folder)) != (first := scale_of_images("model", folders[0])):
            problem = f"model.test_scale {_sides(own)}, and {folders[0]} has {_sides(first)}"
            remedy = "name models of one scale, or export each and name the .onnx files"
            raise CheckpointError(folder / checkpoint.CARD_FILE, problem, remedy)
    members: list[dict[str, Any]] = []
    weights: dict[str, Tensor] = {}
    for folder, card in zip(folders, cards, strict=True):
        network = load_segmentor(folder)
        networks = list(network.members) if isinstance(network, Ensemble) else [network]
        alone = {**card["params"]["model"], "members": 1}
        for member, section in zip(networks, card.get("members") or [alone] * len(networks), strict=True):
            weights |= {member_name(len(members), name): value for name, value in member.state_dict().items()}
            members.append(section)
    own_code = {file: hashed for card in cards for file, hashed in card["receipt"].get("own_code", {}).items()}
    receipt = {
        "members_sha256": [card["receipt"]["weights_sha256"] for card in cards],
        **({"own_code": own_code} if own_code else {}),
    }
    checkpoint.save_model(output, weights=weights, last=None, card={**cards[0], "members": members, "receipt": receipt})


def _sides(scale: Scale | None) -> str:
    return "null" if scale is None else str(list(scale))
