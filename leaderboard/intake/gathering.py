"""Finished shards of several jobs, each of which may have been a stranger's, brought together."""

from pathlib import Path

from leaderboard.common.errors import InputError
from leaderboard.common.project import Project
from leaderboard.evaluation.parts import carry, folder_of
from leaderboard.results.store import results_path
from leaderboard.settings.setting import load_settings
from leaderboard.submissions.manifest import load_submission, settings_for

_MOST = 1000
"""Folders of jobs."""


def gather(project: Project, slug: str, folder: Path) -> int:
    """Copy what jobs have finished of a submission to where `certboard run` goes on with it.

    Its finished shards are copied and nothing else, unread: they are a stranger's files. Of those
    of one name the first is taken; a setting that has its result already needs none.

    Args:
        project: whose results folder they are copied to.
        slug: the submission.
        folder: of the folders of results that jobs left, one each.

    Returns:
        From how many jobs something was taken.

    Raises:
        InputError: it is no folder, or something there cannot be copied as a plain file.
    """
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}.")
    submission = load_submission(project, slug)
    jobs = sorted(one for one in folder.iterdir() if one.is_dir() and not one.is_symlink())
    if len(jobs) > _MOST:
        raise InputError(f"{folder}: has {len(jobs):,} folders; at most {_MOST:,} fit.")
    used = set[Path]()
    for setting in settings_for(submission, load_settings()):
        target = results_path(project, setting.id, slug)
        for job in () if target.exists() else jobs:
            source = job / setting.id / target.name
            if folder_of(source).is_dir():
                carry(source, target, missing=True)
                used.add(job)
    return len(used)
