"""A folder of results that were made elsewhere, moved to their places if every row fits."""

from itertools import islice
from pathlib import Path

from leaderboard.board.noise_salts import require_salt
from leaderboard.common.errors import InputError, Problems
from leaderboard.common.project import Project
from leaderboard.intake.acceptance.accept import Arrival, accepted, keep
from leaderboard.intake.sandbox import check_sandbox
from leaderboard.results.store import results_path
from leaderboard.settings.setting import find_setting, load_settings
from leaderboard.submissions.manifest import load_submission, settings_for

_MOST_FILES = 200


def accept_folder(
    project: Project, slug: str, folder: Path, *, sandbox: str, again: float
) -> tuple[int, list[str]]:
    """Move results that were made elsewhere to their places: all of them, or none.

    Args:
        project: where the submission lies.
        slug: its name.
        folder: with `<setting>/<slug>.parquet`, from a stranger.
        sandbox: off, best or required, for the model is a stranger's, too.
        again: seconds in which certificates of each file are measured again.

    Returns:
        How many results were accepted, and the settings of which nothing came.

    Raises:
        InputError: every reason why they are refused, a sentence each.
    """
    check_sandbox(sandbox)
    submission = load_submission(project, slug)
    require_salt(project, submission)
    problems = Problems()
    arrivals: list[Arrival] = []
    for path in files_of(folder):
        where = path.relative_to(folder)
        if where.as_posix() == f"checks/{slug}.json" and not path.is_symlink():
            continue  # worked out again here, from the model
        with problems.gathered():
            if len(where.parts) != 2 or where.name != f"{slug}.parquet":
                raise InputError(
                    f"{where}: only <setting>/{slug}.parquet and checks/{slug}.json are accepted."
                )
            setting = find_setting(where.parts[0])
            found = accepted(path, project, submission, setting)
            arrivals.append(Arrival(found, setting, results_path(project, setting.id, slug)))
    if not arrivals and not problems:
        problems.append(f"{folder}: has no results.")
    problems.refuse()
    keep(project, submission, arrivals, sandbox, again)
    present = {one.setting.id for one in arrivals}
    missing = [s.id for s in settings_for(submission, load_settings()) if s.id not in present]
    return len(arrivals), missing


def files_of(folder: Path) -> list[Path]:
    """List what lies in an artifact, folders apart.

    Raises:
        InputError: it is more than any evaluation leaves.
    """
    found = list(islice(folder.rglob("*"), _MOST_FILES + 1))
    if len(found) > _MOST_FILES:
        raise InputError(f"{folder}: has more than {_MOST_FILES} files and folders.")
    return sorted(one for one in found if one.is_symlink() or not one.is_dir())
