"""Algorithm CERTIFY of Cohen, Rosenfeld and Kolter 2019 (arXiv 1902.02918, section 3.2.2).

`n0` samples select the class, `n` others, their number fixed in advance, bound its probability by
Clopper and Pearson's exact interval.

Guarantee: each example's bounds hold together except with `failure_probability`, since the number
of samples and the class are fixed before the first estimation sample is drawn. With two sides half
of it goes to the class, and half to the others in equal parts (Bonferroni): each other class's
probability is bounded from above, so it does not matter which one turns out to be the runner-up.

Cost: n0 + n samples for each example.
"""

from dataclasses import dataclass
from typing import ClassVar

from evaluators.sampling.block import OvertimeError
from evaluators.sampling.noise import ESTIMATION, SELECTION
from evaluators.smoothing.procedure import (
    Estimate,
    Estimates,
    SamplingProcedure,
    Votes,
    exact_bounds,
    largest_other,
)
from evaluators.smoothing.radius import RadiusTarget


@dataclass(frozen=True)
class Fixed(SamplingProcedure):
    """CERTIFY draws `n` samples, a number that is fixed before the first of them."""

    moments: ClassVar[bool] = True

    def __call__(self, votes: Votes, _asked: RadiusTarget, moments: bool = False) -> Estimates:
        """Bound every example's probabilities from exactly `n` samples."""
        rows = range(len(votes))
        sums = None
        try:
            top = votes.count(SELECTION, rows, 0, self.n0).argmax(1)
            if moments:
                counts, sums = votes.moments(rows, top, self.n)
            else:
                counts = votes.count(ESTIMATION, rows, 0, self.n)
        except OvertimeError:
            return [None] * len(votes)
        own = counts.gather(1, top[:, None])[:, 0].tolist()
        others = largest_other(counts, top).tolist()
        return [
            Estimate(
                prediction,
                self.n,
                count,
                other,
                exact_bounds(self, count, other, self.n, votes.classes),
                moments=None if sums is None else sums[:, row],
            )
            for row, (prediction, count, other) in enumerate(
                zip(top.tolist(), own, others, strict=True)
            )
        ]
