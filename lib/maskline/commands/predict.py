"""``maskline predict MODEL INPUT... -o OUT``: a trained or exported model on one's own pictures."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maskline.cli import PATH, errors_to_exit_code, log

if TYPE_CHECKING:
    from maskline.commands.picture_inputs import Source
    from maskline.commands.prediction_folder import PredictionFolder
    from maskline.export.parity import Model
    from maskline.labels import LabelSet

KINDS = ("index", "palette", "overlay", "probabilities")


@click.command()
@click.argument("model", type=PATH)
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option("-o", "--out", type=PATH, required=True, help="Folder of the results; a half-done one is completed.")
@click.option(
    "--save",
    "kinds",
    type=click.Choice(KINDS),
    multiple=True,
    default=None,
    help="What to write for each picture; give it once for each kind.  [default: index, palette, overlay; with "
    "--stream: index, palette]",
)
@click.option(
    "--params",
    "params_path",
    type=PATH,
    default=None,
    help="Use a trained model as the evaluate section of this file says, such as by sliding window; whole pictures "
    "without it.",
)
@click.option(
    "--stream",
    is_flag=True,
    help="Read and write PNGs row by row, by the sliding window of --params: for pictures that do not fit into memory.",
)
@click.option("--threads", type=click.IntRange(1, 256), default=None, help="CPU threads.  [default: all cores]")
@errors_to_exit_code
def main(
    *,
    model: Path,
    inputs: tuple[str, ...],
    out: Path,
    kinds: tuple[str, ...],
    params_path: Path | None,
    stream: bool,
    threads: int | None,
) -> None:
    """Segment pictures.

    MODEL is a folder that training or export wrote, or an .onnx file. INPUT is a picture, a folder of pictures or a
    pattern in quotes.

    \b
    OUT/index/NAME.png          class ids
    OUT/palette/NAME.png        the same in the classes' colours
    OUT/overlay/NAME.jpg        the picture under these colours
    OUT/probabilities/NAME.npy  float32, classes x height x width
    OUT/shares.csv              share of each class in each picture
    """  # noqa: D301  (click wants the control character itself)
    import os

    from maskline.commands.picture_inputs import find_sources
    from maskline.commands.prediction_folder import PredictionFolder

    sources = find_sources(inputs, out=out)
    if stream:
        from maskline.commands.predict_stream import predict_stream

        done = predict_stream(
            model, sources, out, kinds=kinds, params_path=params_path, threads=threads or os.cpu_count() or 1
        )
        log.info("predict: %d of %d pictures were new; results in %s", done, len(sources), out)
        return
    runtime, labels, made_by = open_model(model, params_path=params_path, threads=threads or os.cpu_count() or 1)
    folder = PredictionFolder(out, labels, kinds=kinds or KINDS[:3], made_by=made_by)
    done = predict(runtime, sources, folder)
    log.info("predict: %d of %d pictures were new; results in %s", done, len(sources), out)


def open_model(path: Path, *, params_path: Path | None, threads: int) -> "tuple[Model, LabelSet, dict[str, Any]]":
    """Return a model, its classes, and what the results depend on as plain types.

    Args:
        path: A folder that training or export wrote, or an .onnx file.
        params_path: A params file whose evaluate section says how a trained model is used; None: on whole pictures.
        threads: CPU threads.

    Raises:
        CheckpointError: Neither a model folder nor an ONNX file; or an ONNX file with a params file.
        ParamsError: The params file is wrong.
        ExportError: An ONNX file that the export stage did not write.
    """
    from maskline.errors import CheckpointError

    if (path / "model.json").is_file():
        return _open_trained(path, params_path=params_path, threads=threads)
    file = path / "model.onnx" if path.is_dir() else path
    if file.suffix != ".onnx" or not file.is_file():
        raise CheckpointError(path, "no model", "name a folder with model.json or model.onnx, or an .onnx file")
    if params_path is not None:
        raise CheckpointError(file, "an exported model sees whole pictures only", "leave --params out")
    return _open_exported(file, threads=threads)


def predict(model: "Model", sources: "list[Source]", folder: "PredictionFolder") -> int:
    """Predict what is not done yet, and return how many pictures that were.

    Raises:
        DataProblemsError: Pictures that cannot be read or are too small, after all others are done.
    """
    from maskline.data.pictures import read_image, to_rgb
    from maskline.errors import DataError, DataProblemsError, ExportError, ShapeError
    from maskline.files import sha256_file

    count, problems = 0, []
    for source in _with_progress(sources):
        sha256 = sha256_file(source.path)
        if folder.is_done(source, sha256):
            continue
        try:
            image = to_rgb(read_image(source.path, exif="apply", alpha="drop")[0])
            folder.write(source, sha256, image, model.predict(image[None]))
            count += 1
        except (DataError, ExportError, ShapeError) as error:
            problems.append(DataError(source.path, error.problem, error.remedy))
    folder.finish()
    if problems:
        raise DataProblemsError("pictures", problems)
    return count


def _open_trained(folder: Path, *, params_path: Path | None, threads: int) -> "tuple[Model, LabelSet, dict[str, Any]]":
    from maskline import build, params
    from maskline.commands.inference_model import InferenceModel
    from maskline.engine.checkpoint import read_card
    from maskline.errors import ParamsError
    from maskline.export.package import Trained
    from maskline.inference.tuning import with_threshold

    card = read_card(folder)
    trained = Trained.from_card(build.load_segmentor(folder), card)
    made_by: dict[str, Any] = {"weights_sha256": trained.weights_sha256, "runtime": "torch"}
    if params_path is None:
        return trained.runtime(threads=threads), trained.labels, made_by
    section = params.load(params_path).evaluate
    if section.threshold == "tune":
        remedy = "write the number that evaluate chose, in metrics.json under threshold"
        raise ParamsError(f"{params_path}: evaluate.threshold", "there is nothing to tune it on here", remedy)
    if section.crf.enabled and section.crf.tune:
        remedy = "write the numbers that evaluate chose, in metrics.json under tuned_crf, and tune: false"
        raise ParamsError(f"{params_path}: evaluate.crf.tune", "there is nothing to tune it on here", remedy)
    inference = with_threshold(
        build.inference(section, folder),
        tune=False,
        num_classes=trained.labels.num_classes,
        validation=None,
        ignore_index=trained.labels.ignore_index,
        within_valid=False,
    )
    runtime = InferenceModel(inference, threads=threads)
    return runtime, trained.labels, {**made_by, "evaluate": section.model_dump(mode="json")}


def _open_exported(file: Path, *, threads: int) -> "tuple[Model, LabelSet, dict[str, Any]]":
    from maskline.export.runtime_onnx import OnnxModel
    from maskline.files import sha256_file
    from maskline.labels import LabelSet

    model = OnnxModel(file, threads=threads)
    made_by = {"onnx_sha256": sha256_file(file), "runtime": "onnxruntime"}
    return model, LabelSet.from_dict(model.metadata, place=file), made_by


def _with_progress(sources: "list[Source]") -> "Iterable[Source]":
    """Return the sources, with a bar where a person looks on."""
    import sys

    from rich.console import Console
    from rich.progress import track

    return track(sources, "predict", console=Console(stderr=True), disable=not sys.stderr.isatty())
