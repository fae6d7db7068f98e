"""Checks of ``maskline doctor`` on the project's folder: settings, DVC, git, data source."""

import configparser
import fcntl
import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskline.cli.kept_lock import LOCK
from maskline.cli.kept_lock import git as ask_git
from maskline.core.errors import MasklineError
from maskline.core.text import one_line
from maskline.doctor.findings import Finding, fault, ok, warning

if TYPE_CHECKING:
    from maskline.params.whole import Params

_TIMEOUT_S = 5
_OF_A_RUN = "refs/exps/exec/EXEC_MERGE"  # DVC has it while it runs an experiment in the workspace


def settings(path: Path) -> "tuple[Finding, Params | None]":
    """Read the settings; None where they are wrong."""
    from maskline.params.whole import load_params

    try:
        params = load_params(path)
    except MasklineError as error:
        return fault("settings", f"{error.place}: {error.problem}", error.remedy), None
    return ok("settings", f"{path} is valid, data set {params.data.name}"), params


def left_out(path: Path, params: "Params") -> Finding:
    """Say how many keys the file leaves out, and how one is set."""
    from maskline.projects.params_overview import overview

    count = len(overview(path, params).left_out)
    if not count:
        return ok("defaults", "no key is left out")
    summary = f"{count} keys are left out and have their defaults; maskline params prints them"
    return ok("defaults", f"{summary}, and dvc exp run -S ++KEY=VALUE sets one")


def schema(path: Path) -> Finding:
    """Check that the schema file, which editors complete from, is the code's."""
    from maskline.params.whole import json_schema

    if not path.is_file():
        return ok("schema", f"no {path.name} here")
    try:
        fresh = json.loads(path.read_text(encoding="utf-8")) == json_schema()
    except ValueError:
        fresh = False
    if fresh:
        return ok("schema", f"{path.name} is the code's")
    remedy = "write it again: make schema in a clone, maskline new --upgrade . elsewhere"
    return warning("schema", f"{path.name} is not the code's", remedy)


def package(root: Path) -> Finding:
    """Check that the maskline that runs is the one that the project's stages depend on."""
    import maskline
    from maskline.cli import package_lock

    running = Path(maskline.__file__).resolve().parent
    own = root / "lib" / "maskline"
    if own.is_dir():
        if running == own.resolve():
            return ok("maskline", "the checkout's own")
        return warning("maskline", f"{running}, not this checkout's", "source .venv/bin/activate, after make env")
    try:
        package_lock.check(root / package_lock.NAME)
    except MasklineError as error:
        return fault("maskline", error.problem, error.remedy)
    return ok("maskline", str(running))


def pipeline(path: Path) -> Finding:
    """Check that dvc.yaml is there, and every file that its stages need and do not make."""
    from maskline.params.base.reading import read_yaml

    try:
        stages = read_yaml(path).get("stages") or {}
    except MasklineError as error:
        remedy = "run from the project's folder; git checkout brings a lost file back; maskline new makes a project"
        return fault("pipeline", f"{path.name}: {error.problem}", remedy)
    outputs, needed = set[str](), set[str]()
    for stage in stages.values():
        needed |= set(stage.get("deps", []))
        for kind in ("outs", "metrics", "plots"):
            outputs |= {next(iter(entry)) if isinstance(entry, dict) else entry for entry in stage.get(kind, [])}
    missing = sorted(dep for dep in needed - outputs if not (path.parent / dep).exists())
    if missing:
        listed = ", ".join(missing[:4]) + (", ..." if len(missing) > 4 else "")
        return fault("pipeline", f"stages need what is not here: {listed}", f"git checkout -- {missing[0]}")
    return ok("pipeline", f"{len(stages)} stages, with all files that they need")


def dvc(root: Path) -> Iterator[Finding]:
    """Check that DVC is installed, set up here, reports nothing to its makers, and is free."""
    folder = root / ".dvc"
    if find_spec("dvc") is None:
        yield fault("dvc", "not installed", "pip install 'dvc>=3.67', or in a clone: make env")
        return
    if not (folder / "config").is_file():
        remedy = "run from the project's folder (the one with dvc.yaml), or there: dvc init"
        yield fault("dvc", f"not set up in {root}", remedy)
        return
    config = read_config(folder)
    analytics = config.get("core.analytics", "true").lower() != "false"
    if analytics and not os.environ.get("DVC_NO_ANALYTICS"):
        remedy = "if you would rather not: dvc config core.analytics false"
        yield warning("dvc", "set up; sends usage statistics to its makers", remedy)
    else:
        yield ok("dvc", "set up, sends no usage statistics")
    yield dvc_lock(folder)
    yield recorded(root / LOCK)


def read_config(folder: Path) -> dict[str, str]:
    """Return SECTION.KEY -> value of .dvc/config and, above it, .dvc/config.local."""
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read([folder / "config", folder / "config.local"], encoding="utf-8")
    except configparser.Error:
        return {}
    return {f"{section}.{key}": value for section in parser.sections() for key, value in parser.items(section)}


def dvc_lock(folder: Path) -> Finding:
    """Check whether another DVC process holds the project."""
    users, of_experiments = user_lists(folder)
    if is_torn(users):
        return fault("dvc lock", f"{users} is torn", "maskline doctor --fix, once no dvc command runs here")
    holders = _rwlock_holders(users)
    if holders or _flocked(folder / "tmp" / "lock"):
        processes = f"process {', '.join(map(str, holders))}" if holders else "another process"
        return fault("dvc lock", f"held by {processes}", "wait until that dvc command has ended")
    if is_torn(of_experiments):
        remedy = "maskline doctor --fix, once no dvc command runs here; until then dvc exp does not run"
        return warning("dvc lock", f"{of_experiments} is torn", remedy)
    return ok("dvc lock", "free")


def user_lists(folder: Path) -> tuple[Path, Path]:
    """Return DVC's lists of who reads and writes which path: of stages and of experiments; ``folder`` is .dvc."""
    return folder / "tmp" / "rwlock", folder / "tmp" / "exps" / "rwlock"


def is_torn(users: Path) -> bool:
    """Whether a list of users cannot be read; one that is not there can."""
    try:
        _rwlock_holders(users)
    except ValueError:
        return True
    return False


def dvc_processes(root: Path) -> list[int]:
    """Return the processes of dvc commands at work in the folder or below, and of the stages that they run."""
    import psutil

    folder = root.resolve()
    return [
        process.pid
        for process in psutil.process_iter()
        if any(place.resolve().is_relative_to(folder) for place in _places_of_dvc(process, unknown=folder))
    ]


def _places_of_dvc(process: Any, *, unknown: Path) -> "Iterator[Path]":
    """Yield where a process works for DVC; ``unknown`` for a dvc command of which the system does not say it."""
    import psutil

    with suppress(psutil.Error):  # another user's, or it has ended
        if place := process.environ().get("DVC_ROOT"):
            yield Path(place)
    with suppress(psutil.Error):
        # A queue's worker is python .../dvc/__main__.py.
        if any(Path(word).name == "dvc" or word.endswith("/dvc/__main__.py") for word in process.cmdline()):
            try:
                yield Path(process.cwd())
            except psutil.AccessDenied:
                yield unknown


def recorded(path: Path) -> Finding:
    """Check that DVC can read dvc.lock, which says what the stages of the last run read and wrote."""
    if not path.exists():
        return ok("dvc.lock", "none yet")
    if in_conflict(path):
        return fault("dvc.lock", "has git's conflict markers", "git checkout --ours dvc.lock, or --theirs; dvc repro")
    if problem := lock_problem(path):
        return fault("dvc.lock", f"torn ({problem})", "maskline doctor --fix; no stage that had ended runs again")
    return ok("dvc.lock", "whole")


def in_conflict(path: Path) -> bool:
    """Whether git has left a dvc.lock for a person to decide on."""
    return path.exists() and re.search(rb"^<{7} ", path.read_bytes(), flags=re.MULTILINE) is not None


def lock_problem(path: Path) -> str:
    """Return what is wrong with a dvc.lock; empty where it is whole, or not there."""
    return content_problem(path.read_bytes()) if path.exists() else ""


def content_problem(content: bytes) -> str:
    """Return what is wrong with the content of a dvc.lock; empty where it is whole.

    DVC reads one that ends within its last hash, and runs that stage again; so the last line must have an end.
    """
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from dvc.utils.serialize import ParseError, parse_yaml
    from voluptuous import Invalid

    try:
        COMPILED_LOCKFILE_SCHEMA(parse_yaml(content.decode(), LOCK))
    except (UnicodeDecodeError, ParseError, Invalid) as error:
        return one_line(str(error))
    return "" if content.endswith(b"\n") else "its last line has no end"


def cache_folder(folder: Path) -> Path:
    """Return where DVC keeps the files of this project; ``folder`` is .dvc."""
    return folder / read_config(folder).get("cache.dir", "cache")  # relative to .dvc, as DVC has it


def site_cache(folder: Path) -> Path:
    """Return where DVC keeps its index of files for all users; ``folder`` is .dvc."""
    from dvc.dirs import site_cache_dir

    return Path(site_cache_dir(read_config(folder).get("core.site_cache_dir")))


def git(root: Path) -> Finding:
    """Check that experiments, which are commits, can be kept here."""
    answers = []
    for question in ("--is-shallow-repository", "--verify HEAD"):
        try:
            done = subprocess.run(
                ["git", "-C", str(root), "rev-parse", *question.split()],
                capture_output=True,
                text=True,
                check=False,
                timeout=_TIMEOUT_S,
                stdin=subprocess.DEVNULL,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return warning("git", f"does not answer ({error})", "install git; dvc exp needs it")
        answers.append((done.returncode, done.stdout.strip(), done.stderr.strip()))
    (code, shallow, text), (head, _, _) = answers
    if code and "dubious ownership" in text:
        return warning("git", "the folder belongs to another user", f"git config --global --add safe.directory {root}")
    if code:
        remedy = "git init and commit; or without git: dvc config --local core.no_scm true"
        no_scm = read_config(root / ".dvc").get("core.no_scm", "").lower() == "true"
        return ok("git", "none; dvc is told so (core.no_scm)") if no_scm else fault("git", "no repository", remedy)
    if head:
        return warning("git", "no commit yet", "commit once: git add . && git commit; dvc exp needs it")
    if branch := left_branch(root):
        remedy = f"maskline doctor --fix, or git switch {branch}; files stay as they are"
        return warning("git", f"HEAD is not on {branch} since a dvc exp run was killed", remedy)
    if shallow == "true":
        remedy = "git fetch --unshallow; until then dvc exp run --temp and --queue lose their results"
        return warning("git", "a shallow clone", remedy)
    return ok("git", "a whole repository")


def left_branch(root: Path) -> str:
    """Return the branch from which a killed ``dvc exp run`` has taken HEAD; empty where that is not certain.

    DVC detaches HEAD while it runs an experiment in the workspace, and goes back at its end.
    """
    if ask_git(root, "symbolic-ref", "--quiet", "HEAD") or not ask_git(root, "rev-parse", _OF_A_RUN):
        return ""
    last = ask_git(root, "log", "--walk-reflogs", "-1", "--format=%gs", "HEAD").decode()
    moved = re.fullmatch(r"checkout: moving from (\S+) to ([0-9a-f]{40})\n", last)
    if moved is None or dvc_processes(root):
        return ""
    commits = ask_git(root, "rev-parse", "HEAD", f"refs/heads/{moved[1]}").decode().split()
    return moved[1] if commits == [moved[2], moved[2]] else ""


def source(data: Any, *, root: Path, environment: Mapping[str, str], network: bool) -> Finding:
    """Check where the data set comes from.

    Args:
        data: The data section of the settings.
        root: The project's folder.
        environment: For MASKLINE_MIRROR.
        network: Whether to ask the download address, 5 seconds at most.
    """
    from maskline.download import catalog

    if catalog.is_drawn(data.name):
        return ok("data source", f"{data.name} is drawn: no network needed")
    if data.archive is not None:
        exists = (root / data.archive).exists()
        if not exists:
            remedy = "set data.archive to a zip, a tar or a folder that you have"
            return fault("data source", f"no {data.archive}", remedy)
        if not _looks_each_time(root / "dvc.yaml"):
            problem = f"{data.archive}, but the stage download does not look at it each time: a change is not seen"
            remedy = "add always_changed: true to it in dvc.yaml, or in a project: maskline new --upgrade ."
            return warning("data source", problem, remedy)
        return ok("data source", data.archive)
    published = catalog.published(data.name)
    mirror = environment.get("MASKLINE_MIRROR")
    if mirror and not Path(mirror).is_dir():
        return fault("data source", f"MASKLINE_MIRROR: no folder {mirror}", "name a folder of archives, or unset it")
    if mirror and published is not None and (Path(mirror) / published.file).is_file():
        return ok("data source", f"{published.file} in MASKLINE_MIRROR")
    address = data.url or (published.url if published else None)
    if address is None:
        return fault("data source", f"{data.name} has no download address", "set data.archive or data.url")
    if not network:
        return ok("data source", f"{address} (not asked; --network asks)")
    return _ask(address)


def _looks_each_time(path: Path) -> bool:
    """Return whether DVC runs the download stage each time; true where there is none to ask."""
    from maskline.params.base.reading import read_yaml

    try:
        download = read_yaml(path)["stages"]["download"]
        return bool(download.get("always_changed"))
    except (MasklineError, KeyError, TypeError, AttributeError):
        return True  # what is wrong with the file is said of the pipeline


def _ask(address: str) -> Finding:
    import requests

    try:
        with requests.get(address, stream=True, timeout=_TIMEOUT_S) as answer:
            if answer.ok:
                return ok("data source", f"{address} answers")
            problem = f"answers {answer.status_code}"
    except requests.RequestException as error:
        problem = f"cannot be reached ({type(error).__name__})"
    remedy = "download it elsewhere into a folder and name that in MASKLINE_MIRROR, or set data.archive"
    return fault("data source", f"{address} {problem}", remedy)


def _rwlock_holders(path: Path) -> list[int]:
    """Return the living processes in DVC's list of who reads and writes which path.

    Raises:
        ValueError: The list is torn.
    """
    try:
        uses = json.loads(path.read_text(encoding="utf-8"))
        users = [user for users in uses.get("read", {}).values() for user in users] + [*uses.get("write", {}).values()]
        pids = {int(user["pid"]) for user in users}
    except OSError:  # no such file: never written
        return []
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not DVC's") from error
    return sorted(pid for pid in pids if _lives(pid))


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True


def _flocked(path: Path) -> bool:
    """Whether a process holds the lock file; asked with a shared lock, which is given back at once."""
    try:
        with path.open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no such file: never locked
        return False
    return False
