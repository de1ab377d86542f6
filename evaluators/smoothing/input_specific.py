"""A number of samples for each example, chosen by its selection samples.

Chen et al. (AAAI 2022, arXiv 2112.12084) choose it so that the certified radius loses little
against `n` samples; this chooses it for the one radius asked about. It is the least number, among
the looks of the stepwise procedures, that certifies this radius in 99 of 100 runs even at the lower
end of what the selection samples say about the class; `n` where none does; the first look where
even the upper end does not suffice, or no count of `n` samples would.

Guarantee: each example's bounds hold except with `failure_probability`. The number of samples is a
function of the selection samples, of which the estimation samples are independent: given the
former, it is fixed, and Clopper and Pearson's interval holds.

Cost: n0 samples and the chosen number of others, at most n.
"""

from bisect import bisect_left
from dataclasses import dataclass
from functools import cache

from evaluators.smoothing.confidence import clopper_pearson_lower, clopper_pearson_upper, upper_tail
from evaluators.smoothing.procedure import (
    Estimate,
    Look,
    Stepwise,
    Votes,
    VoteTally,
    exact_bounds,
    looks,
)
from evaluators.smoothing.radius import RadiusTarget

DOUBT = 0.05
"""Chance that an end of the interval of the selection samples is wrong; costs samples, no more."""

MISSED = 0.01
"""Chance that the chosen number is too small for a class of the probability assumed."""


@dataclass(frozen=True)
class InputSpecific(Stepwise):
    """CERTIFY with a number of samples that each example's selection samples choose."""

    def look(self, asked: RadiusTarget, votes: Votes) -> Look:
        """Return the rule that stops at the number that the selection samples chose."""
        possible = list(looks(self.n, votes.block))

        @cache
        def enough(samples: int) -> int:
            """Find the least count that reaches the radius; one more than all if none does."""
            return bisect_left(
                range(samples + 1),
                True,
                key=lambda k: clopper_pearson_lower(k, samples, self.own_share) >= asked.needed,
            )

        @cache
        def chosen(selected: int) -> int:
            lower = clopper_pearson_lower(selected, self.n0, DOUBT)
            upper = clopper_pearson_upper(selected, self.n0, DOUBT)
            if not asked.needed <= upper or enough(self.n) > self.n:
                return possible[0]
            for samples in possible:
                count = enough(samples)
                if count <= samples and upper_tail(count, samples, lower) >= 1 - MISSED:
                    return samples
            return self.n

        def rule(tally: VoteTally) -> Estimate | None:
            if tally.drawn < chosen(tally.selected):
                return None
            won, other = tally.won, tally.runner_up
            bounds = exact_bounds(self, won, other, tally.drawn, votes.classes)
            selected = (("selected", float(tally.selected)),)
            return Estimate(tally.prediction, tally.drawn, won, other, bounds, selected)

        return rule
