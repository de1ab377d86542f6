"""Two evaluations of the same examples beside each other, and McNemar's exact test."""

from collections.abc import Mapping
from dataclasses import dataclass

from scipy.special import bdtr

from leaderboard.results.highlights import CERTIFIED, Highlights


@dataclass(frozen=True)
class Paired:
    """How many of the examples that both were asked about each certifies.

    `p_value` is of McNemar's exact test that both certify equally often: two-sided, the binomial
    distribution of the examples that only one of them certifies.
    """

    both: int
    only_first: int
    only_second: int
    neither: int
    p_value: float

    @property
    def examples(self) -> int:
        """How many both were asked about."""
        return self.both + self.only_first + self.only_second + self.neither


def paired(first: Highlights, second: Highlights) -> Paired:
    """Two evaluations of one setting, on the examples that both have."""
    others = certified(second)
    counts = {(one, other): 0 for one in (True, False) for other in (True, False)}
    for example, one in certified(first).items():
        if example in others:
            counts[one, others[example]] += 1
    only_first, only_second = counts[True, False], counts[False, True]
    return Paired(
        counts[True, True],
        only_first,
        only_second,
        counts[False, False],
        mcnemar(only_first, only_second),
    )


def certified(found: Highlights) -> Mapping[int, bool]:
    """Whether each example is certified, by its index in the test set."""
    letters = zip(found.examples, found.letters, strict=True)
    return {example: letter == CERTIFIED for example, letter in letters}


def mcnemar(only_first: int, only_second: int) -> float:
    """The two-sided p-value of McNemar's exact test (McNemar, Psychometrika 12, 1947).

    Twice the smaller tail, since the binomial distribution of a fair coin is symmetric.
    """
    tail = float(bdtr(min(only_first, only_second), only_first + only_second, 0.5))
    return min(1.0, 2 * tail)
