"""Images that a user names on the command line: files, folders and patterns."""

import errno
import glob
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from maskline.core.errors import DataError, DataProblemsError, MasklineError, StorageError
from maskline.predict.video import VIDEO_SUFFIXES, Video
from maskline.reading.images import IMAGE_SUFFIXES

_OUT_OF_MEMORY = re.compile("can't allocate memory|out of memory|[Ff]ailed to allocate memory")  # torch's texts


@dataclass(frozen=True, slots=True, order=True)
class Source:
    """An image to read.

    Args:
        name: Its path inside the folder that was named, without suffix and with ``/``; unlike any other's.
        path: The file.
        frame: Of a video, counted from 0.
    """

    name: str
    path: Path
    frame: int | None = None


class ImageProblems:
    """What is wrong with single images: each becomes a line, and the others are done."""

    def __init__(self) -> None:
        self._problems: list[DataError] = []
        self._defect: Exception | None = None

    @contextmanager
    def of(self, source: Source) -> Iterator[None]:
        """Note what the block raises about this image; a file or folder that cannot be written ends all.

        A defect of maskline waits for the end, too: ``check`` raises the first one, with its traceback.
        """
        path, remedy = source.path, "restore, rename or remove it"
        try:
            yield
        except StorageError as error:  # of the output folder: no further image would fare better
            if getattr(error.__cause__, "errno", None) != errno.ENAMETOOLONG:  # but that is of this image's name
                raise
            self._note(path, error.problem, remedy)
        except MasklineError as error:
            self._note(path, error.problem, error.remedy)
        except (OSError, UnicodeError) as error:
            why = getattr(error, "strerror", None) or str(error)
            self._note(path, f"cannot be read ({why.lower()})", remedy)
        except (MemoryError, RuntimeError) as error:
            if not isinstance(error, MemoryError) and not _OUT_OF_MEMORY.search(str(error)):
                self._keep(error, path)
                return
            self._note(path, "too large for the memory", "use --slide or --stream, or cut it")
        except Exception as error:
            self._keep(error, path)

    def _keep(self, error: Exception, path: Path) -> None:
        error.add_note(f"at {path}")
        self._defect = self._defect or error

    def _note(self, path: Path, problem: str, remedy: str) -> None:
        self._problems.append(DataError(path, problem, remedy))

    def check(self) -> None:
        """Raise if there was anything.

        Raises:
            DataProblemsError: All of it.
            Exception: A defect, whatever it is.
        """
        if self._defect is not None:
            raise self._defect
        if self._problems:
            raise DataProblemsError("pictures", self._problems)


def find_sources(inputs: Sequence[str], *, out: Path) -> list[Source]:
    """Return the images that the inputs name, sorted by name, each file once.

    A folder stands for all image files in it and below it, but for those in ``out``. What is neither a file nor a
    folder is read as a pattern (``*``, ``**``, ``?``, ``[...]``). A video that is named itself stands for its frames.

    Args:
        inputs: As on the command line.
        out: Where results go; no image may lie in it.

    Raises:
        DataError: An input names no image; two would get the same name; one lies in ``out``.
    """
    by_file: dict[tuple[Path, int | None], Source] = {}
    for text in inputs:
        for source in _expand(text, out.resolve()):
            by_file.setdefault((source.path.resolve(), source.frame), source)
    by_name: dict[str, Source] = {}
    for (real, _), source in by_file.items():
        if real.is_relative_to(out.resolve()):
            raise DataError(source.path, f"lies in the output folder {out}", "give another folder with -o")
        other = by_name.setdefault(source.name, source)
        if other is not source:
            raise DataError(
                source.path, f"would be written over the result of {other.path}", "predict the two into two folders"
            )
    return sorted(by_name.values())


def _expand(text: str, out: Path) -> Iterator[Source]:
    path = Path(text)
    if path.is_file() and path.suffix.lower() in VIDEO_SUFFIXES:
        for frame in range(Video(path).count()):
            yield Source(f"{path.stem}/frame_{frame:06d}", path, frame)
        return
    if path.is_file():
        yield Source(path.stem, path)
        return
    if path.is_dir():
        base, what = path, "image in this folder"
        files = [file for file in path.rglob("*") if _is_image(file) and not _inside(file, out, folder=path)]
    else:
        base, what = _fixed_part(path), "such file, folder or image of this pattern"
        files = [file for file in base.glob(str(path.relative_to(base))) if _is_image(file)]
    if not files:
        raise DataError(
            text, f"no {what}", f"name images ({', '.join(sorted(IMAGE_SUFFIXES))}), folders, or patterns in quotes"
        )
    for file in files:
        yield Source(file.relative_to(base).with_suffix("").as_posix(), file)


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()


def _inside(file: Path, out: Path, *, folder: Path) -> bool:
    """Whether a folder's file is a former result; where the folder itself is ``out``, the caller has to be told."""
    return file.resolve().is_relative_to(out) and not folder.resolve().is_relative_to(out)


def _fixed_part(pattern: Path) -> Path:
    """Return the pattern's folders before the first that holds a wildcard."""
    fixed = []
    for part in pattern.parts[:-1]:
        if glob.has_magic(part):
            break
        fixed.append(part)
    return Path(*fixed)
