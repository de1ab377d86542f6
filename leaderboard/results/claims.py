"""What was published about a model, beside what was measured here."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from leaderboard.results.metrics import ConfidenceInterval, clopper_pearson
from leaderboard.results.tally import Tally
from leaderboard.submissions.manifest import Claim

Support = Literal["supported", "open", "contradicted"]


@dataclass(frozen=True)
class Judged:
    """A claimed share beside the measured one.

    Attributes:
        what: `clean` or `certified`.
        claimed: in percent.
        measured: in percent, of the rows.
        interval: of what the whole test set may have, in percent; for a certified accuracy its
            upper end counts examples that are neither certified nor falsified.
        support: "supported" if the claim is not above what was measured or its lower interval;
            "open" if it is above, but examples not yet decided or not yet run could make it true;
            "contradicted" if even those could not.
        note: what the claim was published of.
    """

    what: str
    claimed: float
    measured: float
    interval: ConfidenceInterval
    support: Support
    note: str = ""

    @property
    def difference(self) -> float:
        """Percentage points that were measured beyond what was claimed; negative below it."""
        return self.measured - self.claimed

    @property
    def sentence(self) -> str:
        """Both numbers, and what follows."""
        low, high = self.interval.low, self.interval.high
        word = {
            "supported": "the claim is supported",
            "open": "the claim is neither supported nor contradicted",
            "contradicted": "the claim is contradicted",
        }[self.support]
        return (
            f"{self.what}: claimed {self.claimed:.2f} %, measured {self.measured:.2f} %"
            f" (the whole test set: {low:.2f} to {high:.2f} %): {word}."
        )


def judge(claim: Claim, tally: Tally, radius: Fraction, total: int) -> list[Judged]:
    """Every number of a claim beside the counts of its setting; `total` is the test set's size.

    With all examples the shares are exact, otherwise Clopper-Pearson intervals of 95 %.
    """
    perhaps = min(tally.correct, tally.examples - tally.of_status("falsified"))
    proved = tally.certified(radius)
    right = tally.correct
    counted = (
        ("clean", claim.clean, right, right),
        ("certified", claim.certified, proved, max(proved, perhaps)),
    )
    return [
        _judged(what, claimed, surely, most, claim.note, tally, total)
        for what, claimed, surely, most in counted
        if claimed is not None
    ]


_ROUNDING = 0.5
"""Of the last place that a paper prints: it may have been rounded up."""


def _judged(
    what: str, claimed: float, surely: int, perhaps: int, note: str, tally: Tally, total: int
) -> Judged:
    low = _interval(surely, tally.examples, total).low
    high = _interval(perhaps, tally.examples, total).high
    measured = 100 * surely / tally.examples
    slack = _ROUNDING * (0.1 if claimed == round(claimed, 1) else 0.01)
    if claimed - slack > high:
        support: Support = "contradicted"
    else:
        support = "supported" if claimed - slack <= measured else "open"
    return Judged(what, claimed, measured, ConfidenceInterval(low, high), support, note)


def _interval(count: int, size: int, total: int) -> ConfidenceInterval:
    """Of the share among `total` examples, in percent."""
    if size >= total:
        share = 100 * count / size
        return ConfidenceInterval(share, share)
    found = clopper_pearson(count, size)
    return ConfidenceInterval(100 * found.low, 100 * found.high)
