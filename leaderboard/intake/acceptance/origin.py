"""The provenance of rows from elsewhere: nearly all of it follows from the question.

What does not, the machine, the versions of libraries and the time, decides nothing; it must be of a
form that means on a page what it says, and the time must be possible.
"""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from leaderboard.common.strict_toml import shown
from leaderboard.common.version import commit_of
from leaderboard.evaluation.shard import fingerprint
from leaderboard.intake.acceptance.commit_dates import date_of_commit, date_of_file
from leaderboard.intake.acceptance.known import Known
from leaderboard.results.store import SCHEMA_VERSION, Provenance

_AHEAD = timedelta(minutes=5)
"""By how much clocks differ."""
_SECOND = timedelta(seconds=1)
_BEGAN = datetime(2026, 11, 21, tzinfo=UTC)
"""The day of the project's first commit: nothing was evaluated before it."""
_CODE = Path(__file__).resolve().parents[3]
_MOST_THREADS = 4096

_HASH = "[0-9a-f]{64}"
FORMS = {
    "data_sha256": _HASH,
    "code_version": "[0-9]+([.][0-9a-z]+)*",
    "commit": "[0-9a-f]{40}(-dirty)?|unknown",
    "machine": "[A-Za-z0-9 .,:()/+@_-]{1,200}",
    "python": "[0-9A-Za-z.+]{1,30}",
    "torch": "[0-9A-Za-z.+]{1,40}",
    "device": "[A-Za-z0-9 .,:()/+@_-]{1,100}",
    "salt": "[0-9a-f]{32}",
}
"""Texts that only the evaluating machine knows."""
_WORKERS = "[1-9][0-9]{0,3}|ray"


def wanted(known: Known) -> dict[str, Any]:
    """Return what each field that follows from the question must be."""
    question, split = known.question, known.split
    told: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "submission": known.submission.slug,
        "setting": known.setting.id,
        "evaluator": known.evaluator,
        "evaluator_version": known.version,
        "model_sha256": question.model_sha256,
        "examples": known.selection,
        "total": known.dataset.test_size,
        "seed": str(question.seed),
        "noise_salt": question.noise_salt,
        "distribution": question.distribution,
        "data_complete": True,
        "data_note": "",
    }
    if split is not None:
        told |= {
            "data_sha256": split.sha256,
            "data_complete": split.complete,
            "data_note": split.note,
        }
    return told


def of_origin(origin: Provenance, known: Known) -> Iterator[str]:
    """Yield what is wrong with the provenance, a sentence each."""
    for name, value in wanted(known).items():
        if (here := getattr(origin, name)) != value:
            yield f"its {name} is {_short(here)}, not {_short(value)}."
    yield from of_machine(origin)
    yield from _of_options(origin.options, known)
    if not re.fullmatch(_HASH, origin.fingerprint) or origin.fingerprint != _print(origin, known):
        yield "its fingerprint is not that of the question."
    yield from _of_time(origin, known)


def of_machine(origin: Provenance) -> Iterator[str]:
    """Yield what no machine can have said of itself and its clock, a sentence each."""
    for name, form in FORMS.items():
        if not re.fullmatch(form, text := str(getattr(origin, name))):
            yield f"its {name} is {shown(text[:80])}, which it cannot be."
    if not 1 <= origin.threads <= _MOST_THREADS:
        yield f"its threads are {origin.threads:,}; they must be 1 to {_MOST_THREADS:,}."
    created = _created(origin)
    if created is None:
        yield f"its time {shown(origin.created[:80])} is not one in seconds, with a zone."
    elif created > datetime.now(UTC) + _AHEAD:
        yield f"its time {origin.created} lies in the future."


def _created(origin: Provenance) -> datetime | None:
    """When rows were made, if it is a time as it is written here."""
    try:
        created = datetime.fromisoformat(origin.created)
    except ValueError:
        return None
    told = created.tzinfo is not None and created.isoformat(timespec="seconds") == origin.created
    return created if told else None


def _short(value: object) -> str:
    return shown(value[:80]) if isinstance(value, str) else repr(value)[:80]


def _of_options(options: Mapping[str, Any], known: Known) -> Iterator[str]:
    """Options are the protocol's, to the digit; only the number of workers is free."""
    for name, value in known.options.items():
        here = options.get(name)
        if _json(here) != _json(value):
            yield f"its option {name} is {_json(here)[:80]}, not {_json(value)[:80]}."
    strange = options.keys() - known.options.keys() - {"workers"}
    if strange:
        yield f"it has the option {shown(min(strange)[:80])}, which nobody asked for."
    workers = options.get("workers")
    if not isinstance(workers, str) or not re.fullmatch(_WORKERS, workers):
        yield "its option workers is neither a number of processes nor ray."


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True)


def _print(origin: Provenance, known: Known) -> str:
    """The fingerprint of the question, on the kind of device and the data that the file names."""
    device = "cpu" if origin.device == "cpu" else "cuda"
    return fingerprint(known.question, known.examples, origin.data_sha256, device)


def _of_time(origin: Provenance, known: Known) -> Iterator[str]:
    if (created := _created(origin)) is None:
        return
    code = _date_of_code(origin.commit)
    if isinstance(code, str):
        yield code
        code = None
    for what, since in (
        ("the project", _BEGAN),
        ("the code that made it", code),
        ("its model", _date_of_model(known)),
        ("its evaluation, which was started", known.since),
    ):
        if since is not None and created < since - _SECOND:
            began = since.astimezone(UTC).isoformat(timespec="seconds")
            yield f"its time {origin.created} lies before {what}, {began}."


def _date_of_code(commit: str) -> datetime | str | None:
    """When the code was committed, or why it cannot have been this project's."""
    if (mine := commit_of(_CODE)) == "unknown":
        return None
    if commit == mine:
        # This very code, changed or not.
        commit = commit.removesuffix("-dirty")
    found = date_of_commit(_CODE, commit) if re.fullmatch("[0-9a-f]{40}", commit) else None
    return found or f"its commit {shown(commit[:80])} is none that this project has."


def _date_of_model(known: Known) -> datetime | None:
    root = known.project.root
    found = [date_of_file(root, path) for path in known.files if path.is_relative_to(root)]
    return max((date for date in found if date is not None), default=None)
