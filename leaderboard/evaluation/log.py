"""What happens in a run: lines of JSON for programs, and at its end where the time went."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import pandas as pd

from leaderboard.common.errors import InputError
from leaderboard.common.formatting import plural
from leaderboard.common.formatting import seconds as seconds_text
from leaderboard.common.progress import heard, tell
from leaderboard.evaluation.forecast import LONG
from leaderboard.evaluation.plan import Plan

OPEN = "left open"
"""What stands for the stage that decided an example where none did."""


class RunLog:
    """The log of a run; without a `file` it only adds up.

    Each line is an object with `time` and `event`. `begin`, `shard`, `complete` and `failed` name
    their `evaluation`; `message` is what a terminal shows, such as a worker that was killed; `end`
    says, of each stage, how many examples it decided here and the seconds that these took in all
    stages.
    """

    def __init__(self, file: IO[str] | None = None) -> None:
        self._file = file
        self._began = time.monotonic()
        self._spent: dict[str, list[float]] = {}

    def note(self, event: str, plan: Plan | None = None, **told: Any) -> None:
        """Write a line."""
        if self._file is None:
            return
        which = {} if plan is None else {"evaluation": f"{plan.submission} · {plan.setting}"}
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"time": now, "event": event, **which, **told}, ensure_ascii=False)
        self._file.write(f"{line}\n")
        self._file.flush()

    def shard(self, plan: Plan, rows: pd.DataFrame, resumed: bool) -> None:
        """Note the rows of a finished shard, and what they took."""
        if not len(rows):
            return
        counts = {str(name): int(n) for name, n in rows["status"].value_counts().items()}
        span = {"first": int(rows["example"].min()), "last": int(rows["example"].max())}
        took = round(float(rows["seconds"].sum()), 3)
        self.note("shard", plan, **span, **counts, seconds=took, resumed=resumed)
        if resumed:
            return
        stages = rows["stage"].astype(object).where(rows["status"] != "unknown", OPEN)
        for stage, group in rows.groupby(stages.fillna(OPEN)):
            entry = self._spent.setdefault(str(stage), [0, 0.0])
            entry[0] += len(group)
            entry[1] += float(group["seconds"].sum())

    def end(self) -> None:
        """Note where the time went; tell it, too, after a long run."""
        passed = time.monotonic() - self._began
        spent = sorted(self._spent.items(), key=lambda one: -one[1][1])
        stages = {name: {"examples": n, "seconds": round(s, 3)} for name, (n, s) in spent}
        self.note("end", seconds=round(passed, 3), stages=stages)
        total = sum(seconds for _, (_, seconds) in spent)
        if total > LONG:
            shares = (
                f"{seconds / total:.0%} {name} ({plural(int(count), 'example')})"
                for name, (count, seconds) in spent
            )
            tell(
                f"where the time went: {seconds_text(passed)} by the clock; of the evaluators'"
                f" {seconds_text(total)}, {', '.join(shares)}"
            )


@contextmanager
def logged(path: Path | None) -> Iterator[RunLog]:
    """Log to the end of a file, if one is named, in this context.

    Raises:
        InputError: it cannot be written.
    """
    if path is None:
        yield RunLog()
        return
    try:
        file = path.open("a", encoding="utf-8")
    except OSError as error:
        raise InputError(f"--log: {path} cannot be written ({error.strerror}).") from None
    with file:
        log = RunLog(file)
        with heard(lambda line: log.note("message", text=line)):
            yield log
