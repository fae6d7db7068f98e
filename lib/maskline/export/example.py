"""Segment one image.

Usage: python example.py model.onnx image.jpg labels.png
Needs onnxruntime, numpy and Pillow; TIFF and 16-bit color PNG also tifffile and imagecodecs. Written beside the
model by the export stage.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

FORMATS = ("PNG", "JPEG", "TIFF", "GIF", "BMP", "WEBP", "PPM")  # Pillow would hand PostScript over to Ghostscript
COLORS = {"1": "L", "P": "RGB", "PA": "RGBA", "CMYK": "RGB", "YCbCr": "RGB"}
FLIPS = {2: (0, 1), 3: (2, 0), 4: (2, 1), 5: (3, 1), 6: (3, 0), 7: (1, 1), 8: (1, 0)}  # quarter turns, mirrored


def main(model: str, file: str, out: str) -> None:
    """Write the class of each pixel as a PNG in the model's colors, and print each class's share."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read at the import; without it, it writes and calls home
    import onnxruntime

    options = onnxruntime.SessionOptions()
    info = Path("/proc/cpuinfo")
    if "_vnni" not in (info.read_text() if info.exists() else ""):
        options.add_session_config_entry("session.x64quantprecision", "1")  # or sums in model-int8.onnx overflow
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    about = json.loads(session.get_modelmeta().custom_metadata_map["maskline"])
    image = read(file, about.get("reading") or {})  # values 0..255: the model normalizes by itself
    names = [output.name for output in session.get_outputs()]
    outputs = dict(zip(names, session.run(names, {"images": image[None]}), strict=True))
    # Whatever else the file gives (probabilities, scores, logits), its largest value a pixel is the class.
    labels = outputs["labels"][0] if "labels" in outputs else outputs[names[0]][0].argmax(0)
    if len(about["class_names"]) > 256:  # more than a palette holds: ids as gray values of 16 bits
        Image.fromarray(labels.astype(np.uint16)).save(out)
    else:
        mask = Image.fromarray(labels.astype(np.uint8))
        mask.putpalette([level for color in about["palette"] for level in color])
        mask.save(out)
    for index, name in enumerate(about["class_names"]):
        print(f"{name}: {(labels == index).mean():.4f}")


def read(picture: str, rule: dict[str, Any]) -> np.ndarray:
    """Return (height, width, channels), uint8, as the model's training images were read; see `reading` of the file."""
    channels, scale = rule.get("channels"), rule.get("image_scale", "error")
    values, turn, alpha = stored(picture, transparency=channels is None)
    if turn in FLIPS and rule.get("exif") != "ignore":
        values = np.rot90(values, FLIPS[turn][0])[:, :: -1 if FLIPS[turn][1] else 1]
    if alpha and (channels is None or max(channels) < values.shape[2] - 1):
        opaque = np.iinfo(values.dtype).max if values.dtype.kind == "u" else 1
        fits = channels is not None or rule.get("alpha") != "error" or values[..., -1].min() == opaque
        values = values[..., :-1] if fits else sys.exit(f"{picture}: the model was trained on images without alpha")
    bands, kind = values.shape[2], values.dtype.name
    known = (rule.get("source_bands") or [bands]) if channels else [1, 3]
    types = (rule.get("source_types") or [kind]) if scale != "error" else ["uint8"]
    if bands not in known or kind not in types or (channels and max(channels) >= bands):
        sys.exit(f"{picture}: {bands} bands of {kind}; the model was trained on {known} of {types}")
    values = values if channels is None else values[..., channels]
    ends: list[Any] = [0, np.iinfo(kind).max] if isinstance(scale, str) else scale
    if kind != "uint8" or str in map(type, ends):  # p99.8: each channel's own percentile
        own = {p: np.percentile(values, float(p[1:]), (0, 1), method="inverted_cdf") for p in ends if p == str(p)}
        low, high = (np.asarray(own.get(end, end), np.float64) for end in ends)
        factor = 255 / np.where(high > low, high - low, 1e-9)
        values = np.clip(np.rint((values.astype(np.float64) - low) * factor), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(np.repeat(values, 3, 2) if channels is None and values.shape[2] == 1 else values)


def stored(picture: str, *, transparency: bool) -> tuple[np.ndarray, int, bool]:
    """Return (height, width, bands) in the file's own numbers, its EXIF orientation, and whether the last is alpha."""
    head = Path(picture).read_bytes()[:26]
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        import tifffile

        with tifffile.TiffFile(picture) as file:
            full = [i for i, page in enumerate(file.pages) if not page.aspage().subfiletype & 5]  # no overviews
            page = file.pages[(full or [0])[0]].aspage()
            if len(full) > 1:
                sys.exit(f"{picture}: {len(full)} frames in one file")
            known = page.samplesperpixel == 1 or (page.samplesperpixel == 3 and page.photometric != 1)
            whole = page.bitspersample <= 8 and (known or page.photometric == 5) and full in ([], [0])
            if not whole:  # else Pillow reads all of it, and knows more of colors
                values, turn = page.asarray(), page.tags.get("Orientation")
                values = values.transpose(1, 2, 0) if page.axes == "SYX" else values.reshape(*values.shape[:2], -1)
                alpha = values.shape[2] in (2, 4) and tuple(map(int, page.extrasamples)) in ((1,), (2,))
                return values, turn.value if turn else 1, alpha
    with Image.open(picture, formats=FORMATS) as image:
        turn, mode = image.getexif().get(0x0112, 1), image.mode
        if head[:4] == b"\x89PNG" and head[24] == 16 and head[25] in (2, 4, 6):  # Pillow cuts them to 8 bits
            import imagecodecs

            return imagecodecs.png_decode(Path(picture).read_bytes()), turn, head[25] > 2
        mode = "RGBA" if transparency and "transparency" in image.info else COLORS.get(mode, mode)
        values = np.array(image.convert(mode) if mode != image.mode else image)
    return values.reshape(*values.shape[:2], -1), turn, mode in ("RGBA", "LA", "PA", "La", "RGBa")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
