"""A package of onnxruntime-web's form, with other content."""

import io
import tarfile

from maskline.export.web import onnxruntime_web


def write_archive(path):
    with tarfile.open(path, "w:gz") as file:
        for name in onnxruntime_web.PARTS:
            entry = tarfile.TarInfo(f"package/dist/{name}")
            entry.size = len(name)
            file.addfile(entry, io.BytesIO(name.encode()))
    return path
