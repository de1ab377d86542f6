"""The salt of a smoothed model's noise: random numbers that a board draws after it has the model.

Without one the seed of an evaluation follows from the model and the setting alone. Whoever submits
it can then compute the rows of K files that differ in a byte, hand in the luckiest, and has the
failure probability multiplied by K. Nobody knows a salt when the file is handed in, so that each
file has one draw, which everybody sees.

A salt belongs to all that an author chooses and noise depends on: the base classifier, the
distribution and its scale. It is drawn once and kept forever in `site/data/salts/`, whatever
becomes of the submission, so that the same model under another name, or once more after it was
withdrawn, has the same noise. A record with an empty salt is of a model that was evaluated before
there were salts: its seeds stay what they were.
"""

import json
import os
import secrets
import tempfile
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, ValidationError

from leaderboard.common.errors import InputError
from leaderboard.common.project import Project
from leaderboard.common.strict_toml import Strict
from leaderboard.settings.setting import exact_text
from leaderboard.submissions.manifest import Submission

if TYPE_CHECKING:
    from leaderboard.results.store import Provenance


class NoiseSalt(Strict):
    """The record of one smoothed model: its salt, empty if it has none, and when it was drawn."""

    model_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    distribution: str
    sigma: str
    salt: str = Field(pattern="^([0-9a-f]{64})?$")
    drawn: str


def draw_salt(project: Project, submission: Submission) -> NoiseSalt | None:
    """Return a model's record; where there is none, draw its salt and keep it.

    Of several processes that do so at once, all get what the first of them has drawn.

    Returns:
        None for a model that is not smoothed.

    Raises:
        InputError: the record is damaged, or cannot be written.
    """
    if submission.smoothing is None:
        return None
    if (found := read_salt(project, submission)) is not None:
        return found
    record = NoiseSalt(
        model_sha256=submission.model_hash,
        distribution=submission.smoothing.distribution,
        sigma=exact_text(submission.smoothing.scale),
        salt="" if _was_measured_without(project, submission) else secrets.token_hex(32),
        drawn=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    _write_once(salt_path(project, submission), record)
    return read_salt(project, submission)


def salt_of(project: Project, submission: Submission) -> str:
    """Return the salt of a model's noise, empty where it has none.

    Raises:
        InputError: its record is damaged.
    """
    found = read_salt(project, submission)
    return "" if found is None else found.salt


def require_salt(project: Project, submission: Submission) -> None:
    """Refuse a smoothed model whose salt was not drawn, for its author can foresee its noise.

    Raises:
        InputError: it is one.
    """
    if submission.smoothing is None or read_salt(project, submission) is not None:
        return
    if not _was_measured_without(project, submission):
        slug = submission.slug
        raise InputError(
            f"{slug}: the salt of its noise was not drawn yet, so that its rows can be foreseen:"
            f" draw it once with `certboard intake salt {slug}`, give every machine the file, and"
            " evaluate."
        )


def check_rows_salt(
    project: Project, submission: Submission, path: Path, origin: "Provenance"
) -> None:
    """Refuse rows of a smoothed model whose noise had another salt than the one drawn here.

    Raises:
        InputError: it had, or the record is damaged.
    """
    if origin.model_sha256 != submission.model_hash:
        return
    if origin.noise_salt != (own := salt_of(project, submission)):
        told, drawn = origin.noise_salt[:12] or "none", own[:12] or "none"
        raise InputError(
            f"{path}: the salt of its noise is {told}, but the one drawn for this model is {drawn}"
            " (site/data/salts): evaluate it again with `certboard run`."
        )


def read_salt(project: Project, submission: Submission) -> NoiseSalt | None:
    """Return a model's record; None where there is none, as of a model that is not smoothed.

    Raises:
        InputError: it is damaged, or another model's.
    """
    if submission.smoothing is None:
        return None
    path = salt_path(project, submission)
    try:
        found = NoiseSalt.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from error
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise InputError(f"{path}: is damaged at '{where}'; restore it from git.") from error
    if _name(found.model_sha256, found.distribution, found.sigma) != path.name:
        raise InputError(f"{path}: is the record of another model; restore it from git.")
    return found


def salt_path(project: Project, submission: Submission) -> Path:
    """Where the record of a smoothed model lies: always among the board's own files."""
    smoothing = submission.smoothing
    assert smoothing is not None
    sigma = exact_text(smoothing.scale)
    return project.salts / _name(submission.model_hash, smoothing.distribution, sigma)


def _name(model_sha256: str, distribution: str, sigma: str) -> str:
    return f"{model_sha256}-{distribution}-{sigma.replace('/', '_')}.json"


def _was_measured_without(project: Project, submission: Submission) -> bool:
    """Whether the board has rows of this very model that were made before there were salts."""
    # Late, for most of those who ask for a salt read no rows.
    from leaderboard.results.store import read

    assert submission.smoothing is not None
    sigma = exact_text(submission.smoothing.scale)
    results = replace(project, results_folder=None).results
    for path in sorted(results.glob(f"*/{submission.slug}.*parquet")):
        with suppress(InputError):
            stored = read(path)
            origin = stored.provenance
            same = origin.model_sha256 == submission.model_hash
            same &= origin.distribution == submission.smoothing.distribution
            if same and not origin.noise_salt and set(stored.rows["sigma"].dropna()) == {sigma}:
                return True
    return False


def _write_once(path: Path, record: NoiseSalt) -> None:
    """Write a record where there is none, whole or not at all; one that is there stays."""
    text = json.dumps(record.model_dump(mode="json"), indent=2)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".") as whole:
            whole.write(text.encode() + b"\n")
            whole.flush()
            os.fsync(whole.fileno())
            # A temporary file is its owner's alone.
            os.fchmod(whole.fileno(), 0o644)
            with suppress(FileExistsError):
                os.link(whole.name, path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}).") from error
