"""The folder of a submission: which files it may have, and that they are what they seem."""

import re
from pathlib import Path

from leaderboard.data_files import sha256_of
from leaderboard.errors import InputError, unknown_name
from leaderboard.strict_toml import shown

MANIFEST = "submission.toml"
LARGEST_MODEL = 200_000_000
"""Bytes."""

_LARGEST_TEXT = 100_000
_TEXTS = (MANIFEST, "README.md", "LICENSE")
_SLUG = re.compile("[a-z0-9]+(-[a-z0-9]+)*")
_LONGEST_SLUG = 64


def check_slug(slug: str) -> None:
    """Refuse a name that is not lower-case words joined by dashes.

    Raises:
        InputError: it is not; so a slug never leads out of its folder.
    """
    if len(slug) > _LONGEST_SLUG or not _SLUG.fullmatch(slug):
        raise InputError(
            f"The submission {shown(slug)} must be called by small letters, digits and single"
            f" dashes between them, at most {_LONGEST_SLUG} characters, such as 'cnn7-sabr'."
        )


def slugs(submissions: Path) -> list[str]:
    """The names of the folders in `submissions`, sorted."""
    return sorted(path.name for path in submissions.glob("*") if path.is_dir())


def find_folder(submissions: Path, slug: str) -> Path:
    """The folder of the submission `slug`.

    Raises:
        InputError: the name is not a slug, or there is no such folder.
    """
    check_slug(slug)
    folder = submissions / slug
    if not folder.is_dir():
        raise unknown_name("submission", slug, slugs(submissions))
    return folder


def folder_problems(folder: Path, where: str) -> list[str]:
    """The links, folders, unknown files and long texts in a submission's folder, a sentence each.

    A link could show any file of the machine on a public page, and reading a pipe never ends.
    """
    if folder.is_symlink():
        return [f"{where} is a link, but must be a folder."]
    problems: list[str] = []
    for path in sorted(folder.iterdir()):
        name = shown(path.name)
        if path.is_symlink() or not path.is_file():
            problems.append(f"{where} has {name}, which is not a regular file.")
        elif path.name not in _TEXTS and path.suffix != ".onnx":
            allowed = ", ".join(_TEXTS)
            problems.append(f"{where} has {name}, but only {allowed} and *.onnx are allowed there.")
        elif path.name in _TEXTS and path.stat().st_size > _LARGEST_TEXT:
            problems.append(f"{where} has {name} with more than {_LARGEST_TEXT:,} bytes.")
    return problems


def file_problems(path: Path, where: str, key: str, sha256: str, size: int | None) -> list[str]:
    """Why the model at `path`, which the table `key` names, cannot be used, in a sentence."""
    name = f"{where}/{path.name}"
    if not path.is_file():
        return [f"There is no file {name}, which '{key}.file' names."]
    found = path.stat().st_size
    if found > LARGEST_MODEL:
        return [f"{name} has {found:,} bytes, but a model may have {LARGEST_MODEL:,}."]
    if size not in (None, found):
        return [f"{name} has {found:,} bytes, but '{key}.size' says {size:,}."]
    if (digest := sha256_of(path)) != sha256:
        return [f"{name} has the SHA-256 {digest}, but '{key}.sha256' says {sha256}."]
    return []
