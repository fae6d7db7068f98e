"""``maskline predict MODEL INPUT... -o OUT``: a trained or exported model on one's own images."""

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from maskline.cli.entry import PATH, errors_to_exit_code, log
from maskline.predict.video import Video

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from maskline.data.reading_rule import ReadingRule
    from maskline.predict.image_inputs import Source
    from maskline.predict.model import Model
    from maskline.predict.prediction_folder import PredictionFolder

KINDS = ("index", "palette", "overlay", "probabilities", "index-tif", "probabilities-tif")


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
    help="What to write for each image; give it once for each kind.  [default: index, palette, overlay; with "
    "--stream: index, palette; GeoTIFF images: index-tif too]",
)
@click.option(
    "--weights",
    type=PATH,
    default=None,
    help="MODEL is a recipe or a params file, and these its weights: .safetensors.",
)
@click.option(
    "--params",
    "params_path",
    type=PATH,
    default=None,
    help="Use a trained model as the evaluate section of this file says, such as by sliding window; whole images "
    "without it.",
)
@click.option(
    "--slide", is_flag=True, help="Sliding window; window and stride are those of --params, else of params.yaml here."
)
@click.option(
    "--tta", is_flag=True, help="Test-time augmentation: scales and flips as there; mirrored where it has none."
)
@click.option("--crf", is_flag=True, help="A dense CRF after the network, its weights as there.")
@click.option(
    "--stream",
    is_flag=True,
    help="Read PNG or TIFF and write PNG by rows, by the sliding window of --params: for images that do not fit into "
    "memory.",
)
@click.option(
    "--fastest",
    is_flag=True,
    help="MODEL is an export folder: take the .onnx file that was fastest there, by reports/export/latency.json here.",
)
@click.option("--threads", type=click.IntRange(1, 256), default=None, help="CPU threads.  [default: all cores]")
@errors_to_exit_code
def main(
    *,
    model: Path,
    inputs: tuple[str, ...],
    out: Path,
    kinds: tuple[str, ...],
    weights: Path | None,
    params_path: Path | None,
    slide: bool,
    tta: bool,
    crf: bool,
    stream: bool,
    fastest: bool,
    threads: int | None,
) -> None:
    """Segment images.

    MODEL is a folder that training or export wrote, an .onnx file, or a recipe with --weights. Further models may
    follow it: the mean of their probabilities counts. INPUT is an image, a folder of images, a pattern in quotes, or a
    video (its frames; needs OpenCV). Images are read as those of the training data were: the same bands, values of more
    than 8 bits scaled alike, turned as their EXIF says. Inputs are never written to, and a half-done OUT is completed.

    \b
    OUT/index/NAME.png          class ids
    OUT/palette/NAME.png        the same in the classes' colors
    OUT/overlay/NAME.jpg        the image under these colors
    OUT/probabilities/NAME.npy  float32, classes x height x width
    OUT/index-tif/NAME.tif      class ids with the GeoTIFF tags of the image; probabilities-tif likewise
    OUT/shares.csv              share of each class in each image
    """  # noqa: D301  (click wants the control character itself)
    from maskline.predict.image_inputs import find_sources
    from maskline.predict.model_sources import load
    from maskline.predict.prediction_folder import PredictionFolder

    models, inputs = _models(model, inputs, weights)
    sources = find_sources(inputs, out=out)
    if stream:
        _check_stream(models, steps=tta or crf, fastest=fastest)
        done = _streamed(model, sources, out, kinds=kinds, weights=weights, params_path=params_path, threads=threads)
        log.info("predict: %d of %d images were new; results in %s", done, len(sources), out)
        return
    one = models if len(models) > 1 else model
    loaded = load(
        one, weights=weights, params=params_path, slide=slide, tta=tta, crf=crf, threads=threads, fastest=fastest
    )
    _check_kinds(loaded, kinds)
    folder = PredictionFolder(out, loaded.labels, kinds=kinds or _usual_kinds(sources), made_by=loaded.made_by)
    done = predict(loaded, sources, folder)
    log.info("predict: %d of %d images were new; results in %s", done, len(sources), out)


def _models(model: Path, inputs: tuple[str, ...], weights: Path | None) -> tuple[list[Path], tuple[str, ...]]:
    """Return the models at the front of the arguments, and what is left; one at least is an input."""
    count = 0
    while weights is None and count < len(inputs) - 1 and _is_model(Path(inputs[count])):
        count += 1
    return [model, *map(Path, inputs[:count])], inputs[count:]


def _is_model(path: Path) -> bool:
    return any((path / name).is_file() for name in ("model.json", "model.onnx")) or (
        path.suffix == ".onnx" and path.is_file()
    )


def _check_stream(models: list[Path], *, steps: bool, fastest: bool) -> None:
    """Refuse what cannot be done by rows."""
    from maskline.core.errors import DataError

    if len(models) > 1:
        raise DataError("--stream", "takes one model", "leave the other models or --stream out")
    if steps:
        raise DataError("--stream", "--tta and --crf need the whole image in memory", "leave them or --stream out")
    if fastest:
        raise DataError("--stream", "takes a trained model, which is one file", "leave --fastest out")


def _streamed(
    model: Path,
    sources: "list[Source]",
    out: Path,
    *,
    kinds: tuple[str, ...],
    weights: Path | None,
    params_path: Path | None,
    threads: int | None,
) -> int:
    """Predict by rows, and return how many images that were."""
    import os

    from maskline.predict.model_sources import as_folder
    from maskline.predict.predict_stream import predict_stream

    count = threads or os.cpu_count() or 1
    with as_folder(model, weights) as folder:
        return predict_stream(folder, sources, out, kinds=kinds, params_path=params_path, threads=count)


def predict(model: "Model", sources: "list[Source]", folder: "PredictionFolder") -> int:
    """Predict what is not done yet, and return how many images that were.

    Raises:
        DataProblemsError: Images that cannot be read, are not like the model's, are too small or too large, after all
            others are done.
    """
    from maskline.core.files import sha256_file
    from maskline.predict.image_inputs import ImageProblems

    hash_once = functools.cache(sha256_file)  # a video's frames are of one file
    reader = _Reader(model.reading)
    count, problems = 0, ImageProblems()
    for source in _with_progress(sources):
        with problems.of(source):
            str(source.path).encode()  # the table is UTF-8
            sha256 = hash_once(source.path)
            if folder.is_done(source, sha256):
                continue
            folder.write(source, sha256, model.segment(reader.read(source)))
            count += 1
    folder.finish()
    problems.check()
    return count


class _Reader:
    """Reads images, and frames of the video that it has open, as a model was trained to see them."""

    def __init__(self, rule: "ReadingRule") -> None:
        self._rule = rule
        self._video: Video | None = None

    def read(self, source: "Source") -> "NDArray[np.uint8]":
        """Return (H, W, channels)."""
        from maskline.reading.as_trained import array_as_trained, read_as_trained

        if source.frame is None:
            return read_as_trained(source.path, self._rule)
        if self._video is None or self._video.path != source.path:
            self._video = Video(source.path)
        return array_as_trained(self._video.read(source.frame), self._rule, place=source.path)


def _check_kinds(model: "Model", kinds: "tuple[str, ...]") -> None:
    from maskline.core.errors import DataError
    from maskline.export.runtime_onnx import OnnxModel

    labels_alone = isinstance(model.runtime, OnnxModel) and not model.runtime.has_probabilities
    if labels_alone and any(kind.startswith("probabilities") for kind in kinds):
        remedy = "export it with softmax among export.outputs"
        raise DataError("--save probabilities", "the model gives labels alone", remedy)


def _usual_kinds(sources: "list[Source]") -> tuple[str, ...]:
    from maskline.predict.tiff import geo_tags

    return (*KINDS[:3], *(["index-tif"] if any(geo_tags(source.path) for source in sources) else []))


def _with_progress(sources: "list[Source]") -> "Iterable[Source]":
    """Return the sources, with a bar where a person looks on."""
    import sys

    from rich.console import Console
    from rich.progress import track

    return track(sources, "predict", console=Console(stderr=True), disable=not sys.stderr.isatty())
