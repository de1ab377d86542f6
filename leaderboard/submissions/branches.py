"""A stranger's branch, read as data: which files it changes, and those of a submission.

Nothing of it is checked out. Git is asked for names, kinds and sizes first, and for contents only
of regular files in one submission's folder, within limits.
"""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from leaderboard.common.errors import InputError
from leaderboard.common.project import Project
from leaderboard.common.strict_toml import shown
from leaderboard.submissions.folder import (
    LARGEST_MODEL,
    LARGEST_TEXT,
    MANIFEST,
    MOST_FILES,
    check_slug,
    file_name_problem,
)

_COMMIT = re.compile("[0-9a-f]{40}")
_REGULAR = "100644"
_KINDS = {"100755": "an executable", "120000": "a link", "160000": "another repository"}
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
    """Require a full commit hash: what it names cannot change, as a branch's name can.

    Raises:
        InputError: it is none.
    """
    if not _COMMIT.fullmatch(text):
        raise InputError(f"The commit is {shown(text)}, but must be all 40 hexadecimal digits.")
    return text


def changes(project: Project, base: str, head: str) -> list[Change]:
    """List what `head` changes since it left `base`, both full commit hashes.

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
    """Find the one submission that a branch adds or changes.

    Raises:
        InputError: it changes anything else, or has files that cannot be taken; a sentence for
            each.
    """
    found = changes(project, base, head)
    for folder in ("", "submissions/"):
        _check_names(project, head, folder)
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
    _files(project, head, slug)
    return slug


def has_rows(project: Project, commit: str, slug: str) -> bool:
    """Say whether a commit has results of this name, or what is kept of a network of this name."""
    told = _git(project, "ls-tree", "-r", "-z", "--name-only", check_commit(commit), "site/data/")
    paths = told.decode("utf-8", "surrogateescape").split("\0")
    return any(path.rpartition("/")[2].partition(".")[0] == slug for path in paths)


def manifests(project: Project, commit: str) -> dict[str, bytes]:
    """Read every submission's manifest in a commit, by slug; none that is no file or too long."""
    told = _git(project, "ls-tree", "-r", "-z", "--long", check_commit(commit), "submissions/")
    blobs: dict[str, str] = {}
    for mode, blob, size, path in _entries(told):
        named = _inside(path) and path.endswith(f"/{MANIFEST}")
        if named and mode == _REGULAR and int(size) <= LARGEST_TEXT:
            blobs[path.split("/")[1]] = blob
    # One process for all of them: there may be thousands.
    asked = "".join(f"{blob}\n" for blob in blobs.values()).encode()
    answer, contents = _git(project, "cat-file", "--batch", given=asked), {}
    for slug in blobs:
        head, _, answer = answer.partition(b"\n")
        length = int(head.split()[2])
        contents[slug], answer = answer[:length], answer[length + 1 :]
    return contents


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
        elif not change.removed and (problem := file_name_problem(change.path.split("/")[2])):
            yield f"The branch has {shown(change.path)}, {problem}."


def take_files(project: Project, commit: str, slug: str) -> Path:
    """Put the files of a submission, as they are in `commit`, into its folder.

    Files that are there and not in the commit are removed.

    Raises:
        InputError: something there is not a regular file, or too large; nothing was changed.
    """
    return _write(project, slug, _files(project, commit, slug))


def _files(project: Project, commit: str, slug: str) -> dict[str, str]:
    """The blob of each file of a submission in a commit, by the file's name.

    Raises:
        InputError: something there is not a regular file, cannot be called so, or is too large.
    """
    check_slug(slug)
    where = f"submissions/{slug}"
    told = _git(project, "ls-tree", "-z", "--long", check_commit(commit), f"{where}/")
    blobs: dict[str, str] = {}
    problems: list[str] = []
    for mode, blob, size, path in _entries(told):
        name = path.rpartition("/")[2]
        if mode != _REGULAR or not _inside(path):
            problems.append(f"{shown(path)} must be a regular file in {where}.")
        elif problem := file_name_problem(name):
            problems.append(f"The branch has {shown(path)}, {problem}.")
        elif name.casefold() in map(str.casefold, blobs):
            problems.append(f"{shown(path)} is there twice, or but for the case of its letters.")
        elif int(size) > LARGEST_MODEL:
            problems.append(f"{shown(path)} has {int(size):,} bytes; at most {LARGEST_MODEL:,}.")
        else:
            blobs[name] = blob
    if not blobs and not problems:
        problems.append(f"There is no {where} in {commit}.")
    if len(blobs) > MOST_FILES:
        problems.append(f"{where} has {len(blobs)} files; at most {MOST_FILES} are allowed.")
    if problems:
        raise InputError(*problems[:_MOST_SHOWN])
    return blobs


def _entries(told: bytes) -> Iterator[tuple[str, str, str, str]]:
    """Mode, hash, size and path of each line of `ls-tree -z --long`."""
    for line in told.decode("utf-8", "surrogateescape").split("\0"):
        facts, tab, path = line.partition("\t")
        if tab:
            mode, _, blob, size = facts.split()
            yield mode, blob, size, path


def _check_names(project: Project, commit: str, folder: str) -> None:
    """Refuse a folder whose listing says something else than its files' paths do.

    Git stores whatever name a tree was written with: one with a slash in it, `..`, or one twice.
    """
    asked = [check_commit(commit), *([folder] if folder else [])]
    told = _git(project, "ls-tree", "-z", "--name-only", "--full-tree", *asked)
    paths = told.decode("utf-8", "surrogateescape").removesuffix("\0").split("\0")
    names = [path.removeprefix(folder) for path in paths]
    seen: set[str] = set()
    for name in names:
        if "/" in name or name in ("", ".", "..") or _git_like(name):
            raise InputError(f"The branch has {shown(folder + name)}, which is no name of a file.")
        if name in seen:
            raise InputError(f"The branch has {shown(folder + name)} twice.")
        seen.add(name)


def _git_like(name: str) -> bool:
    """Whether some file system would take a name for Git's own folder."""
    plain = "".join(sign for sign in name if sign.isprintable() and sign.isascii()).casefold()
    return re.fullmatch(r"(\.git|git~[0-9]+)[ .]*(:.*)?", plain) is not None


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


def _git(project: Project, *arguments: str, given: bytes = b"") -> bytes:
    # What a repository's own configuration or attributes would run is switched off.
    quiet = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null")
    command = ["git", "--no-replace-objects", *quiet, "-C", str(project.root), *arguments]
    done = subprocess.run(command, input=given, capture_output=True, check=False)
    if done.returncode != 0:
        words = " ".join(done.stderr.decode("utf-8", "replace").split())
        raise InputError(f"git {arguments[0]} failed: {words[:300]!r}.")
    return done.stdout
