"""`certboard data`: datasets on this machine."""

from typing import Annotated

import typer

from leaderboard.commands import _names

command = typer.Typer(
    help="Download datasets.\n\n\b\nExample:\n  certboard data fetch mnist", no_args_is_help=True
)


@command.callback()
def _datasets() -> None:
    """Datasets."""


@command.command("fetch")
def fetch_data(
    dataset: Annotated[
        str, _names.name_argument(_names.datasets, help="A dataset: see `certboard list datasets`")
    ],
) -> None:
    """Download a dataset into the cache and verify it.

    \b
    Example:
      certboard data fetch mnist
    """
    from leaderboard.datasets.catalogue import fetch

    print(f"{dataset} is in {fetch(dataset)}")
