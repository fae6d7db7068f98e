"""A long fuzz: ``python -m tests.fuzz --minutes 20``. What it shows goes into corpus.json, once it is mended.

Criterion: whatever a document holds, a command ends in an error that names place and remedy, never in a traceback, and
in less than ten seconds of a processor and 8 GiB of address space more than at the start.
"""

import json
import resource
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

import click
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import maskline
from tests.fuzz.changes import changes, damage
from tests.fuzz.targets import TARGETS, check

_EXAMPLES = 100  # of a target at a time
_SLOW_S = 10
_ROOM = 8 << 30


@click.command()
@click.option("--minutes", type=float, default=20, show_default=True)
@click.option("--target", "names", type=click.Choice(sorted(TARGETS)), multiple=True, help="These alone.")
def main(minutes: float, names: tuple[str, ...]) -> None:
    """Fuzz every target in turn; exit code 1 where one fails."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + _ROOM, used + _ROOM))
    end, known, counts = time.monotonic() + 60 * minutes, set[str](), dict.fromkeys(names or TARGETS, 0)
    while time.monotonic() < end:
        for name in counts:
            if time.monotonic() < end:
                counts[name] += _round(name, known)
    click.echo(f"{minutes:g} minutes, {sum(counts.values())} documents: {counts}; {len(known)} failures")
    sys.exit(bool(known))


def _round(name: str, known: set[str]) -> int:
    """Try some documents; print each failure of a kind that is not known yet."""
    count = 0

    @settings(
        max_examples=_EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(changes, st.none() | st.none() | damage)
    def one(listed: Any, hurt: Any) -> None:
        nonlocal count
        count += 1
        folder, start, kind = Path(tempfile.mkdtemp()), time.process_time(), ""
        try:
            check(name, listed, hurt, folder)
        except Exception as error:
            kind = f"{name}: {type(error).__name__} at {_place(error)}: {str(error)[:200]!r}"
            key = f"{name}: {type(error).__name__} at {_place(error)}"
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        if not kind and time.process_time() - start > _SLOW_S:
            kind = key = f"{name}: more than {_SLOW_S} s"
        if kind and key not in known:
            known.add(key)
            click.echo(f"{kind}\n    {json.dumps([name, listed, hurt])}")

    one()
    return count


def _place(error: Exception) -> str:
    """Return the last line of ours that an error came through."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(maskline.__file__).parent in Path(frame.filename).parents] or frames
    return f"{Path(own[-1].filename).name}:{own[-1].lineno}"


if __name__ == "__main__":
    main()
