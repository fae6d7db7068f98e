"""``maskline docs``: the pages of this very version, in a browser or in the terminal."""

import webbrowser
from pathlib import Path

import click

from maskline.cli.entry import PATH, errors_to_exit_code


@click.command()
@click.argument("page", default="index")
@click.option("--list", "as_list", is_flag=True, help="Print the names of all pages.")
@click.option("--print", "as_text", is_flag=True, help="Print the page instead of opening it.")
@click.option("--out", type=PATH, default=None, help="Write the pages as HTML into this folder; opens none.")
@errors_to_exit_code
def main(*, page: str, as_list: bool, as_text: bool, out: Path | None) -> None:
    """Open a page of the documentation, such as training or how-to/training; without PAGE its start.

    Where there is no browser, the page is printed.
    """
    from maskline.projects import docs_pages

    if as_list:
        names = docs_pages.pages()
        width = max(map(len, names))
        click.echo("\n".join(f"{name:<{width}}  {title}" for name, title in names.items()))
        return
    name = docs_pages.find(page)
    if out is not None:
        click.echo(docs_pages.write_site(out) / f"{name}.html")
    elif as_text or not _opened(name):
        _print(docs_pages.text(name))


def _opened(name: str) -> bool:
    """Open the page in a browser; False where there is none."""
    from maskline.projects import docs_pages

    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        return False
    path = docs_pages.write_site(None) / f"{name}.html"
    click.echo(path)
    return browser.open(path.resolve().as_uri())


def _print(text: str) -> None:
    from rich.console import Console
    from rich.markdown import Markdown

    console = Console()
    if console.is_terminal:
        console.print(Markdown(text))
    else:
        click.echo(text, nl=False)
