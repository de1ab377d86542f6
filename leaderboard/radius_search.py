"""The largest radius that can be certified for each example: `certboard certify --max-radius`.

Bisection on the exact radii k·R/1024, where R is the largest one tried. Each certified radius is a
proof by itself, whatever bisection assumes: a method that is imprecise in an uneven way may at
worst be able to prove a larger radius than the one found.
"""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pandas as pd

from leaderboard.progress import RunProgress
from leaderboard.question import Question, Shard, shards
from leaderboard.run import PREDICTION, load_split
from leaderboard.setting import exact_text
from leaderboard.workers import run_shards

STEPS = 10
GRID = 2**STEPS


def largest_radii(
    question: Question, rows: pd.DataFrame, workers: str, progress: RunProgress
) -> pd.DataFrame:
    """`rows`, which answer `question`, with the largest radius certified for each example.

    The status stays the one at the question's radius. A smoothed model's radii are already the
    largest ones, and are left alone.
    """
    if question.sigma is not None:
        return rows
    search = _Search(question, rows)
    for step in range(1, STEPS + 1):
        progress.restart(f"radius, step {step} of {STEPS}", len(search.open))
        with closing(run_shards(list(search.next_shards()), workers)) as finished:
            for shard, found in finished:
                search.learn(shard, found)
                progress.advance(found, False)
    return search.answer()


class _Search:
    """For each example the largest k certified and the smallest k that was not."""

    def __init__(self, question: Question, rows: pd.DataFrame) -> None:
        self.question = question
        self.rows = {int(row["example"]): row for row in rows.to_dict("records")}
        self.columns = list(rows.columns)
        self.certified = {
            example: GRID if row["status"] == "certified" else 0
            for example, row in self.rows.items()
        }
        # A wrong prediction at the example itself leaves nothing to search for.
        self.open = {
            example: GRID
            for example, row in self.rows.items()
            if row["status"] != "certified" and row["stage"] != PREDICTION
        }

    def next_shards(self) -> Iterator[Shard]:
        """The open examples, those of the same radius together."""
        groups = defaultdict(list)
        for example, above in self.open.items():
            groups[(self.certified[example] + above) // 2].append(example)
        shape = load_split(self.question.dataset).shape
        for k, examples in sorted(groups.items()):
            radius = self.question.radius * k / GRID
            yield from shards(replace(self.question, radius=radius), examples, shape)

    def learn(self, shard: Shard, found: pd.DataFrame) -> None:
        """Take in the verdicts at one radius."""
        k = int(shard.question.radius * GRID / self.question.radius)
        for now in found.to_dict("records"):
            example = int(now["example"])
            before = self.rows[example]
            seconds = round(before["seconds"] + now["seconds"], 6)
            if now["status"] == "certified":
                self.certified[example] = k
            else:
                self.open[example] = k
            # A witness in a smaller ball refutes the larger one, too.
            refutes = now["status"] == "falsified" and before["status"] == "unknown"
            self.rows[example] = {**(now if refutes else before), "seconds": seconds}

    def answer(self) -> pd.DataFrame:
        """The rows, each with its radius."""
        records = [
            {**row, "radius": exact_text(self.question.radius * k / GRID) if k else None}
            for row, k in zip(self.rows.values(), self.certified.values(), strict=True)
        ]
        return pd.DataFrame(records, columns=self.columns)
