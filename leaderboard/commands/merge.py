"""`certboard merge`: the shares of a run, joined."""

from pathlib import Path
from typing import Annotated

import typer

from leaderboard.commands import _options
from leaderboard.common.formatting import plural
from leaderboard.common.memory import uncollected
from leaderboard.common.project import find_project


def command(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Folders that `certboard run --shard` wrote its --results to; default: the"
            " project's own",
        ),
    ] = None,
    results: _options.ResultsFolder = None,
) -> None:
    """Join the shares that `certboard run --shard` computed into result files.

    All finished shards must be whole and of one question, code and kind of device, and none may be
    missing; else nothing is written. The model is not run again: `certboard intake accept` does.

    \b
    Examples:
      certboard merge share-1 share-2
      certboard merge --results merged share-*
    """
    with uncollected():
        from dataclasses import replace

        from leaderboard.intake.merge import merge

    project = replace(find_project(), results_folder=results)
    merged = merge(project, folders or [project.results])
    for one in merged:
        print(f"{one.path}: {plural(len(one.rows), 'verdict')}")
