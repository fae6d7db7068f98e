"""``maskline doctor``: whether the main job can run here, and what to do where it cannot."""

import json
import os
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import click

from maskline.cli.entry import errors_to_exit_code, params_option

if TYPE_CHECKING:
    from maskline.doctor.findings import Finding

_STYLES = {"ok": "green", "warning": "yellow", "fault": "bold red"}


@click.command()
@params_option
@click.option("--network", is_flag=True, help="Also ask the data set's download address, 5 seconds at most.")
@click.option("--fix", is_flag=True, help="First fix what a kill of dvc has left, where that is certain.")
@click.option("--quiet", is_flag=True, help="With --fix: fix only, check nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@errors_to_exit_code
def main(*, params_path: Path, network: bool, fix: bool, quiet: bool, as_json: bool) -> None:
    """Check that dvc repro can run here, and say what to do where it cannot.

    Run it in the project's folder. Without --fix nothing is changed, and no network is used without --network. A
    warning leaves the main job running, a fault does not: with a fault the exit code is 1.

    --fix fixes what a kill of dvc leaves: a torn dvc.lock, a torn list of who reads and writes (.dvc/tmp/rwlock), and
    HEAD that a killed dvc exp run has taken off its branch; and, without --quiet, it removes the copies of the project
    that killed runs of dvc exp run --temp or a queue have left in .dvc/tmp/exps. It says what it did, a line each,
    keeps what was torn in .maskline, and leaves everything alone while a dvc command is at work here.
    """
    if quiet and not fix:
        raise click.UsageError("--quiet goes with --fix.")
    mended = _fix(params_path, removes=not quiet, aloud=not as_json) if fix else []
    findings = [] if quiet else list(examine(params_path, network=network))
    well = all(each.state != "fault" for each in findings)
    if as_json:
        report = {"ok": well, "checks": [each.to_dict() for each in findings]}
        click.echo(json.dumps(report | ({"mended": mended} if fix else {}), indent=2))
    elif findings:
        _print(findings)
    sys.exit(0 if well else 1)


def examine(params_path: Path, *, network: bool) -> "Iterator[Finding]":
    """Yield the outcome of every check; the project's folder is the params file's."""
    from maskline.doctor import left_runs, machine, project
    from maskline.runtime.processes import waiting

    root = params_path.resolve().parent
    yield machine.python()
    yield machine.path_python()
    yield from machine.packages(root / "requirements.lock")
    yield project.package(root)
    finding, params = project.settings(params_path)
    yield finding
    if params:
        yield project.left_out(params_path, params)
    yield project.schema(root / "params.schema.json")
    train = params.train if params else None
    yield from machine.torch_state(threads=train.threads if train else None, device=train.device if train else None)
    yield machine.load(mean=waiting.load(), processors=os.cpu_count() or 1)
    yield machine.torchvision()
    yield project.pipeline(root / "dvc.yaml")
    yield from project.dvc(root)
    yield project.git(root)
    yield left_runs.left_over(root)
    yield machine.disk(root)
    yield machine.writable("project folder", root, remedy="make it writable for this user: chmod u+w")
    yield machine.writable(
        "dvc cache", project.cache_folder(root / ".dvc"), remedy="name another: dvc cache dir --local FOLDER"
    )
    yield machine.writable(
        "dvc index",
        project.site_cache(root / ".dvc"),
        remedy="name a folder of your own in the environment variable DVC_SITE_CACHE_DIR",
    )
    if params:
        yield project.source(params.data, root=root, environment=os.environ, network=network)


def _fix(params_path: Path, *, removes: bool, aloud: bool) -> list[str]:
    """Fix the project's folder, the params file's, and say at once what was done; return it."""
    from maskline.doctor.fixing import fix
    from maskline.doctor.left_runs import remove_left_runs

    root, done = params_path.resolve().parent, []
    for line in chain(fix(root), remove_left_runs(root) if removes else ()):
        done.append(line)
        if aloud:
            click.echo(line)
    return done


def _print(found: "list[Finding]") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("check", "state", "found", "remedy")
    for each in found:
        table.add_row(each.check, Text(each.state, _STYLES[each.state]), Text(each.found), Text(each.remedy))
    console = Console()
    if not console.is_terminal:  # a table in a file or a pipe is as wide as it needs to be
        console = Console(width=200)
    console.print(table)
    faults = [each for each in found if each.state == "fault"]
    console.print(f"{len(faults)} faults: dvc repro cannot run here" if faults else "dvc repro can run here")
