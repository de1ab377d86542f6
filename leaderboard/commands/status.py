"""`certboard status`: how far evaluations are."""

from pathlib import Path
from typing import Annotated

import typer

from leaderboard.commands import _options
from leaderboard.common.formatting import plural
from leaderboard.common.project import find_project


def command(
    slugs: _options.Slugs = None,
    results: Annotated[
        Path | None, typer.Option(help="Look here instead of in site/data/results")
    ] = None,
    as_json: _options.Json = False,
) -> None:
    """Report the progress of evaluations, also of a run in another shell or one that was killed.

    Complete ones are counted, and listed where submissions are named or with --json.

    \b
    Examples:
      certboard status
      certboard status my-net --json
    """
    import json
    from dataclasses import replace

    from leaderboard.common.formatting import seconds
    from leaderboard.common.progress import show_table
    from leaderboard.evaluation.status import progress_of

    found = progress_of(replace(find_project(), results_folder=results), slugs or ())
    if as_json:
        print(json.dumps(found))
        return
    listed = [one for one in found if slugs or one["state"] != "complete"]
    if listed:
        left = [one.pop("seconds_left") for one in listed]
        show_table(
            [
                one | {"left": None if time is None else seconds(float(time))}
                for one, time in zip(listed, left, strict=True)
            ]
        )
    if count := len(found) - len(listed):
        print(f"{plural(count, 'evaluation')} complete; to see them, name a submission.")
    elif not listed:
        print("No evaluation was begun.")
