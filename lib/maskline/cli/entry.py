"""What every stage and command shares: the params option, logging, and errors as one line with exit code 2.

Exit codes: 0 well; 1 a defect in maskline (traceback); 2 something the user can fix, in one line; 130 and 143
stopped by SIGINT and SIGTERM.
"""

import functools
import io
import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, ParamSpec, TextIO

import click

from maskline.core.errors import DataError, DataProblemsError, MasklineError, ParamsError, StorageError
from maskline.core.files import not_utf8, storage_error
from maskline.core.text import printable

P = ParamSpec("P")

log = logging.getLogger("maskline")

_MOST_LINES = 20  # of one error on stderr

PATH = click.Path(path_type=Path)

params_option = click.option(
    "--params",
    "params_path",
    type=PATH,
    default="params.yaml",
    show_default=True,
    help="Settings of the whole pipeline.",
)


def stage(function: Callable[P, None]) -> Callable[P, None]:
    """Wrap a stage: start logging, guard its inputs, and turn a ``MasklineError`` into one line and exit code 2."""
    return errors_to_exit_code(_guarded(function))


def errors_to_exit_code(function: Callable[P, None]) -> Callable[P, None]:
    """Wrap a command: start logging, and turn a ``MasklineError`` into one line on stderr and exit code 2."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        open_standard_streams()
        try:
            start_logging()
            _check_working_folder()
            function(*args, **kwargs)
            sys.stdout.flush()  # a full disk is told here
        except DataProblemsError as error:
            for problem in error.problems[:_MOST_LINES]:
                _tell(f"error: {problem}")
            more = len(error.problems) - _MOST_LINES
            if more > 0:
                _tell(f"and {more} more" + (f" in {error.listing}" if error.listing else ""))
            sys.exit(error.exit_code)
        except MasklineError as error:
            _tell(f"error: {error}")
            sys.exit(error.exit_code)
        except UnicodeEncodeError as error:
            if not "\ud800" <= error.object[error.start] <= "\udfff":
                raise
            _tell(f"error: {not_utf8(error, 'what is written')}")
            sys.exit(2)
        except OSError as error:
            end_by_storage(error)
            raise
        except KeyboardInterrupt:
            _tell("stopped")
            sys.exit(130)

    return wrapped


class OneLineCommand(click.Command):
    """A command or group that ends with one line where its help cannot be printed, as where its output cannot."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run."""
        try:
            return super().main(*args, **kwargs)
        except OSError as error:
            end_by_storage(error)
            raise


def end_by_storage(error: OSError) -> None:
    """End the process with one line and exit code 2 where the error is of a disk, or of what standard output is."""
    told = storage_error(error, error.filename or "standard output")
    if told is not None:
        _tell(f"error: {told}")
        _give_up(sys.stdout)
        sys.exit(told.exit_code)


def open_standard_streams() -> None:
    """Open those of standard input, output and error to nothing that are closed (``2>&-``).

    Else the next file that is opened, such as a result, takes their number, and libraries write messages into it.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            try:
                os.fstat(number)
            except OSError:
                nothing = os.open(os.devnull, os.O_RDWR)
                if nothing != number:
                    os.dup2(nothing, number)
                    os.close(nothing)
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):  # a name that it has no letters for is shown, as on standard error
        sys.stdout.reconfigure(errors="backslashreplace")


def _tell(line: str) -> None:
    """Print a line to standard error; where that is full too, the exit code says it alone."""
    try:
        click.echo(line, err=True)
    except OSError:
        _give_up(sys.stderr)


def _give_up(stream: TextIO) -> None:
    """Let what a standard stream cannot take go, so that Python does not try, and fail, once more at its end."""
    with suppress(OSError, ValueError):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _check_working_folder() -> None:
    """Raise where the working folder is gone, so that no relative path means anything."""
    try:
        Path.cwd()
    except FileNotFoundError as error:
        raise DataError("the working folder", "was removed", "cd to a folder that is there") from error


def arguments() -> list[str]:
    """Return the running command's options as they could be typed, defaults included."""
    context = click.get_current_context()
    given = ((option.opts[0], context.params.get(option.name or "")) for option in context.command.params)
    return [word for name, value in given if value is not None for word in (name, str(value))]


def start_logging() -> None:
    """Send maskline's log lines to stderr, once a process.

    Raises:
        ParamsError: The environment names no level.
    """
    if not log.handlers:
        level = os.environ.get("MASKLINE_LOG", "INFO").upper()
        try:
            log.setLevel(level)
        except ValueError as error:
            levels = "DEBUG, INFO, WARNING or ERROR"
            raise ParamsError("MASKLINE_LOG", f"{level} is no level", f"set it to {levels}, or unset it") from error
        handler = logging.StreamHandler()
        handler.setFormatter(_Plain("%(message)s"))
        log.addHandler(handler)


class _Plain(logging.Formatter):
    """Lines whose names of files and classes send no commands to the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def _guarded(function: Callable[P, None]) -> Callable[P, None]:
    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        if sys.platform == "win32":
            raise StorageError(
                "Windows", "files are locked by what only Unix has (fcntl)", "run the pipeline in WSL 2 or a container"
            )
        from maskline.cli import kept_lock, package_lock
        from maskline.cli.guard import unchanged_inputs  # reads YAML: not needed for --help
        from maskline.cli.whole_params import check_whole
        from maskline.core.files import storage_errors

        package_lock.check(Path(package_lock.NAME))
        params_path = kwargs["params_path"]
        assert isinstance(params_path, Path), "every stage has params_option"
        check_whole(params_path)
        if "DVC_STAGE" in os.environ:
            kept_lock.keep_lock(Path.cwd())
        with unchanged_inputs(), storage_errors(Path.cwd()):
            try:
                function(*args, **kwargs)
            except SystemExit as error:
                if error.code:
                    raise
                # Only code of the user's own does that. DVC would record a stage that has written nothing.
                raise ParamsError(
                    "code of your own", "ended the stage (sys.exit)", "let it return, or raise"
                ) from error

    return wrapped
