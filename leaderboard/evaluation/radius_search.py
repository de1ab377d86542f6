"""The largest radius that can be certified for each example: `certboard certify --max-radius`.

Sought among the exact radii k·R/GRID, where R is the largest one tried. Each certified radius is a
proof by itself, whatever the search assumes: a method that is imprecise in an uneven way may at
worst be able to prove a larger radius than the one found. The proved margins choose where to ask
next, and no radius is asked about that reaches a witness.

The cheap methods are asked first, up to their own limit, then the complete ones, between that
limit and the nearest witness: they begin beside what is proved and grow, for a radius that they
cannot prove costs them all the time that it is given. Both share one budget: the question's
`seconds` for each example, besides what the status at R took. A step of a complete method gets a
part of what is left.
"""

from collections import defaultdict
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from leaderboard.common.errors import BugError
from leaderboard.common.progress import RunProgress
from leaderboard.evaluation.evaluator import phases, uses_time
from leaderboard.evaluation.forecast import cut
from leaderboard.evaluation.radius_bracket import GRID, Bracket
from leaderboard.evaluation.shard import PREDICTION, margins_at, smallest_ball
from leaderboard.evaluation.workers import run_shards
from leaderboard.settings.question import Question, Shard
from leaderboard.settings.setting import exact_text

if TYPE_CHECKING:
    import pandas as pd

_SHARE = 3
"""A radius that is not the last one to try gets this part of the time left."""


def largest_radii(
    question: Question, rows: "pd.DataFrame", workers: str, progress: RunProgress
) -> "pd.DataFrame":
    """Add the largest certified radius of each example to the `rows` that answer `question`.

    The status stays the one at the question's radius. A smoothed model's radii are already the
    largest ones, and are left alone.
    """
    if question.sigma is not None:
        return rows
    search = _Search(question, rows)
    step = 0
    while asked := search.next_shards():
        step += 1
        progress.restart(f"radius, step {step}", sum(len(shard.examples) for shard in asked))
        with closing(run_shards(asked, workers)) as finished:
            for shard, found in finished:
                search.learn(shard, found)
                progress.advance(found, False)
    return search.answer()


@dataclass
class _Open:
    """The search for one example.

    Attributes:
        bracket: what the methods that are being asked have certified and failed at.
        refuted: the smallest radius known to hold a witness, or the largest one tried.
        seconds: of the budget, left.
        phase: which methods are being asked.
    """

    bracket: Bracket
    refuted: int
    seconds: float
    phase: int = 0


class _Search:
    """All examples: their rows, and the search for those that were not certified."""

    def __init__(self, question: Question, rows: "pd.DataFrame") -> None:
        self.question = question
        self.phases = [(phase, uses_time(phase)) for phase in phases(question)]
        self.columns = list(rows.columns)
        self.rows = {int(row["example"]): row for row in rows.to_dict("records")}
        self.open = {
            example: _Open(Bracket(growing=self.phases[0][1]), GRID, question.seconds)
            for example, row in self.rows.items()
            # A wrong prediction at the example itself leaves nothing to search for.
            if row["status"] != "certified" and row["stage"] != PREDICTION
        }
        margins = margins_at(question, list(self.open)) if self.open else []
        for (example, one), margin in zip(self.open.items(), margins, strict=True):
            one.bracket.note(0, margin)
            one.bracket.note(GRID, self.rows[example]["margin"])
            self._refute(example, self.rows[example])

    def next_shards(self) -> list[Shard]:
        """List the examples whose search goes on, those of the same question together."""
        groups = defaultdict(list)
        for example, one in self.open.items():
            if (k := self._next(one)) is not None:
                groups[one.phase, k, self._seconds(one)].append(example)
        return [
            shard
            for (phase, k, seconds), examples in sorted(groups.items())
            for shard in cut(self._question(phase, k, seconds), examples)
        ]

    def _next(self, one: _Open) -> int | None:
        """The next radius, of the next methods where those asked so far have met their limit."""
        while one.seconds > 0:
            if (k := one.bracket.next()) is not None:
                return k
            if one.phase + 1 == len(self.phases):
                return None
            # The margins of other methods say nothing about these.
            one.phase += 1
            growing = self.phases[one.phase][1]
            one.bracket = Bracket(one.bracket.certified, one.refuted, growing=growing)
        return None

    def _seconds(self, one: _Open) -> float:
        if self.phases[one.phase][1]:
            return one.seconds if one.bracket.width == 2 else one.seconds / _SHARE
        # Mostly the same for all, so that they are asked together.
        whole = self.question.seconds
        return whole if one.seconds > whole / 2 else one.seconds

    def _question(self, phase: int, k: int, seconds: float) -> Question:
        radius = self.question.radius * k / GRID
        return replace(self.phases[phase][0], radius=radius, seconds=seconds)

    def learn(self, shard: Shard, found: "pd.DataFrame") -> None:
        """Take in the verdicts at one radius."""
        k = int(shard.question.radius * GRID / self.question.radius)
        for now in found.to_dict("records"):
            example = int(now["example"])
            one, before = self.open[example], self.rows[example]
            one.seconds -= now["seconds"]
            one.bracket.learn(k, now["status"] == "certified", now["margin"])
            self._refute(example, now)
            kept = before
            # A witness in a smaller ball refutes the larger one, too.
            if now["status"] == "falsified" and before["status"] == "unknown":
                kept = now
            same = ("evaluator", "evaluator_version")
            seconds = round(before["seconds"] + now["seconds"], 6)
            self.rows[example] = {**kept, **{n: before[n] for n in same}, "seconds": seconds}

    def _refute(self, example: int, row: Mapping[Any, Any]) -> None:
        """Keep to the radii that a row's witness lies beyond."""
        if row["status"] != "falsified":
            return
        one = self.open[example]
        one.refuted = min(one.refuted, smallest_ball(self.question, example, row["witness"], GRID))
        one.bracket.fail(one.refuted)
        if one.refuted <= one.bracket.certified:
            raise BugError(
                f"Example {example}: a radius was certified, and '{row['stage']}' has a witness"
                " within it."
            )

    def answer(self) -> "pd.DataFrame":
        """Return the rows, each with its radius."""
        import pandas as pd

        records = []
        for example, row in self.rows.items():
            k = GRID if row["status"] == "certified" else 0
            if example in self.open:
                k = self.open[example].bracket.certified
            radius = exact_text(self.question.radius * k / GRID) if k else None
            records.append({**row, "radius": radius})
        return pd.DataFrame(records, columns=self.columns)
