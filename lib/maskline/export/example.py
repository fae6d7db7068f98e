"""Segment one image.

Usage: python example.py model.onnx image.jpg labels.png
Needs onnxruntime, numpy and Pillow; written beside the model by the export stage.
"""

import json
import os
import sys

import numpy as np
from PIL import Image, ImageOps

FORMATS = ("PNG", "JPEG", "TIFF", "GIF", "BMP", "WEBP", "PPM")  # Pillow would hand PostScript over to Ghostscript


def main(model: str, file: str, out: str) -> None:
    """Write the class of each pixel as a PNG in the model's colors, and print each class's share."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read at the import; without it, it writes and calls home
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")  # model-int8.onnx on processors without VNNI
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    about = json.loads(session.get_modelmeta().custom_metadata_map["maskline"])
    with Image.open(file, formats=FORMATS) as opened:  # turned as EXIF says; 0..255: the model normalizes by itself
        image = np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
    names = [output.name for output in session.get_outputs()]
    outputs = dict(zip(names, session.run(names, {"images": image[None]}), strict=True))
    # Whatever else the file gives (probabilities, scores, logits), its largest value a pixel is the class.
    labels = outputs["labels"][0] if "labels" in outputs else outputs[names[0]][0].argmax(0)
    mask = Image.fromarray(labels.astype(np.uint8))
    mask.putpalette([level for color in about["palette"][:256] for level in color])
    mask.save(out)
    for index, name in enumerate(about["class_names"]):
        print(f"{name}: {(labels == index).mean():.4f}")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
