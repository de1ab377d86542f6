"""A result file that came from elsewhere, accepted or refused: it is data until every line fits.

Evaluations run where a foreign model was, so what comes back is not trusted. It must be about the
submission and setting that were asked about, with the model, the data, the seed and the examples
that they have, and no row may claim what its columns do not carry. Whether a proof is right cannot
be seen from rows; `certboard recheck` and a second run show that.
"""

import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

from leaderboard.dataset import find_dataset, load_split
from leaderboard.errors import InputError
from leaderboard.fingerprints import Checks, read_checks
from leaderboard.metrics import is_smoothed
from leaderboard.question import seed_of
from leaderboard.results import Provenance, Results, read
from leaderboard.setting import Setting, exact_fraction
from leaderboard.split import Split, present
from leaderboard.submission import Submission, settings_for
from leaderboard.submission_models import model_hash

LARGEST_FILE = 500_000_000
"""Bytes."""

LARGEST_CHECKS = 10_000_000
"""Bytes of the fingerprints of one submission."""

_LONGEST_TEXT, _LONGEST_NUMBER = 1000, 100
_STATUSES = ("certified", "falsified", "unknown")
_AHEAD = timedelta(hours=1)


def accepted(path: Path, submission: Submission, setting: Setting) -> Results:
    """The results in a file, every row of which fits the question.

    Raises:
        InputError: every reason why it is refused, a sentence each.
    """
    if path.is_symlink() or not path.is_file():
        raise InputError(f"{path}: is not a regular file.")
    if (size := path.stat().st_size) > LARGEST_FILE:
        raise InputError(f"{path}: has {size:,} bytes; at most {LARGEST_FILE:,} are accepted.")
    found = read(path)
    problems = [*_about(found, submission, setting), *_of_rows(found, submission, setting)]
    if problems:
        raise InputError(*(f"{path.name}: {problem}" for problem in problems))
    return found


def accepted_checks(path: Path, submission: Submission) -> Checks:
    """The fingerprints in a file, if they are of the submission's present model.

    Raises:
        InputError: they are not, or are damaged.
    """
    if path.is_symlink() or not path.is_file() or path.stat().st_size > LARGEST_CHECKS:
        raise InputError(f"{path}: is not a regular file of at most {LARGEST_CHECKS:,} bytes.")
    found = read_checks(path)
    if found.model_sha256 != model_hash(submission):
        raise InputError(f"{path.name}: is about another model than that of '{submission.slug}'.")
    return found


def _about(found: Results, submission: Submission, setting: Setting) -> Iterator[str]:
    """What is wrong with the provenance."""
    origin = found.provenance
    wanted = {
        "submission": submission.slug,
        "setting": setting.id,
        "model_sha256": model_hash(submission),
        "total": find_dataset(setting.dataset).test_size,
        "seed": str(seed_of(model_hash(submission), setting.dataset, setting.norm, setting.radius)),
    }
    for name, value in wanted.items():
        if (here := getattr(origin, name)) != value:
            yield f"its {name} is {here!r}, not {value!r}."
    here = _data_here(setting)
    if here is not None and origin.data_sha256 != (data := here.sha256):
        yield f"its data_sha256 is {origin.data_sha256!r}; the data here have {data!r}."
    if setting not in settings_for(submission, {setting.id: setting}):
        yield f"the submission does not compete in {setting.id}."
    for name, text in _texts(origin):
        if len(text) > _LONGEST_TEXT or not text.isprintable():
            yield f"its {name} is not one printable line of at most {_LONGEST_TEXT} characters."
    yield from _about_time(origin)


def _data_here(setting: Setting) -> Split | None:
    """The test data on this machine; None where there are none."""
    try:
        return load_split(setting.dataset)
    except InputError:
        return None


def _texts(origin: Provenance) -> Iterator[tuple[str, str]]:
    for name, value in origin.model_dump(mode="json").items():
        if isinstance(value, dict):
            yield from ((f"{name} {key}", f"{key}{inner}") for key, inner in value.items())
        else:
            yield name, str(value)


def _about_time(origin: Provenance) -> Iterator[str]:
    try:
        created = datetime.fromisoformat(origin.created)
    except ValueError:
        yield f"its time {origin.created!r} is none."
        return
    if created.tzinfo is None or created > datetime.now(UTC) + _AHEAD:
        yield f"its time {origin.created!r} has no zone, or lies in the future."


def _of_rows(found: Results, submission: Submission, setting: Setting) -> Iterator[str]:
    """What is wrong with the rows."""
    rows, data = found.rows, find_dataset(setting.dataset)
    if rows.empty:
        yield "it has no rows."
        return
    smoothed = submission.smoothing is not None
    wanted = setting.selection(smoothed).indices(data.test_size)
    examples = rows["example"].tolist()
    here = _data_here(setting)
    if here is not None:
        wanted = present(wanted, here)
    # Data that are not there in full are noted in the provenance; no other example may appear.
    if examples != sorted(set(examples)) or not set(examples) <= set(wanted):
        yield "its examples are not the setting's, each once and in order."
    elif (here is not None or found.provenance.data_complete) and len(examples) < len(wanted):
        yield f"it has {len(examples):,} of the {len(wanted):,} examples."
    if smoothed != is_smoothed(rows):
        yield f"its rows are {'not ' if smoothed else ''}those of a smoothed model."
    faults: dict[str, int] = {}
    table = rows.astype(object)
    for row in table.where(table.notna(), None).to_dict("records"):
        for fault in _faults(row, submission, setting):
            faults.setdefault(fault, int(row["example"]))
    for fault, example in faults.items():
        yield f"example {example}: {fault}."


def _faults(row: Mapping[Any, Any], submission: Submission, setting: Setting) -> Iterator[str]:
    """What cannot be in one row, and what it claims beyond what it carries."""
    data = find_dataset(setting.dataset)
    classes = range(len(data.classes))
    radius, witness = _fraction(row["radius"]), row["witness"]
    right = row["prediction"] == row["label"]
    certified, falsified = row["status"] == "certified", row["status"] == "falsified"
    told = {
        "it is about another submission": row["submission"] != submission.slug,
        "it is about another setting": row["setting"] != setting.id,
        "its label is no class": row["label"] not in classes,
        "its prediction is no class": row["prediction"] not in (None, *classes),
        f"its status is not one of {', '.join(_STATUSES)}": row["status"] not in _STATUSES,
        "its confidence is not in (0, 1]": not 0 < row["confidence"] <= 1,
        "its seconds are no time": not 0 <= row["seconds"] < math.inf,
        "its margin is not finite": not math.isfinite(row["margin"] or 0),
        "its note is too long": len(row["note"]) > _LONGEST_TEXT,
        "its radius is no exact positive number": row["radius"] is not None and radius is None,
        "it is certified, but not at the setting's radius": certified
        and (radius is None or radius < setting.radius),
        "it is certified, but its prediction is wrong": certified and not right,
        "it is certified, but has a witness": certified and witness is not None,
        "its witness has the wrong size": witness is not None
        and len(witness) != 4 * math.prod(data.shape),
        "it is right and falsified, but has no witness": falsified and right and witness is None,
    }
    yield from (fault for fault, found in told.items() if found)


def _fraction(text: str | None) -> Fraction | None:
    if text is None or len(text) > _LONGEST_NUMBER:
        return None
    try:
        return exact_fraction(text)
    except ValueError:
        return None
