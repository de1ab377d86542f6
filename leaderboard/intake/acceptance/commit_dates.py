"""When something was committed, as far as Git knows it here: nothing about it can be older."""

import subprocess
from datetime import datetime
from pathlib import Path


def date_of_commit(folder: Path, commit: str) -> datetime | None:
    """Return when a commit was made that this checkout is made of; None if it is no such commit."""
    if _told(folder, "merge-base", "--is-ancestor", commit, "HEAD") is None:
        return None
    return _date(_told(folder, "show", "--no-patch", "--format=%cI", commit))


def date_of_file(folder: Path, path: Path) -> datetime | None:
    """Return when the present content of a file was committed; None where it is not.

    A file that differs from the commit's has no date yet.
    """
    place = str(path)
    if _told(folder, "diff", "--quiet", "HEAD", "--", place) is None:
        return None
    return _date(_told(folder, "log", "-1", "--format=%cI", "--", place))


def _date(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _told(folder: Path, *arguments: str) -> str | None:
    """What Git says; None if it fails, or is not there."""
    # Nothing that a repository's own configuration names is run, and nothing is locked.
    quiet = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null")
    command = ["git", "--no-optional-locks", *quiet, "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
