"""`certboard inspect`: networks, looked at for flags."""

from typing import Annotated

import typer

from leaderboard.commands import _options
from leaderboard.common.formatting import plural
from leaderboard.common.memory import uncollected
from leaderboard.common.progress import tell
from leaderboard.common.project import find_project


def command(
    slugs: _options.Slugs = None,
    again: Annotated[
        bool, typer.Option("--again", help="Repeat earlier comparisons on fresh images")
    ] = False,
) -> None:
    """Store fingerprints of networks, and show signs of fraud or a mistake.

    \b
    Example:
      certboard inspect my-net --again
    """
    with uncollected():
        from leaderboard.board.own_flags import flag_sentences
        from leaderboard.evaluation.recognition import recognise
        from leaderboard.submissions.catalogue import chosen_submissions

    project = find_project()
    chosen = chosen_submissions(project, slugs or ())
    for submission in chosen.values():
        recognise(project, submission, again=again)
    sentences = flag_sentences(project, chosen)
    for sentence in sentences:
        tell(sentence)
    print(f"{plural(len(chosen), 'submission')} inspected, {plural(len(sentences), 'flag')}")
