"""CERTIFY, stopped where the rest of its samples can no longer change the decision.

The fixed procedure's bounds are functions of the counts among all n samples. After m of them the
final count of the class is at least the one so far, and at most that plus n - m. When the worst
case already reaches the radius asked about, or the best case no longer can, the decision is made.

Guarantee: the decision about the radius is that of the fixed procedure with the same samples, in
every single run; so the guarantee is the same too, with no price for stopping early. The bounds
reported are the fixed procedure's for the worst case of the samples that were not drawn: never
better than those that it would have reported, and valid because those are. (Curtailed sampling:
Wald 1947, Sequential Analysis, chapter 5.)

Trusted: for the agreement, not for the guarantee, that a certificate's radius grows with the
probability of the class and falls with that of another.

Cost: at most n samples. An example far from the radius stops after (1 - k/n)/(1 - p) of n, where
the radius needs k of n; one that reaches it stops after k, at the earliest.
"""

from bisect import bisect_left
from dataclasses import dataclass

from evaluators.smoothing.procedure import Estimate, Look, Stepwise, Votes, VoteTally, exact_bounds
from evaluators.smoothing.radius import RadiusTarget


@dataclass(frozen=True)
class Curtailed(Stepwise):
    """CERTIFY with early abandonment and early success; it decides as the fixed procedure does."""

    def look(self, asked: RadiusTarget, votes: Votes) -> Look:
        """Return the rule that stops where worst and best case agree."""

        def bounds(count: int, other: int) -> Estimate:
            probabilities = exact_bounds(self, count, other, self.n, votes.classes)
            return Estimate(0, self.n, count, other, probabilities)

        enough = 0
        if self.sides == 1:
            # The least count that reaches the radius, found by the very test that decides.
            enough = bisect_left(
                range(self.n + 1), True, key=lambda k: asked.reached(bounds(k, 0).probabilities)
            )

        def reached(count: int, other: int) -> bool:
            if self.sides == 1:
                return count >= enough
            return asked.reached(bounds(count, other).probabilities)

        def rule(tally: VoteTally) -> Estimate | None:
            left = self.n - tally.drawn
            worst = tally.won, min(tally.runner_up + left, self.n - tally.won)
            succeeded = reached(*worst)
            if not succeeded and left and reached(tally.won + left, tally.runner_up):
                return None
            probabilities = bounds(*worst).probabilities
            note = "" if succeeded or not left else f"abandoned after {tally.drawn} samples"
            drawn = (("drawn", float(tally.drawn)),)
            return Estimate(tally.prediction, self.n, *worst, probabilities, drawn, note)

        return rule
