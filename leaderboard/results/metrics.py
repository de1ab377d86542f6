"""Metrics of one re-evaluation: each is one entry that knows its name, its unit and its direction.

Everything shown about a re-evaluated submission is computed here from the tally of its rows, one
per test example, in the columns of `leaderboard.results.store`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Literal

import pandas as pd
from scipy.special import betaincinv

from leaderboard.results.tally import Tally, stored_fraction

CONFIDENCE_LEVEL = 0.95


@dataclass(frozen=True)
class ConfidenceInterval:
    """A two-sided confidence interval of a share, both ends in [0, 1]."""

    low: float
    high: float


@dataclass(frozen=True)
class Metric:
    """One number computed from the rows of one re-evaluation.

    `value` takes the counts of the rows (any number of them, one per test example) and the
    setting's exact radius; it returns a share in [0, 1] or seconds, or None where the rows cannot
    tell.
    """

    name: str
    title: str
    description: str
    better: Literal["higher", "lower"]
    unit: Literal["share", "seconds"]
    value: Callable[[Tally, Fraction], float | None]


def is_smoothed(rows: pd.DataFrame) -> bool:
    """Whether the rows are a smoothed model's, which stores each example's largest radius."""
    return bool(rows["sigma"].notna().any())


def correct(rows: pd.DataFrame) -> "pd.Series[bool]":
    """Per example: the prediction is the label; abstaining is not."""
    return (rows["prediction"] == rows["label"]).fillna(False).astype(bool)


def proved_radii(rows: pd.DataFrame) -> list[Fraction | None]:
    """Per example: the exact largest radius proved, or None where nothing was proved."""
    known = {text: stored_fraction(text) for text in rows["radius"].dropna().unique()}
    return [known.get(text) for text in rows["radius"]]


def certified_at(rows: pd.DataFrame, radius: Fraction) -> "pd.Series[bool]":
    """Per example: correct, and proved at `radius`, decided by exact fractions."""
    reached = [proved is not None and proved >= radius for proved in proved_radii(rows)]
    return correct(rows) & pd.Series(reached, index=rows.index, dtype=bool)


@lru_cache(maxsize=4096)
def clopper_pearson(successes: int, examples: int) -> ConfidenceInterval:
    """The exact two-sided interval of a share, at `CONFIDENCE_LEVEL`, from a binomial count.

    Clopper and Pearson (Biometrika 26, 1934): quantiles of two beta distributions.
    """
    tail = (1 - CONFIDENCE_LEVEL) / 2
    failures = examples - successes
    low = betaincinv(successes, failures + 1, tail) if successes else 0.0
    high = betaincinv(successes + 1, failures, 1 - tail) if failures else 1.0
    return ConfidenceInterval(float(low), float(high))


def certified_interval(tally: Tally, radius: Fraction, total: int) -> ConfidenceInterval | None:
    """Clopper-Pearson interval of the certified accuracy on the whole test set.

    None when all `total` examples were evaluated: the share is then exact, not an estimate.
    """
    if tally.examples == 0 or tally.examples >= total:
        return None
    return clopper_pearson(tally.certified(radius), tally.examples)


def _share(part: int, tally: Tally) -> float | None:
    return part / tally.examples if tally.examples else None


def _attack(tally: Tally, _radius: Fraction) -> float | None:
    return None if tally.smoothed else _share(tally.examples - tally.of_status("falsified"), tally)


def _unknown(tally: Tally, radius: Fraction) -> float | None:
    decided = tally.certified(radius) + tally.of_status("falsified")
    return _share(tally.examples - decided, tally)


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "certified",
            "Certified accuracy",
            "Share of examples classified correctly and proved so in the whole ball: "
            "a lower bound on the model's robust accuracy.",
            "higher",
            "share",
            lambda tally, radius: _share(tally.certified(radius), tally),
        ),
        Metric(
            "clean",
            "Clean accuracy",
            "Share of unperturbed examples classified correctly.",
            "higher",
            "share",
            lambda tally, _: _share(tally.correct, tally),
        ),
        Metric(
            "attack",
            "Attack accuracy",
            "Share of examples for which no attack found a counterexample: "
            "an upper bound on the model's robust accuracy.",
            "higher",
            "share",
            _attack,
        ),
        Metric(
            "unknown",
            "Unknown",
            "Share of examples neither proved robust nor shown to be vulnerable.",
            "lower",
            "share",
            _unknown,
        ),
        Metric(
            "median-seconds",
            "Median time",
            "Median time spent on one example, of the processor on a CPU.",
            "lower",
            "seconds",
            lambda tally, _: tally.median_seconds,
        ),
        Metric(
            "total-seconds",
            "Total time",
            "Time spent on all examples together, of the processor on a CPU.",
            "lower",
            "seconds",
            lambda tally, _: tally.total_seconds,
        ),
    )
}
