"""A stranger's branch, read as data: which files it changes, and those of a submission.

Nothing of it is checked out. Git is asked for names, kinds and sizes first, and for contents only
of regular files in one submission's folder, within limits.
"""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from leaderboard.errors import InputError
from leaderboard.project import Project
from leaderboard.strict_toml import shown
from leaderboard.submission_files import LARGEST_MODEL, check_slug

_COMMIT = re.compile("[0-9a-f]{40}")
_REGULAR = "100644"
_KINDS = {"100755": "an executable", "120000": "a link", "160000": "another repository"}
_MOST_FILES = 60
_MOST_SHOWN = 20


@dataclass(frozen=True)
class Change:
    """A file that a branch adds, changes or removes; `mode` is Git's, "000000" once removed."""

    path: str
    mode: str

    @property
    def removed(self) -> bool:
        """Whether the branch removes it."""
        return self.mode == "000000"


def check_commit(text: str) -> str:
    """A full commit hash: what was looked at cannot change behind it, as a branch's name can.

    Raises:
        InputError: it is none.
    """
    if not _COMMIT.fullmatch(text):
        raise InputError(f"The commit is {shown(text)}, but must be all 40 hexadecimal digits.")
    return text


def changes(project: Project, base: str, head: str) -> list[Change]:
    """What `head` changes since it left `base`, both full commit hashes.

    Raises:
        InputError: one is no commit here.
    """
    ancestor = _git(project, "merge-base", check_commit(base), check_commit(head)).decode().strip()
    told = _git(project, "diff-tree", "-r", "-z", "--raw", "--no-renames", ancestor, head)
    fields = told.decode("utf-8", "surrogateescape").split("\0")
    # In turn `:old new hash hash status` and the path.
    pairs = zip(fields[0:-1:2], fields[1::2], strict=True)
    return [Change(path, facts.split(" ")[1]) for facts, path in pairs]


def changed_submission(project: Project, base: str, head: str) -> str:
    """The one submission that a branch adds or changes.

    Raises:
        InputError: it changes anything else; a sentence for each such file.
    """
    found = changes(project, base, head)
    if not found:
        raise InputError("The branch changes nothing.")
    slugs = {change.path.split("/")[1] for change in found if _inside(change.path)}
    problems = list(_problems(found))
    if len(slugs) > 1:
        listed = ", ".join(sorted(map(shown, slugs)))
        problems.append(f"The branch changes {listed}; one submission at a time is allowed.")
    if problems:
        more = len(problems) - _MOST_SHOWN
        raise InputError(*problems[:_MOST_SHOWN], *([f"And {more} more."] if more > 0 else []))
    slug = slugs.pop()
    check_slug(slug)
    if all(change.removed for change in found):
        raise InputError(
            f"The branch only removes files of '{slug}'; to withdraw it, say so in submission.toml."
        )
    return slug


def exists_in(project: Project, commit: str, slug: str) -> bool:
    """Whether a commit has a submission of this name."""
    check_slug(slug)
    return bool(_git(project, "ls-tree", check_commit(commit), f"submissions/{slug}"))


def _inside(path: str) -> bool:
    parts = path.split("/")
    return len(parts) == 3 and parts[0] == "submissions"


def _problems(found: list[Change]) -> Iterator[str]:
    for change in found:
        if not _inside(change.path):
            yield (
                f"The branch changes {shown(change.path)}, but a submission may change only files"
                " in submissions/<its slug>/."
            )
        elif not change.removed and change.mode != _REGULAR:
            kind = _KINDS.get(change.mode, f"of Git's kind {shown(change.mode)}")
            yield f"{shown(change.path)} is {kind}, but must be a regular file."


def take(project: Project, commit: str, slug: str) -> Path:
    """Put the files of a submission, as they are in `commit`, into its folder.

    Files that are there and not in the commit are removed.

    Raises:
        InputError: something there is not a regular file, or too large; nothing was changed.
    """
    check_slug(slug)
    where = f"submissions/{slug}"
    told = _git(project, "ls-tree", "-z", "--long", check_commit(commit), f"{where}/")
    entries = [line.split("\t", 1) for line in told.decode("utf-8", "surrogateescape").split("\0")]
    blobs: dict[str, str] = {}
    problems: list[str] = []
    for facts, path in (entry for entry in entries if len(entry) == 2):
        mode, _, blob, size = facts.split()
        if mode != _REGULAR or not _inside(path):
            problems.append(f"{shown(path)} must be a regular file in {where}.")
        elif int(size) > LARGEST_MODEL:
            problems.append(f"{shown(path)} has {int(size):,} bytes; at most {LARGEST_MODEL:,}.")
        else:
            blobs[path.rpartition("/")[2]] = blob
    if not blobs and not problems:
        problems.append(f"There is no {where} in {commit}.")
    if len(blobs) > _MOST_FILES:
        problems.append(f"{where} has {len(blobs)} files; at most {_MOST_FILES} are allowed.")
    if problems:
        raise InputError(*problems)
    return _write(project, slug, blobs)


def _write(project: Project, slug: str, blobs: dict[str, str]) -> Path:
    folder = project.submissions / slug
    if folder.is_symlink():
        raise InputError(f"submissions/{slug} is a link here, but must be a folder.")
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.name not in blobs:
            path.unlink()
    for name, blob in blobs.items():
        path = folder / name
        path.unlink(missing_ok=True)
        path.write_bytes(_git(project, "cat-file", "blob", blob))
    return folder


def _git(project: Project, *arguments: str) -> bytes:
    # What a repository's own configuration or attributes would run is switched off.
    quiet = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null")
    command = ["git", "--no-replace-objects", *quiet, "-C", str(project.root), *arguments]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode != 0:
        words = " ".join(done.stderr.decode("utf-8", "replace").split())
        raise InputError(f"git {arguments[0]} failed: {words[:300]!r}.")
    return done.stdout
