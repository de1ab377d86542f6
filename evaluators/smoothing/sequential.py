"""Samples until the radius asked about is certified, or hopeless, or `n` are drawn.

The bound of the class's probability holds at all numbers of samples at once: it inverts an
e-process, a mixture of likelihood ratios (Robbins 1970, doi 10.1214/aoms/1177696786; Howard et al.
2021, arXiv 1810.08240), whose mixture lies on the probabilities that the radius needs. Horváth et
al. (2022, arXiv 2106.06946) decide a radius by repeated tests; this looks as often as it likes.

Guarantee: each example's bounds hold except with `failure_probability`, whatever made it stop.
Half of that goes to the anytime-valid bound, the other half to the Clopper-Pearson bound at the
fixed number `n`, which an example that goes that far gets as well, and the better one is reported:
by the union bound both hold. With two sides each half is split as the fixed procedure splits the
whole.

Abandoning proves nothing, so it needs no part of that: an example is given up when an e-process
against "the class is likely enough" reaches 1/`failure_probability`. An example whose class is
likely enough is given up by mistake with at most this probability.

Agreement with the fixed procedure: where the true probability does not suffice, both certify with
probability at most `failure_probability`. Where it is so large that the fixed one would certify
with half of its failure probability but for a chance of b, this one does but for a chance of
b + `failure_probability`. Between the two, in an interval of some 1/√n, either may be luckier.

Cost: about log(1/`failure_probability`)/d samples, d the relative entropy between the true
probability and the needed one; at most n.
"""

from dataclasses import dataclass, replace
from math import log

from evaluators.noises.distribution import Probabilities
from evaluators.smoothing.confidence import anytime_lower, log_evidence
from evaluators.smoothing.procedure import (
    Estimate,
    Look,
    Stepwise,
    Votes,
    VoteTally,
    exact_bounds,
    one_sided,
    two_sided,
)
from evaluators.smoothing.radius import RadiusTarget


@dataclass(frozen=True)
class Sequential(Stepwise):
    """It has an anytime-valid bound at every look, and stops when that decides the radius."""

    def unanimous(self, classes: int) -> Probabilities:
        """Bound a class that all samples vote for, by the better half: that at the number `n`."""
        halved = replace(self, failure_probability=self.failure_probability / 2)
        return exact_bounds(halved, self.n, 0, self.n, classes)

    def look(self, asked: RadiusTarget, votes: Votes) -> Look:
        """Return the rule that stops at success, when hopeless, or at `n` samples."""
        halved = replace(self, failure_probability=self.failure_probability / 2)
        # What no count of n samples can reach is given up at the first look.
        reachable = asked.reached(self.unanimous(votes.classes))
        # With two sides a class may do with less than one side needs.
        above = asked.needed if self.sides == 1 and 0.0 < asked.needed < 1.0 else 0.0

        def rule(tally: VoteTally) -> Estimate | None:
            last, note = tally.drawn == self.n, ""
            if not last and not halved.certifies(tally, asked, above, votes.classes):
                if reachable and not self.hopeless(tally, asked, above, votes.classes):
                    return None
                note = f"abandoned after {tally.drawn} samples"
            bounds = halved.anytime_bounds(tally, votes.classes, above)
            if last:
                exact = exact_bounds(halved, tally.won, tally.runner_up, self.n, votes.classes)
                bounds = Probabilities(
                    max(bounds.lower, exact.lower), min(bounds.upper, exact.upper)
                )
            used = ("limit", float(self.n)), ("needed", above)
            return Estimate(
                tally.prediction, tally.drawn, tally.won, tally.runner_up, bounds, used, note
            )

        return rule

    def certifies(self, tally: VoteTally, asked: RadiusTarget, above: float, classes: int) -> bool:
        """Tell whether the anytime-valid bounds give the radius asked about."""
        # The evidence is cheap, the bound a search, and the radius another one.
        least = log(1 / self.failure_probability)
        if self.sides == 1 and log_evidence(tally.won, tally.drawn, above) < least:
            return False
        return asked.reached(self.anytime_bounds(tally, classes, above))

    def anytime_bounds(self, tally: VoteTally, classes: int, above: float) -> Probabilities:
        """Compute bounds that hold at all looks together, but for the failure probability.

        Each other class is bounded at all times, so the largest count is, whosever it is.
        """
        drawn = tally.drawn
        lower = anytime_lower(tally.won, drawn, self.own_share, above)
        if self.sides == 1:
            return one_sided(lower)
        rest = anytime_lower(drawn - tally.runner_up, drawn, self.other_share(classes))
        return two_sided(lower, one_sided(rest).upper)

    def hopeless(self, tally: VoteTally, asked: RadiusTarget, above: float, classes: int) -> bool:
        """Tell whether the best probabilities that the counts allow still miss the radius."""
        drawn, failure = tally.drawn, self.failure_probability
        if self.sides == 1:
            return log_evidence(drawn - tally.won, drawn, 1 - above) >= log(1 / failure)
        most = one_sided(anytime_lower(drawn - tally.won, drawn, self.own_share)).upper
        least = anytime_lower(tally.runner_up, drawn, self.other_share(classes))
        # No certificate takes a probability of 0 or 1 seriously.
        hoped = Probabilities(min(most, 1 - 1e-15), max(least, 1e-15))
        return not asked.reached(hoped)
