"""How far evaluations are, read off their finished shards, also while others make them."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pandas as pd

from leaderboard.common.errors import InputError
from leaderboard.common.places import taken
from leaderboard.common.project import Project
from leaderboard.evaluation.parts import result_of
from leaderboard.evaluation.plan import FinishedShard, counted_in
from leaderboard.evaluation.provenance import SHARD
from leaderboard.evaluation.shares import Share
from leaderboard.results.store import Provenance, evaluator_named, read, scan, stored_paths
from leaderboard.settings.setting import load_settings

_LATEST = 20
"""Shards whose times say how fast it goes: older ones may be from before a pause."""
_STATUSES = ("certified", "falsified", "unknown")

Progress = dict[str, str | int | float | None]
"""What `certboard status` says of one evaluation, by name."""


def progress_of(project: Project, slugs: Sequence[str]) -> list[Progress]:
    """List the evaluations that are begun, and those that are complete, of submissions.

    Of all submissions where none is named. A file that cannot be read counts as not there.
    """
    found = [*_begun(project), *_complete(project)]
    return [one for one in found if not slugs or one["submission"] in slugs]


def _complete(project: Project) -> Iterator[Progress]:
    for path in stored_paths(project):
        try:
            result = scan(path)
        except InputError:
            continue
        tally = result.tally
        counts = {name: tally.of_status(name) for name in _STATUSES}
        yield _entry(path, "complete", tally.examples, tally.examples, counts, None)


def _begun(project: Project) -> Iterator[Progress]:
    for folder in sorted(project.results.glob("*/*.parts/*-*")):
        if folder.suffix or not folder.is_dir():
            continue  # what a killed run was about to remove
        rows, times, origins = _read(folder)
        if not origins:
            continue
        target, provenance = result_of(folder.parent), origins[-1]
        total, done = _asked(provenance), len(rows)
        state = "running" if any(map(taken, _locks(target, origins))) else "interrupted"
        counts = {name: int((rows["status"] == name).sum()) for name in _STATUSES}
        yield _entry(target, state, done, total, counts, _left(times, total - done))


def _locks(target: Path, origins: Sequence[Provenance]) -> set[Path]:
    """What a run of the whole holds, and what runs of those shares hold that are begun."""
    found = {target}
    for typed in {str(one.options[SHARD]) for one in origins if SHARD in one.options}:
        with suppress(InputError):  # of a file that no run wrote
            found.add(Share.parse(typed).lock(target))
    return found


def _entry(
    target: Path, state: str, done: int, total: int, counts: dict[str, int], left: float | None
) -> Progress:
    return {
        "submission": target.name.split(".")[0],
        "setting": target.parent.name,
        "evaluator": evaluator_named(target),
        "state": state,
        "done": done,
        "examples": total,
        **counts,
        "seconds_left": left,
    }


def _read(folder: Path) -> tuple[pd.DataFrame, list[tuple[float, int]], list[Provenance]]:
    """The rows of finished shards, none twice; when each was done, of how many; their records."""
    tables, times, origins = list[pd.DataFrame](), list[tuple[float, int]](), list[Provenance]()
    for path in folder.glob("*.parquet"):
        try:
            part, when = read(path), path.stat().st_mtime
        except (InputError, OSError):
            continue  # damaged, or joined with the others just now
        # What a cheap shard left open is not done: it has rows in another shard, or will have.
        decided = FinishedShard.of(path.stem, part.rows).rows
        origins.append(part.provenance)
        tables.append(decided[["example", "status"]])
        times.append((when, len(decided)))
    rows = pd.concat(tables) if tables else pd.DataFrame({"example": [], "status": []})
    return rows.drop_duplicates("example"), sorted(times), origins


def _asked(provenance: Provenance) -> int:
    """How many examples an evaluation has, by its record."""
    if (count := counted_in(provenance.examples)) is not None:
        return count
    setting = load_settings().get(provenance.setting)
    if setting is None:
        return provenance.total
    return len(setting.selection(provenance.distribution is not None).indices(provenance.total))


def _left(times: Sequence[tuple[float, int]], examples: int) -> float | None:
    """Seconds that so many more examples take at the pace of the latest shards."""
    latest = times[-_LATEST:]
    passed = latest[-1][0] - latest[0][0]
    measured = sum(count for _, count in latest[1:])
    return round(passed / measured * examples, 1) if measured and passed > 0 else None
