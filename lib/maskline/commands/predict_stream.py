"""``maskline predict --stream``: pictures that do not fit into memory."""

from collections.abc import Sequence
from pathlib import Path

import torch

from maskline import build, params
from maskline.commands.picture_inputs import Source
from maskline.commands.prediction_folder import STREAMED, PredictionFolder
from maskline.data.png_rows import PngRows
from maskline.data.tiff_rows import TiffRows
from maskline.engine.checkpoint import read_card
from maskline.errors import CheckpointError, DataError, DataProblemsError, ParamsError
from maskline.files import sha256_file
from maskline.inference.predictor import Predictor
from maskline.inference.stream import stream_classes
from maskline.labels import LabelSet


def predict_stream(
    model: Path, sources: Sequence[Source], out: Path, *, kinds: Sequence[str], params_path: Path | None, threads: int
) -> int:
    """Predict what is not done yet, and return how many pictures that were.

    Args:
        model: A folder that training wrote.
        sources: PNG and TIFF files.
        out: Folder of the results.
        kinds: What to write; empty: all that can be written by rows.
        params_path: The params file whose evaluate section has the window.
        threads: CPU threads.

    Raises:
        ParamsError: No params file, or one with steps that need the whole picture.
        CheckpointError: Not a trained model.
        DataError: A kind of result that needs the whole picture.
        DataProblemsError: Pictures that cannot be read by rows, after all others are done.
    """
    section = _section(params_path)
    others = [kind for kind in kinds if kind not in STREAMED]
    if others:
        raise DataError(f"--save {others[0]}", "needs the whole picture in memory", "leave it or --stream out")
    if not (model / "model.json").is_file():
        raise CheckpointError(model, "no trained model", "name a folder with model.json for --stream")
    card = read_card(model)
    labels = LabelSet.from_dict(card["labels"], place=model)
    if labels.num_classes > 256:
        raise CheckpointError(model, f"{labels.num_classes} classes", "--stream writes 256 at most")
    predictor = _predictor(section, model, place=f"{params_path}: evaluate")
    torch.set_num_threads(threads)
    made_by = {
        "weights_sha256": card["receipt"]["weights_sha256"],
        "runtime": "torch, by rows",
        "evaluate": section.model_dump(mode="json"),
    }
    folder = PredictionFolder(out, labels, kinds=kinds or STREAMED, made_by=made_by)
    count, problems = 0, []
    for source in sources:
        sha256 = sha256_file(source.path)
        if folder.is_done(source, sha256):
            continue
        try:
            with _open(source.path) as rows:
                bands = stream_classes(
                    predictor,
                    rows.read,
                    size=rows.size,
                    memory_bytes=section.stream_mib << 20,
                    scratch=out,
                )
                folder.write_rows(source, sha256, rows.size, bands)
            count += 1
        except DataError as error:
            problems.append(error)
    folder.finish()
    if problems:
        raise DataProblemsError("pictures", problems)
    return count


def _predictor(section: params.EvaluateParams, model: Path, *, place: str) -> Predictor:
    inference = build.inference(section, model)
    if inference.has_steps or section.threshold == "tune":
        problem = "tta, crf, threshold and clean-up need the whole picture"
        raise ParamsError(place, problem, "switch them off for --stream")
    return inference.predictor


def _open(path: Path) -> PngRows | TiffRows:
    return TiffRows(path) if path.suffix.lower() in {".tif", ".tiff"} else PngRows(path)


def _section(params_path: Path | None) -> params.EvaluateParams:
    if params_path is None:
        raise ParamsError(
            "--stream", "no window to slide", "name a params file with --params; see its evaluate section"
        )
    return params.load(params_path).evaluate
