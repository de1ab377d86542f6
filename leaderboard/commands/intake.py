"""`certboard intake`: what the workflows do with a stranger's submission, which stays data."""

from datetime import date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from leaderboard.commands import _options
from leaderboard.common.errors import InputError
from leaderboard.common.formatting import plural
from leaderboard.common.progress import tell
from leaderboard.common.project import find_project

_HELP = """Steps of the workflows that take in submissions.

\b
Example:
  certboard intake prepare my-net
"""

command = typer.Typer(help=_HELP, no_args_is_help=True)

CommitArgument = Annotated[
    str, typer.Argument(help="The full commit hash, 40 digits", show_default=False)
]


class Others(StrEnum):
    """What is done about a change of somebody else's submission."""

    REFUSE = "refuse"
    ALLOW = "allow"


@command.command()
def scope(
    base: CommitArgument,
    head: CommitArgument,
    author: Annotated[
        str, typer.Option(help="The account that opened the pull request", show_default=False)
    ],
    others: Annotated[
        Others,
        typer.Option(help="Whether changes to others' submissions are allowed; maintainers only"),
    ] = Others.REFUSE,
) -> None:
    """Print the one submission that a branch changes; refuse a branch that changes more.

    A submission is changed by its owners only: by the accounts that the base's manifest names.

    \b
    Example:
      certboard intake scope $BASE $HEAD --author octocat
    """
    from leaderboard.submissions.ownership import scope_of

    project = find_project()
    slug, foreign = scope_of(project, base, head, author)
    if foreign and others == Others.REFUSE:
        raise InputError(*foreign)
    for problem in foreign:
        tell(f"allowed by a maintainer: {problem}")
    print(slug)


@command.command()
def take(commit: CommitArgument, slug: _options.Slug) -> None:
    """Copy a submission's files, and nothing else, from a commit into its folder.

    \b
    Example:
      certboard intake take $COMMIT my-net
    """
    from leaderboard.submissions.branches import take_files

    project = find_project()
    folder = take_files(project, commit, slug)
    print(f"{folder.relative_to(project.root)}: {plural(len(list(folder.iterdir())), 'file')}")


@command.command()
def prepare(slug: _options.Slug) -> None:
    """Download a submission's weights and data for later offline steps; print yes or no.

    "no": the data cannot be had here, so that no first look can be taken at it.

    \b
    Example:
      certboard intake prepare my-net
    """
    from leaderboard.intake.fetching import fetch_all

    missing = fetch_all(find_project(), slug)
    if missing:
        tell(missing)
    print("no" if missing else "yes")


@command.command()
def salt(slug: _options.Slug) -> None:
    """Draw the salt of a smoothed model's noise, once and for all, before it is evaluated.

    It is kept in site/data/salts/. One that is there already stays; a plain network needs none.

    \b
    Example:
      certboard intake salt my-net
    """
    from leaderboard.board.noise_salts import draw_salt
    from leaderboard.submissions.manifest import load_submission

    project = find_project()
    found = draw_salt(project, load_submission(project, slug))
    if found is None:
        print(f"{slug}: is not smoothed and needs no salt")
    elif not found.salt:
        print(f"{slug}: was evaluated before there were salts and keeps its seeds")
    else:
        print(f"{slug}: its salt was drawn at {found.drawn}")


@command.command()
def gather(
    slug: _options.Slug,
    folder: Annotated[
        Path,
        typer.Argument(help="A folder of results for each job"),
    ],
    results: Annotated[Path, typer.Option(help="Where `certboard run` will go on with them")],
) -> None:
    """Copy the shards that several jobs have finished, unread, to where an evaluation goes on.

    \b
    Example:
      certboard intake gather my-net shares --results evaluated
    """
    from dataclasses import replace

    from leaderboard.intake.gathering import gather as gather_shards

    count = gather_shards(replace(find_project(), results_folder=results), slug, folder)
    print(f"finished shards of {plural(count, 'job')} gathered")


AgainOption = Annotated[
    float, typer.Option(min=0, help="Seconds per file for measuring certificates again")
]


@command.command()
def accept(
    slug: _options.Slug,
    folder: Annotated[Path, typer.Argument(help="A folder that contains <setting>/<slug>.parquet")],
    again: AgainOption = 60.0,
    sandbox: _options.Sandbox = "off",
) -> None:
    """Check results that were computed elsewhere, and store them if every row passes.

    \b
    Example:
      certboard intake accept my-net results
    """
    from leaderboard.intake.acceptance.folder import accept_folder

    count, missing = accept_folder(find_project(), slug, folder, sandbox=sandbox, again=again)
    print(f"{plural(count, 'result')} of {slug} accepted")
    if missing:
        tell(f"{slug} competes in these, too, of which nothing came: {', '.join(missing)}")


@command.command()
def replay(
    slug: _options.Slug,
    folder: Annotated[Path, typer.Argument(help="A folder that contains <setting>/<slug>.parquet")],
    again: AgainOption = 0.0,
) -> None:
    """Run a model on the rows of its results; `accept` does this in a sandbox.

    \b
    Example:
      certboard intake replay my-net results
    """
    from leaderboard.intake.acceptance.replay import replay_folder

    replay_folder(find_project(), slug, folder, again)


@command.command()
def nightly(
    day: Annotated[
        str | None,
        typer.Option(help="The day whose sample is drawn, such as 2026-11-21; default: today"),
    ] = None,
    evaluations: Annotated[
        int, typer.Option(min=1, help="Number of stored evaluations in the sample")
    ] = 3,
    examples: Annotated[
        int, typer.Option(min=1, help="Number of examples of each evaluation")
    ] = 20,
) -> None:
    """Measure a daily sample of stored verdicts again and compare.

    \b
    Example:
      certboard intake nightly --day 2026-11-21 --evaluations 1
    """
    from leaderboard.recheck.nightly import compare_samples

    compare_samples(find_project(), _day(day), evaluations, examples)


def _day(text: str | None) -> date:
    if text is None:
        return date.today()
    try:
        return datetime.strptime(text, "%Y-%m-%d").date()
    except ValueError:
        raise InputError(f"--day is '{text}'; it must be a day such as 2026-11-21.") from None
