"""``maskline params``: every key with its value, and what one key means."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from maskline.cli.entry import errors_to_exit_code, params_option


@click.command()
@click.argument("key", required=False)
@params_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@errors_to_exit_code
def main(*, key: str | None, params_path: Path, as_json: bool) -> None:
    """Print every key with its value and where that comes from; or explain KEY.

    Without KEY: the whole file as YAML, those keys too that params.yaml leaves out. With KEY, a key or a section
    (optimizer.lr, model.decode_head, model.auxiliary_heads.0.channels): what it means, type and range, default, value
    here, which stages read it, and the line that sets it.
    """
    from maskline.projects.params_overview import overview

    whole = overview(params_path)
    if key is not None:
        from maskline.projects.params_key import explain

        explained = explain(whole, key)
        click.echo(json.dumps(asdict(explained), indent=2) if as_json else "\n".join(explained.lines()))
    elif as_json:
        click.echo(json.dumps([asdict(value) for value in whole.values.values()], indent=2))
    else:
        click.echo(whole.yaml())
