"""Fixtures that more than one folder of tests uses."""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import maskline  # noqa: F401 - before a test imports onnxruntime, whose telemetry it turns off

# How long an example takes says how busy the machine is, not whether the code is right.
settings.register_profile("any_machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any_machine")

# Said already, so that no stage of a test looks how busy the machine is (machine.wait), and none logs it.
os.environ.setdefault("GOMP_SPINCOUNT", "0")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def _settings_of_torch():
    """What a stage that a test runs here sets for its whole process ends with the test."""
    torch = sys.modules.get("torch")
    threads, deterministic = int(os.environ.get("OMP_NUM_THREADS", "0")), False
    if torch is not None:
        threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.use_deterministic_algorithms(deterministic)
        torch.set_num_threads(threads or torch.get_num_threads())


def _shared(name: str) -> Path:
    folder = ROOT.parent / "shared" / name
    if not folder.is_dir():
        pytest.skip(f"needs the folder ../shared/{name} beside the checkout")
    return folder


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def committed(root):
    """Return a function that gives the bytes of a file as it is committed.

    A run rewrites reports and dvc.lock in the checkout, on another processor with other numbers; the documents tell of
    the committed run.
    """

    def git(*arguments):
        return subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=False)

    top = git("rev-parse", "--show-toplevel", "HEAD") if shutil.which("git") else None
    if top is None or top.returncode or Path(top.stdout.decode().splitlines()[0]).resolve() != root:
        pytest.skip("needs the committed run, and this is no clone that git can read")

    def read(name):
        shown = git("show", f"HEAD:{name}")
        assert shown.returncode == 0, shown.stderr.decode()
        return shown.stdout

    return read


@pytest.fixture(scope="session")
def shipped_params(tmp_path_factory):
    """params.yaml as it is committed, in a folder of its own: ``dvc exp run -S`` changes the one of the checkout."""
    from maskline.projects import resources

    path = tmp_path_factory.mktemp("shipped") / "params.yaml"
    path.write_bytes(resources.shipped_params().read_bytes())
    path.chmod(0o444)
    return path


@pytest.fixture(scope="session")
def finished_project(root, tmp_path_factory):
    """A copy of the project in which the whole pipeline has run with tiny settings; for copying only.

    Of several workers, the first that needs it makes it for all.
    """
    from tools.trial import TINY, Project, copy_of

    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "finished"
    printed = folder / "printed.txt"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if printed.exists():
            project = Project(folder / "project", folder / "site")
            project.printed = printed.read_text(encoding="utf-8")
            return project
        shutil.rmtree(folder, ignore_errors=True)  # where another worker failed
        project = copy_of(root, folder, TINY)
        project.run("python", "-m", "tools.plots_page")  # as make does
        project.printed = project.run("dvc", "repro")
        project.commit("run")
        printed.write_text(project.printed, encoding="utf-8")
    return project


@pytest.fixture(scope="module")
def finished_copy(finished_project, tmp_path_factory):
    """A copy of ``finished_project`` to work in."""
    return finished_project.duplicate(tmp_path_factory.mktemp("copy"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Archives of real data sets."""
    return _shared("data")


@pytest.fixture(scope="session")
def shared_conformance() -> Path:
    """Numbers that MMSegmentation computed."""
    return _shared("conformance")


@pytest.fixture(scope="session")
def shared_cases() -> Path:
    """Programs that draw small sets as people's tools write them."""
    return _shared("cases")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let each of several workers begin with long tests, and all end together.

    xdist's worksteal gives each worker a part of the list; one that has done its part takes from the end of another's,
    where the short tests stand for it. Modules stay whole, for their fixtures. The first worker begins with what copies
    ``finished_project``, the others with what does not, so that none waits for it.
    """
    workers = getattr(config, "workerinput", {}).get("workercount", 1)
    if workers == 1:
        return
    modules: dict[str, list[pytest.Item]] = {}
    for item in items:
        modules.setdefault(item.nodeid.split("::")[0], []).append(item)
    long = [tests for tests in modules.values() if any(item.get_closest_marker("pipeline") for item in tests)]
    short = [item for tests in modules.values() if tests not in long for item in tests]
    items.clear()
    for worker, left in zip(range(workers), range(workers, 0, -1), strict=True):
        begin = sorted(long[worker::workers], key=lambda tests: _copies_finished(tests) != (worker == 0))
        own = [item for tests in begin for item in tests]
        still_long = sum(len(tests) for later in range(worker + 1, workers) for tests in long[later::workers])
        size = (len(own) + len(short) + still_long) // left  # as xdist divides
        count = max(0, size - len(own))
        items += own + short[:count]
        short = short[count:]
    items += short


def _copies_finished(tests: list[pytest.Item]) -> bool:
    return any("finished_project" in getattr(item, "fixturenames", ()) for item in tests)


SHARED_FIXTURES = {f"shared_{name}": f"../shared/{name}" for name in ("data", "conformance", "cases")}


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Mark each report of a test that reads a folder beside the checkout."""
    for fixture, folder in SHARED_FIXTURES.items():
        if fixture in getattr(item, "fixturenames", ()):
            item.user_properties.append(("reads", folder))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests read the folders beside the checkout, to show in a log whether they ran."""
    for folder in SHARED_FIXTURES.values():
        counts = {
            outcome: sum(
                ("reads", folder) in report.user_properties for report in terminalreporter.stats.get(outcome, [])
            )
            for outcome in ("passed", "failed", "skipped")
        }
        terminalreporter.write_line(f"tests that read {folder}: " + ", ".join(f"{n} {o}" for o, n in counts.items()))


@pytest.fixture
def mounted_disk(tmp_path):
    """Return a function that mounts a tmpfs of a size; it gives the folder and what makes it read-only."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a disk")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounts = []

    def mount(*options):
        done = subprocess.run(["mount", *options, str(folder)], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"cannot mount here: {done.stderr.strip()}")

    def make(size):
        mount("-t", "tmpfs", "-o", f"size={size}", "none")
        mounts.append(folder)
        return folder, lambda: mount("-o", "remount,ro")

    yield make
    for mounted in mounts:
        subprocess.run(["umount", str(mounted)], check=True)
