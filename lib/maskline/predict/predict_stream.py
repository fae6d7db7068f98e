"""``maskline predict --stream``: images that do not fit into memory."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from maskline.builders.inference import build_inference, scale_of_images
from maskline.core.errors import CheckpointError, DataError, ParamsError
from maskline.core.files import sha256_file
from maskline.data.labels import LabelSet
from maskline.data.reading_rule import ReadingRule
from maskline.inference.predictor import Predictor
from maskline.params.base.reading import load_sections
from maskline.params.base.types import Section
from maskline.params.evaluate import EvaluateParams
from maskline.params.predict import PredictParams
from maskline.predict.image_inputs import ImageProblems, Source
from maskline.predict.model_sources import reading_of
from maskline.predict.png_rows import PngRows
from maskline.predict.prediction_folder import STREAMED, PredictionFolder
from maskline.predict.stream import stream_classes
from maskline.predict.tiff_rows import TiffRows
from maskline.reading.as_trained import bands_as_trained
from maskline.runtime.checkpoint import read_card


class StreamSections(Section):
    """What is read of a params file."""

    evaluate: EvaluateParams = EvaluateParams()
    predict: PredictParams = PredictParams()


def predict_stream(
    model: Path, sources: Sequence[Source], out: Path, *, kinds: Sequence[str], params_path: Path | None, threads: int
) -> int:
    """Predict what is not done yet, and return how many images that were.

    Args:
        model: A folder that training wrote.
        sources: PNG and TIFF files.
        out: Folder of the results.
        kinds: What to write; empty: all that can be written by rows.
        params_path: The params file whose evaluate section has the window.
        threads: CPU threads.

    Raises:
        ParamsError: No params file, or one with steps that need the whole image.
        CheckpointError: Not a trained model.
        DataError: A kind of result that needs the whole image.
        DataProblemsError: Images that cannot be read by rows, after all others are done.
    """
    sections = _sections(params_path)
    section = sections.evaluate
    others = [kind for kind in kinds if kind not in STREAMED]
    if others:
        raise DataError(f"--save {others[0]}", "needs the whole image in memory", "leave it or --stream out")
    if not (model / "model.json").is_file():
        raise CheckpointError(model, "no trained model", "name a folder with model.json for --stream")
    card = read_card(model)
    labels = LabelSet.from_dict(card["labels"], place=model)
    if labels.num_classes > 256:
        raise CheckpointError(model, f"{labels.num_classes} classes", "--stream writes 256 at most")
    predictor = _predictor(section, model, place=f"{params_path}: evaluate")
    rule = reading_of(card, channels=len(predictor.mean), place=model / "model.json")
    torch.set_num_threads(threads)
    made_by = {
        "weights_sha256": card["receipt"]["weights_sha256"],
        "runtime": "torch, by rows",
        "evaluate": section.model_dump(mode="json"),
    }
    folder = PredictionFolder(out, labels, kinds=kinds or STREAMED, made_by=made_by)
    count, problems = 0, ImageProblems()
    for source in sources:
        with problems.of(source):
            str(source.path).encode()  # the table is UTF-8
            sha256 = sha256_file(source.path)
            if folder.is_done(source, sha256):
                continue
            with _open(source.path) as rows:
                _check_by_rows(source.path, rows, rule)
                bands = stream_classes(
                    predictor,
                    partial(_read, rows, rule=rule, place=source.path),
                    size=rows.size,
                    memory_bytes=sections.predict.stream_mib << 20,
                    scratch=out,
                )
                folder.write_rows(source, sha256, rows.size, bands)
            count += 1
    folder.finish()
    problems.check()
    return count


def _predictor(section: EvaluateParams, model: Path, *, place: str) -> Predictor:
    if scale_of_images(section.scale, model) is not None:
        problem = "scale resizes the whole image, which is not in memory"
        raise ParamsError(place, problem, "set it to null for --stream, or leave --stream out")
    inference = build_inference(section, model)
    if inference.has_steps or section.threshold == "tune" or section.guarantee.at_most:
        problem = "tta, crf, threshold and clean-up need the whole image"
        raise ParamsError(place, problem, "switch them off for --stream")
    return inference.predictor


def _open(path: Path) -> PngRows | TiffRows:
    return TiffRows(path) if path.suffix.lower() in {".tif", ".tiff"} else PngRows(path)


def _read(rows: PngRows | TiffRows, count: int, *, rule: ReadingRule, place: Path) -> NDArray[np.uint8]:
    return bands_as_trained(rows.read(count), rule, has_alpha=rows.has_alpha, place=place)


def _check_by_rows(path: Path, rows: PngRows | TiffRows, rule: ReadingRule) -> None:
    if rule.of_each_image:
        problem = f"the model was trained on {rule.describe()}, which needs the whole of it"
        raise DataError(path, problem, "leave --stream out")
    if rule.exif == "apply" and rows.turn in range(2, 9):
        problem = f"EXIF orientation {rows.turn} says that the image is to be rotated, which needs the whole of it"
        raise DataError(path, problem, "rotate the file, or leave --stream out")


def _sections(params_path: Path | None) -> StreamSections:
    if params_path is None:
        raise ParamsError(
            "--stream", "no window to slide", "name a params file with --params; see its evaluate section"
        )
    return load_sections(params_path, StreamSections)
