"""The largest radius that can be certified for each example: `certboard certify --max-radius`.

Sought among decimals of few digits (`RadiusScale`), to a relative precision of 1/200: the same ones
whatever the largest radius R is, and none beyond the diameter of the domain.
Each certified radius is a proof by itself, whatever the search assumes: a method that is imprecise
in an uneven way may at worst be able to prove a larger radius than the one found. The proved
margins choose where to ask next, and no radius is asked about that reaches a witness. A row has
the largest radius that was certified, and says which larger one was not.

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
from fractions import Fraction
from math import isqrt, prod
from typing import TYPE_CHECKING, Any

from leaderboard.common.errors import BugError
from leaderboard.common.progress import RunProgress
from leaderboard.datasets.catalogue import find_dataset
from leaderboard.evaluation.evaluator import phases, uses_time
from leaderboard.evaluation.forecast import cut
from leaderboard.evaluation.radius_bracket import Bracket, RadiusScale
from leaderboard.evaluation.shard import PREDICTION, margins_at, smallest_ball
from leaderboard.evaluation.workers import run_shards
from leaderboard.settings.question import Question, Shard
from leaderboard.settings.setting import exact_text

if TYPE_CHECKING:
    import pandas as pd

FAILED_RADIUS = "failed_radius"
"""The column of the smallest radius that was tried and not certified."""

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
        self.scale = RadiusScale.below(question.radius)
        entries = prod(find_dataset(question.dataset).shape)
        # Beyond the diameter of the domain every ball is the domain.
        diameter = {"linf": 1, "l2": isqrt(entries - 1) + 1, "l1": entries}[question.norm]
        number = self.scale.number
        self.last = min(number(question.radius), number(Fraction(diameter)) + 1)
        self.open = {
            example: _Open(self._bracket(0, self.last, 0), self.last, question.seconds)
            for example, row in self.rows.items()
            # A wrong prediction at the example itself leaves nothing to search for.
            if row["status"] != "certified" and row["stage"] != PREDICTION
        }
        margins = margins_at(question, list(self.open)) if self.open else []
        for (example, one), margin in zip(self.open.items(), margins, strict=True):
            one.bracket.note(0, margin)
            if question.radius <= diameter:
                one.bracket.note(self.last, self.rows[example]["margin"])
            self._refute(example, self.rows[example])

    def _bracket(self, certified: int, failed: int, phase: int) -> Bracket:
        growing = self.phases[phase][1]
        return Bracket(failed, certified, self.scale.length, growing=growing)

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
            one.bracket = self._bracket(one.bracket.certified, one.refuted, one.phase)
        return None

    def _seconds(self, one: _Open) -> float:
        if self.phases[one.phase][1]:
            return one.seconds if one.bracket.width == 2 else one.seconds / _SHARE
        # Mostly the same for all, so that they are asked together.
        whole = self.question.seconds
        return whole if one.seconds > whole / 2 else one.seconds

    def _question(self, phase: int, k: int, seconds: float) -> Question:
        return replace(self.phases[phase][0], radius=self.scale.radius(k), seconds=seconds)

    def learn(self, shard: Shard, found: "pd.DataFrame") -> None:
        """Take in the verdicts at one radius."""
        k = self.scale.number(shard.question.radius)
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
        holding = smallest_ball(self.question, example, row["witness"], self.scale)
        one.refuted = min(one.refuted, holding)
        one.bracket.fail(one.refuted)
        if one.refuted <= one.bracket.certified:
            raise BugError(
                f"Example {example}: a radius was certified, and '{row['stage']}' has a witness"
                " within it."
            )

    def answer(self) -> "pd.DataFrame":
        """Return the rows, each with its radius."""
        import pandas as pd

        asked = self.question.radius
        records = []
        for example, row in self.rows.items():
            proved, failed = asked if row["status"] == "certified" else None, None
            if example in self.open:
                bracket = self.open[example].bracket
                proved = self.scale.radius(bracket.certified) or None
                failed = asked if bracket.failed == self.last else self.scale.radius(bracket.failed)
            records.append(
                {
                    **row,
                    "radius": proved and exact_text(proved),
                    FAILED_RADIUS: failed and exact_text(failed),
                    "note": _with_failure(row["note"], failed),
                }
            )
        return pd.DataFrame(records, columns=[*self.columns, FAILED_RADIUS])


def _with_failure(note: str, failed: Fraction | None) -> str:
    """A row's note, and the smallest radius that was tried and not certified."""
    if failed is None:
        return note
    return f"{note}; " * bool(note) + f"not proved at {exact_text(failed)}"
