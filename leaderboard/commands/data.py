"""`certboard data`: datasets on this machine."""

from typing import Annotated

import typer

command = typer.Typer(help="Download datasets.", no_args_is_help=True)


@command.callback()
def _datasets() -> None:
    """Datasets."""


@command.command("fetch")
def fetch_data(
    dataset: Annotated[str, typer.Argument(help="A dataset: see `certboard list datasets`")],
) -> None:
    """Download a dataset into the cache and verify it."""
    from leaderboard.datasets.catalogue import fetch

    print(f"{dataset} is in {fetch(dataset)}")
