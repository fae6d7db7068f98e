"""Segment one picture.

Usage: python example.py model.onnx picture.jpg labels.png
Needs onnxruntime, numpy and Pillow; written beside the model by the export stage.
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def main(model: str, picture: str, out: str) -> None:
    """Write the class of each pixel as a PNG in the model's colours, and print each class's share."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    about = json.loads(session.get_modelmeta().custom_metadata_map["maskline"])
    with Image.open(picture) as opened:  # turned as its EXIF says; colours 0..255: the model normalises by itself
        image = np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
    labels, _probabilities = session.run(["labels", "probabilities"], {"images": image[None]})
    mask = Image.fromarray(labels[0].astype(np.uint8))
    mask.putpalette([level for color in about["palette"][:256] for level in color])
    mask.save(out)
    for index, name in enumerate(about["class_names"]):
        print(f"{name}: {(labels[0] == index).mean():.4f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
