"""The ``maskline`` command: a group whose commands are imported when they are called, not before."""

import difflib
import importlib
from typing import NoReturn

import click

from maskline import __version__
from maskline.cli.entry import OneLineCommand

# Name -> one line of help, which the list of commands shows without importing them.
COMMANDS = {
    "audit": "Which labels are most likely wrong, and why.",
    "compare": "Whether two revisions or experiments differ, and how surely.",
    "docs": "Open a page of the documentation.",
    "doctor": "Check that dvc repro can run here.",
    "explain": "Show how training will treat each tensor.",
    "folds": "A model a fold as DVC experiments, and all as one.",
    "import-weights": "Turn MMSegmentation, SMP and timm weights into a model folder.",
    "metrics": "All scores of a run as tables.",
    "name": "Print what an experiment is called.",
    "new": "Make a project of one's own.",
    "next": "Which images to label next.",
    "params": "Print every key with its value, or explain one.",
    "plan": "Params for a data set, this machine and a time.",
    "predict": "Segment images with a trained or exported model.",
    "recipe": "List, show and use ready params files.",
    "replay": "Show one training sample: before, after, and what was drawn.",
    "summary": "Print parameters and multiply-adds of a network.",
    "sweep-seeds": "The same run with other seeds, as DVC experiments.",
    "tune": "Measure what computes fastest here and write it into params.yaml.",
    "verify": "Train again from a model's receipt and say what differs.",
    "watch": "The curves of a run while it trains.",
    "zoo": "MMSegmentation's published checkpoints by name.",
}


class LazyGroup(OneLineCommand, click.Group):
    """Finds the command NAME as ``main`` of ``maskline.commands.NAME``, with underscores for hyphens."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all names; imports nothing."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command."""
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"maskline.commands.{cmd_name.replace('-', '_')}").main
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or fail with the nearest name."""
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            _unknown(ctx, args[0])
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from the table above."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))


def _unknown(ctx: click.Context, name: str) -> NoReturn:
    near = difflib.get_close_matches(name, COMMANDS, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"commands: {', '.join(sorted(COMMANDS))}"
    ctx.fail(f"no command {name!r}; {hint}")


@click.group(cls=LazyGroup)
@click.version_option(__version__, prog_name="maskline")
def main() -> None:
    """Semantic segmentation that can be reproduced."""


if __name__ == "__main__":
    main()
