"""Frames of a video as images, where OpenCV is installed: pip install 'maskline[video]'."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskline.core.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

VIDEO_SUFFIXES = frozenset((".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v"))


class Video:
    """A video that is read forwards; going back opens it anew.

    Args:
        path: The file.

    Raises:
        DataError: OpenCV is missing, or cannot read the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._opened, self._next = self._open(), 0

    def count(self) -> int:
        """Return the number of frames, by going through them: what a file says of itself is often wrong."""
        opened, count = self._open(), 0
        while opened.grab():
            count += 1
        opened.release()
        return count

    def read(self, frame: int) -> "NDArray[np.uint8]":
        """Return a frame (H, W, 3), RGB, counted from 0.

        Raises:
            DataError: There is none, or it cannot be decoded.
        """
        if frame < self._next:
            self._opened.release()
            self._opened, self._next = self._open(), 0
        while self._next < frame and self._opened.grab():
            self._next += 1
        good, pixels = self._opened.read()
        self._next += 1
        if not good:
            raise DataError(self.path, f"no frame {frame}", "the video may be cut off; make it anew")
        rgb: NDArray[np.uint8] = pixels[..., ::-1].copy()  # OpenCV gives BGR
        return rgb

    def _open(self) -> Any:
        opened = _opencv(self.path).VideoCapture(str(self.path))
        if not opened.isOpened():
            raise DataError(self.path, "not a video that OpenCV reads", "turn it into .mp4 or .avi")
        return opened


def _opencv(path: Path) -> Any:
    try:
        import cv2
    except ImportError as error:
        raise DataError(
            path, "a video needs OpenCV, which is not installed", "pip install opencv-python-headless"
        ) from error
    return cv2
