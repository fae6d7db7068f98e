"""The trained model as a folder: model.safetensors and model.json."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

import safetensors
import torch
from pydantic import BaseModel, Field, FiniteFloat, ValidationError, model_validator
from safetensors.torch import load_file, save
from torch import Tensor

from maskline.core.errors import CheckpointError
from maskline.core.files import replace_folder, sha256_file, write_json, write_text

FORMAT = 1
WEIGHTS_FILE = "model.safetensors"
LAST_FILE = "last.safetensors"
CARD_FILE = "model.json"
TRACE_FILE = "trace.csv"
_FILES = (WEIGHTS_FILE, LAST_FILE, CARD_FILE, TRACE_FILE)

MOST_TENSORS = 50_000
"""In a file of another project; each of them is matched with those of a network."""

MOST_MEMBERS = 1000
"""Networks in one folder; each of them is checked before any is built."""

_FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
_WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
_TOLD = 200  # characters of what a parser complains of
# Names of tensors that an error tells of each kind.
_NAMED = 3


class _Preprocessing(BaseModel):
    mean: tuple[FiniteFloat, ...] = ()
    std: tuple[Annotated[FiniteFloat, Field(gt=0)], ...] = ()

    @model_validator(mode="after")
    def _alike(self) -> Self:
        if len(self.mean) != len(self.std):
            raise ValueError(f"{len(self.mean)} numbers for mean, {len(self.std)} for std")
        return self


class _Params(BaseModel):
    model: dict[str, Any] = {}
    evaluate: dict[str, Any] | None = None


class _Receipt(BaseModel):
    weights_sha256: str
    own_code: dict[str, str] = {}


class _Card(BaseModel):
    """The form of what is there; what a network needs is checked where one is made."""

    params: _Params
    labels: dict[str, Any]
    preprocessing: _Preprocessing
    receipt: _Receipt
    members: Annotated[list[dict[str, Any]] | None, Field(min_length=1, max_length=MOST_MEMBERS)] = None


def check_replaceable(folder: Path) -> None:
    """Refuse to write a model where a user's other files are: ``save_model`` replaces the folder as a whole.

    Raises:
        CheckpointError: It is a file, or a folder with anything that is not of a model.
    """
    if folder.is_dir():
        others = sorted({path.name for path in folder.iterdir()} - set(_FILES))
        if others:
            problem = f"holds {others[0]}, which is no part of a model and would be gone"
            raise CheckpointError(folder, problem, "give another folder with -o")
    elif folder.exists():
        raise CheckpointError(folder, "a file", "give a folder with -o")


def save_model(
    folder: Path,
    *,
    weights: Mapping[str, Tensor],
    last: Mapping[str, Tensor] | None,
    card: Mapping[str, Any],
    trace: str | None = None,
) -> None:
    """Write a model folder, whole or not at all; the same content gives the same bytes.

    Args:
        folder: Replaced as a whole.
        weights: Tensors of the chosen weights, contiguous, on the CPU.
        last: Tensors after the last iteration; None: there was no training, and no file.
        card: ``params``, ``labels``, ``preprocessing``, ``receipt``, and ``reading`` where it is known; hash of the
            weights and format are added.
        trace: Text of trace.csv, by which the run can be checked; None: there was no training, and no file.
    """
    with replace_folder(folder) as part:
        # No metadata: safetensors writes more than one entry in an order that changes (its issue 584).
        # Written by Python, so that a full disk is an OSError and not an error of safetensors' own.
        (part / WEIGHTS_FILE).write_bytes(save(dict(weights)))
        if last is not None:
            (part / LAST_FILE).write_bytes(save(dict(last)))
        if trace is not None:
            write_text(part / TRACE_FILE, trace)
        receipt = {**card["receipt"], "weights_sha256": sha256_file(part / WEIGHTS_FILE)}
        write_json(part / CARD_FILE, {"format": FORMAT, **card, "receipt": receipt})


def weights_sha256(weights: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of the file that ``save_model`` makes of these tensors."""
    return hashlib.sha256(save(dict(weights))).hexdigest()


def read_card(folder: Path) -> dict[str, Any]:
    """Read model.json.

    Raises:
        CheckpointError: No such file, no JSON, a format this version does not know, or of another form.
    """
    path = Path(folder) / CARD_FILE
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(path, "no such file", "train first (dvc repro train), or name a model folder") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(path, f"not JSON ({error})", "train again (dvc repro -f train)") from error
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        raise CheckpointError(path, f"not a model card of format {FORMAT}", "train again, or use the version it is of")
    try:
        _Card.model_validate(card)
    except ValidationError as error:
        first = error.errors()[0]
        problem = f"{'.'.join(map(str, first['loc']))}: {first['msg'].lower()}"
        raise CheckpointError(path, problem, "take it as training wrote it, or train again") from error
    return card


def read_weights(folder: Path, *, expected_sha256: str | None = None) -> dict[str, Tensor]:
    """Read model.safetensors.

    Args:
        folder: The model folder.
        expected_sha256: From the receipt; the file is checked against it.

    Raises:
        CheckpointError: No such file, damaged, or not the file of the receipt. What its values are worth says
            ``check_values``, which whoever builds the network calls.
    """
    path = Path(folder) / WEIGHTS_FILE
    try:
        if expected_sha256 is not None and sha256_file(path) != expected_sha256:
            raise CheckpointError(path, "not the weights that model.json describes", "take both from one run")
        return read_tensors(path, remedy="copy it anew, or train again")
    except FileNotFoundError as error:
        raise CheckpointError(path, "no such file", "train first (dvc repro train), or name a model folder") from error


def read_tensors(path: Path, *, remedy: str, most: int | None = None) -> dict[str, Tensor]:
    """Read a .safetensors file of any origin.

    Args:
        path: The file.
        remedy: For errors.
        most: Most tensors, counted before any is read; None: as many as there are.

    Raises:
        CheckpointError: Damaged, or of more tensors.
        FileNotFoundError: No such file.
    """
    try:
        if most is not None:
            with safetensors.safe_open(path, "pt") as file:
                count = len(file.keys())
            if count > most:
                problem = f"{count} tensors, more than any network has ({most})"
                raise CheckpointError(path, problem, "name the file with the network's weights alone")
        return dict(load_file(path))
    except CheckpointError:
        raise
    except (safetensors.SafetensorError, TypeError, ValueError, RuntimeError) as error:  # its sides go to torch as said
        told = (str(error).strip() or type(error).__name__).splitlines()[0][:_TOLD]
        raise CheckpointError(path, f"damaged ({told})", remedy) from error


def check_values(path: Path, weights: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    """Refuse numbers that no training leaves behind: with them a network gives nonsense, and says nothing.

    Args:
        path: The file, for messages.
        weights: By name; what ``own`` does not have is not looked at.
        own: The network's ``state_dict``.

    Raises:
        CheckpointError: A tensor of another type of number, that is not finite, or of negative variances.
    """
    for name in (name for name in own if name in weights):
        problem = _problem(name, weights[name], own[name].dtype)
        if problem:
            remedy = "take another checkpoint of the run, or train again with a lower optimizer.lr"
            raise CheckpointError(path, f"{name} {problem}", remedy)


def _problem(name: str, value: Tensor, dtype: torch.dtype) -> str:
    if value.dtype not in next((kind for kind in (_FLOATS, _WHOLE) if dtype in kind), (dtype,)):
        return f"is of type {str(value.dtype).removeprefix('torch.')}"
    if value.dtype in _FLOATS and not bool(value.to(dtype).isfinite().all()):
        return "is not finite"
    return "has negative variances" if name.endswith("running_var") and bool((value < 0).any()) else ""


def misfit(own: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> str:
    """Return in one short line how weights differ from a network's own tensors: counts, and the first names of each.

    Args:
        own: The network's ``state_dict``.
        weights: By name; what is of the same name and shape as in ``own`` is not told.
    """
    reshaped = [
        f"{name} {_shape(weights[name])} instead of {_shape(own[name])}"
        for name in own
        if name in weights and weights[name].shape != own[name].shape
    ]
    kinds = {
        "missing": [name for name in own if name not in weights],
        "unexpected": [name for name in weights if name not in own],
        "of another shape": reshaped,
    }
    parts = [
        f"{len(names)} {kind}: {', '.join(names[:_NAMED])}{', ...' if len(names) > _NAMED else ''}"
        for kind, names in kinds.items()
        if names
    ]
    return f"of {len(own)} tensors " + "; ".join(parts) if parts else "all tensors fit"


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "one number"
