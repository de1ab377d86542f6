"""`certboard serve`: the website on this machine."""

from typing import Annotated

import typer

from leaderboard.common.memory import uncollected
from leaderboard.common.project import find_project


def command(
    port: Annotated[int, typer.Option(help="The local port to serve on")] = 8000,
) -> None:
    """Build the website, show it on this machine, and rebuild it when a page changes.

    \b
    Example:
      certboard serve --port 8080
    """
    with uncollected():
        from leaderboard.website.build import serve

    print(f"http://127.0.0.1:{port}/ (Ctrl-C stops)")
    serve(find_project(), port)
