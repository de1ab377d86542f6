"""What was published about a model, beside what was measured here."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import pandas as pd
from scipy.stats import binomtest

from leaderboard.metrics import CONFIDENCE_LEVEL, Interval, certified_mask, correct
from leaderboard.submission import Claim

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
    """

    what: str
    claimed: float
    measured: float
    interval: Interval
    support: Support

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


def judge(claim: Claim, rows: pd.DataFrame, radius: Fraction, total: int) -> list[Judged]:
    """Every number of a claim beside the rows of its setting, of `total` examples in the test set.

    With all examples the shares are exact, otherwise Clopper-Pearson intervals of 95 %.
    """
    right, proved = correct(rows), certified_mask(rows, radius)
    broken = (rows["status"] == "falsified") | ~right
    found = [_judged("certified", claim.certified, proved, ~broken, total)]
    if claim.clean is not None:
        found.insert(0, _judged("clean", claim.clean, right, right, total))
    return found


_ROUNDING = 0.5
"""Hundredths of a percent are what papers print; the last place may be rounded up."""


def _judged(
    what: str, claimed: float, surely: "pd.Series[bool]", perhaps: "pd.Series[bool]", total: int
) -> Judged:
    low, high = _interval(surely, total).low, _interval(perhaps, total).high
    measured = 100 * int(surely.sum()) / len(surely)
    slack = _ROUNDING / 100 if claimed != round(claimed, 1) else 10 * _ROUNDING / 100
    if claimed - slack > high:
        support: Support = "contradicted"
    else:
        support = "supported" if claimed - slack <= measured else "open"
    return Judged(what, claimed, measured, Interval(low, high), support)


def _interval(mask: "pd.Series[bool]", total: int) -> Interval:
    """Of the share among `total` examples, in percent."""
    count, size = int(mask.sum()), len(mask)
    if size >= total:
        share = 100 * count / size
        return Interval(share, share)
    found = binomtest(count, size).proportion_ci(CONFIDENCE_LEVEL, method="exact")
    return Interval(100 * float(found.low), 100 * float(found.high))
