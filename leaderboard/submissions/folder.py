"""The folder of a submission: which files it may have, and that they are what they seem."""

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from stat import S_ISREG

from leaderboard.common.errors import InputError, unknown_name
from leaderboard.common.lookalikes import skeleton
from leaderboard.common.rules import told
from leaderboard.common.strict_toml import shown
from leaderboard.common.text import MODEL_NAME, hidden_in
from leaderboard.datasets.files import sha256_of
from leaderboard.submissions.placeholders import is_placeholder

MANIFEST = "submission.toml"
LARGEST_MODEL = 200_000_000
"""Bytes."""

MOST_FILES = 60
LARGEST_TEXT = 100_000
_TEXTS = (MANIFEST, "README.md", "LICENSE")
_SLUG = re.compile("[a-z0-9]+(-[a-z0-9]+)*")
_LONGEST_SLUG = 64
_TAKEN = frozenset(("build", "certboard", "data", "dist", "index", "matrix", "public"))
"""Names of pages and folders of the website's and the project's own."""
_MODEL_NAME = re.compile(MODEL_NAME)


def check_slug(slug: str) -> None:
    """Refuse a name that is not lower-case words joined by dashes.

    Raises:
        InputError: it is not; so a slug never leads out of its folder.
    """
    if len(slug) > _LONGEST_SLUG or not _SLUG.fullmatch(slug):
        wanted = f"small letters, digits and single dashes between them, at most {_LONGEST_SLUG}"
        sentence = f"The submission {shown(slug)} must be called by {wanted} characters, such as"
        sentence += " 'cnn7-sabr'."
        if {"/", "\\"} & set(slug):
            sentence += " It is named by the name of its folder in submissions/, not by a path."
        raise InputError(told("folder-name", sentence))
    if slug in _TAKEN:
        sentence = f"The submission {shown(slug)} must be called otherwise: the website and the"
        sentence += f" project have that name, as {', '.join(sorted(_TAKEN - {slug}))}."
        raise InputError(told("folder-name", sentence))


def slugs(submissions: Path) -> list[str]:
    """List the names of the folders in `submissions`, sorted."""
    return sorted(path.name for path in submissions.glob("*") if path.is_dir())


def find_folder(submissions: Path, slug: str) -> Path:
    """Return the folder of the submission `slug`.

    Raises:
        InputError: the name is not a slug, or there is no such folder.
    """
    check_slug(slug)
    folder = submissions / slug
    if not folder.is_dir():
        raise unknown_name("submission", slug, slugs(submissions))
    return folder


def folder_problems(folder: Path, where: str) -> list[str]:
    """List links, folders, unknown files and long texts in a submission's folder, a sentence each.

    A link could show any file of the machine on a public page, and reading a pipe never ends.
    """
    if folder.is_symlink():
        return [told("folder-files", f"{where} is a link, but must be a folder.")]
    paths = sorted(islice(folder.iterdir(), MOST_FILES + 1))
    if len(paths) > MOST_FILES:
        return [told("folder-size", f"{where} has more than {MOST_FILES} files.")]
    return [problem for path in paths for problem in _problems_of(path, where)]


def file_name_problem(name: str) -> str | None:
    """Say why no file of a submission may have this name, as a sentence's end; None if it may.

    So a name never leads to another folder, nor is it read as an address, on any file system.
    """
    if name in _TEXTS or _MODEL_NAME.fullmatch(name):
        return None
    return f"but only {', '.join(_TEXTS)} and *.onnx are allowed there"


def _problems_of(path: Path, where: str) -> Iterator[str]:
    has, facts = f"{where} has {shown(path.name)}", path.lstat()
    if not S_ISREG(facts.st_mode):
        yield told("folder-files", f"{has}, which is not a regular file.")
    elif facts.st_nlink > 1:
        yield told("folder-files", f"{has}, which is a hard link to another file.")
    elif problem := file_name_problem(path.name):
        yield told("folder-files", f"{has}, {problem}.")
    elif facts.st_mode & 0o111:
        yield told("folder-files", f"{has}, which may be executed: chmod -x it.")
    elif path.name in _TEXTS and facts.st_size > LARGEST_TEXT:
        yield told("folder-size", f"{has} with more than {LARGEST_TEXT:,} bytes.")
    elif path.name in _TEXTS and path.name != MANIFEST:
        yield from _text_problems(path, has)


def _text_problems(path: Path, has: str) -> Iterator[str]:
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        yield told("folder-text", f"{has}, which is not UTF-8 text (byte {error.start}).")
    else:
        if (hidden := hidden_in(text)) is not None:
            sign = f"U+{ord(hidden):04X}"
            yield told("folder-text", f"{has} with the invisible character {sign}.")


def examples_left(folder: Path, where: str) -> list[str]:
    """List the scaffold's examples that are left in the submission's README, a sentence each."""
    path = folder / "README.md"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return [
        told("text-placeholder", f"{where}/{path.name} has still the example {shown(line)}.")
        for line in filter(is_placeholder, lines)
    ]


def spare_files(folder: Path, where: str, named: set[str]) -> list[str]:
    """List networks in the folder that its manifest does not name, a sentence each."""
    return [
        told("folder-files", f"{where} has {shown(path.name)}, which {MANIFEST} does not name.")
        for path in sorted(folder.glob("*.onnx"))
        if path.name not in named
    ]


def confusable(slug: str, others: Iterable[str]) -> list[str]:
    """List names of other submissions that `slug` can be mistaken for, a sentence each."""
    bones = skeleton(slug)
    return [
        told("folder-confusable", f"submissions/{slug} can be mistaken for submissions/{other}.")
        for other in others
        if other != slug and skeleton(other) == bones
    ]


def file_problems(path: Path, where: str, key: str, sha256: str, size: int | None) -> list[str]:
    """Say why the model at `path`, which the table `key` names, cannot be used, in a sentence."""
    name = f"{where}/{path.name}"
    # On a disk that ignores case another name would find the file, too.
    if not path.is_file() or path.name not in (one.name for one in path.parent.iterdir()):
        return [told("file-missing", f"There is no file {name}, which '{key}.file' names.")]
    found = path.stat().st_size
    if found > LARGEST_MODEL:
        most = f"a model may have {LARGEST_MODEL:,}"
        return [told("file-size", f"{name} has {found:,} bytes, but {most}.")]
    if size not in (None, found):
        return [told("file-size", f"{name} has {found:,} bytes, but '{key}.size' says {size:,}.")]
    if (digest := sha256_of(path)) != sha256:
        said = f"'{key}.sha256' says {sha256}"
        return [told("file-hash", f"{name} has the SHA-256 {digest}, but {said}.")]
    return []
