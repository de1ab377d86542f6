"""`certboard list`: what there is to choose from."""

import json
from enum import StrEnum
from typing import Annotated

import typer

from leaderboard.commands import _options


class Topic(StrEnum):
    """What `certboard list` can list."""

    EVALUATORS = "evaluators"
    SETTINGS = "settings"
    DATASETS = "datasets"
    TAXONOMY = "taxonomy"
    RECIPES = "recipes"


def command(
    catalogue: Annotated[Topic, typer.Argument(help="What to list", case_sensitive=False)],
    as_json: _options.Json = False,
) -> None:
    """List evaluators, settings, datasets, the taxonomy or training recipes.

    \b
    Examples:
      certboard list evaluators
      certboard list settings --json
    """
    from leaderboard.common.progress import show_table
    from leaderboard.evaluation.choices import ENTRIES

    entries = ENTRIES[catalogue]()
    if as_json:
        print(json.dumps(entries))
        return
    # Not in the table: the id says it already.
    hidden = ("dataset",) if catalogue is Topic.SETTINGS else ()
    show_table(entries, hidden)
