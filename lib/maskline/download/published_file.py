"""One file of known bytes that others publish: of the mirror folder, of an earlier download, or downloaded now."""

from collections.abc import Callable
from pathlib import Path

from maskline.core.errors import DataError
from maskline.core.files import storage_errors
from maskline.core.state_folder import state_folder


def downloads_folder() -> Path:
    """Return where a broken download waits to be resumed, and a whole one of known hash to be taken again.

    It is outside of DVC's outs, which DVC empties before a run: the stage runs again when any key of the section data
    changes, and must not fetch gigabytes anew for that.
    """
    return state_folder("downloads")


def obtain(
    url: str, *, mirror: Path | None, fault: Callable[[Path], str | None], max_bytes: int, otherwise: str = ""
) -> Path:
    """Return the file, downloaded with progress and going on where it broke, unless it is at hand.

    Args:
        url: Its address, which ends in its name.
        mirror: Folder that holds files by their own names; None: none.
        fault: What is wrong with a file, such as another hash; None: nothing.
        max_bytes: A longer file is refused.
        otherwise: What else a user can do who cannot have it, as the end of a sentence.

    Raises:
        DataError: It cannot be had, or something is wrong with it.
        StorageError: It cannot be written.
    """
    name = url.rsplit("/", 1)[-1]
    if mirror is not None and not mirror.is_dir():
        raise DataError("MASKLINE_MIRROR", f"no such folder: {mirror}", "name a folder of files, or unset it")
    if mirror is not None and (mirror / name).is_file():
        _check(mirror / name, fault, remedy="fetch it again into the folder")
        return mirror / name
    target = downloads_folder() / name
    if not target.is_file():
        _download(url, target, max_bytes=max_bytes, otherwise=otherwise)
    try:  # an earlier one too: a kill may have come between download and check
        _check(target, fault, remedy="try again; if it stays so, the file on the server is another one")
    except DataError:
        target.unlink(missing_ok=True)
        raise
    return target


def _download(url: str, target: Path, *, max_bytes: int, otherwise: str) -> None:
    import requests

    from maskline.download.transfer import ResumingDownloader, one_at_a_time

    part = target.with_name(f"{target.name}.part")
    mirrored = f"fetch {target.name} from there on a connected machine into the folder that MASKLINE_MIRROR names"
    remedy = mirrored + otherwise
    try:
        with storage_errors(target.parent), one_at_a_time(target):
            if not target.is_file():
                ResumingDownloader(part, max_bytes=max_bytes, checked=True)(url, str(target), None)
    except requests.exceptions.RequestException as error:
        raise DataError(url, f"cannot be downloaded ({type(error).__name__})", remedy) from error
    except DataError as error:  # the server's answer; the remedies there are those of data.url
        raise DataError(error.place, error.problem, remedy) from error


def _check(path: Path, fault: Callable[[Path], str | None], *, remedy: str) -> None:
    problem = fault(path)
    if problem is not None:
        raise DataError(path, problem, remedy)
