"""Commands of the workflows that take in submissions: what is a stranger's stays data."""

from datetime import date, datetime
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from leaderboard.commands import app
from leaderboard.commands.evaluating import SandboxOption, check_sandbox
from leaderboard.common.errors import BugError, InputError
from leaderboard.common.formatting import plural
from leaderboard.common.progress import tell
from leaderboard.common.project import find_project
from leaderboard.common.text import check_account
from leaderboard.settings.setting import find_setting, load_settings
from leaderboard.submissions.manifest import load_submission, settings_for

intake = typer.Typer(help="Steps of the workflows that take in submissions.", no_args_is_help=True)
app.add_typer(intake, name="intake")

CommitArgument = Annotated[str, typer.Argument(help="All 40 digits", show_default=False)]
SlugArgument = Annotated[str, typer.Argument(help="A submission", show_default=False)]


class Others(StrEnum):
    """What is done about a change of somebody else's submission."""

    REFUSE = "refuse"
    ALLOW = "allow"


@intake.command()
def scope(
    base: CommitArgument,
    head: CommitArgument,
    author: Annotated[
        str, typer.Option(help="The account that opened the request", show_default=False)
    ],
    others: Annotated[
        Others, typer.Option(help="Changes of others' submissions; only maintainers allow them")
    ] = Others.REFUSE,
) -> None:
    """Print the one submission that a branch changes; refuse a branch that changes more.

    A submission is changed by its owners only: by the accounts that the base's manifest names.
    """
    from leaderboard.submissions.branches import changed_submission
    from leaderboard.submissions.ownership import foreign

    project = find_project()
    slug = changed_submission(project, base, head)
    problems = foreign(project, base, head, slug, check_account(author))
    if problems and others == Others.REFUSE:
        raise InputError(*problems)
    for problem in problems:
        tell(f"allowed by a maintainer: {problem}")
    print(slug)


@intake.command()
def take(commit: CommitArgument, slug: SlugArgument) -> None:
    """Put a submission's files, as they are in a commit, into its folder; nothing else of it."""
    from leaderboard.submissions.branches import take as take_files

    project = find_project()
    folder = take_files(project, commit, slug)
    print(f"{folder.relative_to(project.root)}: {plural(len(list(folder.iterdir())), 'file')}")


@intake.command()
def prepare(slug: SlugArgument) -> None:
    """Fetch a submission's weights and data, for what follows has no network; print yes or no.

    "no": the data cannot be had here, so that no first look can be taken at it.
    """
    from leaderboard.datasets.catalogue import fetch, find_dataset, load_split

    project = find_project()
    submission = load_submission(project, slug)
    submission.parts(project)
    dataset = find_dataset(submission.model.dataset)
    if dataset.downloads:
        fetch(dataset.name)
    try:
        load_split(dataset.name)
    except InputError as error:
        tell(str(error))
        print("no")
    else:
        print("yes")


AgainOption = Annotated[
    float, typer.Option(min=0, help="Seconds in which certificates of each file are measured again")
]


@intake.command()
def accept(
    slug: SlugArgument,
    folder: Annotated[Path, typer.Argument(help="With <setting>/<slug>.parquet")],
    again: AgainOption = 60.0,
    sandbox: SandboxOption = "off",
) -> None:
    """Move results that were made elsewhere to their place, if every row of them fits."""
    from leaderboard.intake.acceptance import Arrival, accepted, keep
    from leaderboard.results.store import results_path

    check_sandbox(sandbox)
    project = find_project()
    submission = load_submission(project, slug)
    problems: list[str] = []
    arrivals: list[Arrival] = []
    for path in _files(folder):
        where = path.relative_to(folder)
        if where.as_posix() == f"checks/{slug}.json" and not path.is_symlink():
            continue  # worked out again here, from the model
        try:
            if len(where.parts) != 2 or where.name != f"{slug}.parquet":
                raise InputError(
                    f"{where}: only <setting>/{slug}.parquet and checks/{slug}.json are accepted."
                )
            setting = find_setting(where.parts[0])
            found = accepted(path, project, submission, setting)
        except InputError as error:
            problems += error.problems
        else:
            arrivals.append(Arrival(found, setting, results_path(project, setting.id, slug)))
    if not arrivals and not problems:
        problems.append(f"{folder}: has no results.")
    if problems:
        raise InputError(*problems)
    keep(project, submission, arrivals, sandbox, again)
    print(f"{plural(len(arrivals), 'result')} of {slug} accepted")
    present = {one.setting.id for one in arrivals}
    missing = [s.id for s in settings_for(submission, load_settings()) if s.id not in present]
    if missing:
        tell(f"{slug} competes in these, too, of which nothing came: {', '.join(missing)}")


_MOST_FILES = 200


def _files(folder: Path) -> list[Path]:
    """What lies in an artifact, folders apart.

    Raises:
        InputError: it is more than any evaluation leaves.
    """
    found = list(islice(folder.rglob("*"), _MOST_FILES + 1))
    if len(found) > _MOST_FILES:
        raise InputError(f"{folder}: has more than {_MOST_FILES} files and folders.")
    return sorted(one for one in found if one.is_symlink() or not one.is_dir())


@intake.command()
def replay(
    slug: SlugArgument,
    folder: Annotated[Path, typer.Argument(help="With <setting>/<slug>.parquet")],
    again: AgainOption = 0.0,
) -> None:
    """Run a model on what results say of it; `accept` does it in a process behind walls."""
    from leaderboard.intake.acceptance_replay import replay as replay_all

    replay_all(find_project(), slug, folder, again)


@intake.command()
def nightly(
    day: Annotated[str | None, typer.Option(help="Such as 2026-11-21; default: today")] = None,
    evaluations: Annotated[int, typer.Option(min=1, help="Stored evaluations to look at")] = 3,
    examples: Annotated[int, typer.Option(min=1, help="Examples of each")] = 20,
) -> None:
    """Measure a daily sample of stored verdicts again and compare."""
    from leaderboard.recheck import nightly as sampling

    project = find_project()
    differences = []
    for drawn in sampling.draw(project, _day(day), evaluations, examples):
        rows = sampling.measure_again(project, drawn)
        found = list(sampling.compare(drawn, rows))
        differences += found
        same = len(rows) - len(found)
        print(f"{drawn.submission.slug} · {drawn.setting.id}: {same} of {len(rows)} as stored")
    for difference in differences:
        print(difference.sentence)
    worst = {difference.kind for difference in differences}
    if "contradiction" in worst:
        raise BugError("a stored verdict is contradicted: one of the two proofs is wrong")
    if "lost" in worst:
        raise InputError("Stored verdicts were not found again, though there was time.")


def _day(text: str | None) -> date:
    if text is None:
        return date.today()
    try:
        return datetime.strptime(text, "%Y-%m-%d").date()
    except ValueError:
        raise InputError(f"--day is '{text}'; it must be a day such as 2026-11-21.") from None
