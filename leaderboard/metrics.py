"""Metrics of one re-evaluation: each is one entry that knows its name, its unit and its direction.

Everything shown about a re-evaluated submission is computed here from its rows, one per test
example, in the columns of `leaderboard.results`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import pandas as pd
from scipy.stats import binomtest

CONFIDENCE_LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A two-sided confidence interval of a share, both ends in [0, 1]."""

    low: float
    high: float


@dataclass(frozen=True)
class Metric:
    """One number computed from the rows of one re-evaluation.

    `value` takes the rows (any number of them, one per test example) and the setting's exact
    radius; it returns a share in [0, 1] or seconds, or None where the rows cannot tell.
    """

    name: str
    title: str
    description: str
    better: Literal["higher", "lower"]
    unit: Literal["share", "seconds"]
    value: Callable[[pd.DataFrame, Fraction], float | None]


def is_smoothed(rows: pd.DataFrame) -> bool:
    """Whether the rows are a smoothed model's, which stores each example's largest radius."""
    return bool(rows["sigma"].notna().any())


def is_probabilistic(rows: pd.DataFrame) -> bool:
    """Whether certificates may fail by chance: of a smoothed model, unless its noise is summed up.

    Some noise has so few values that all of them are run; nothing is sampled then.
    """
    return is_smoothed(rows) and bool(rows["n"].notna().any())


def correct(rows: pd.DataFrame) -> "pd.Series[bool]":
    """Per example: the prediction is the label; abstaining is not."""
    return (rows["prediction"] == rows["label"]).fillna(False).astype(bool)


def proved_radii(rows: pd.DataFrame) -> list[Fraction | None]:
    """Per example: the exact largest radius proved, or None where nothing was proved."""
    known = {text: Fraction(text) for text in rows["radius"].dropna().unique()}
    return [known.get(text) for text in rows["radius"]]


def certified_at(rows: pd.DataFrame, radius: Fraction) -> "pd.Series[bool]":
    """Per example: correct, and proved at `radius`, decided by exact fractions."""
    reached = [proved is not None and proved >= radius for proved in proved_radii(rows)]
    return correct(rows) & pd.Series(reached, index=rows.index, dtype=bool)


def certified_mask(rows: pd.DataFrame, radius: Fraction) -> "pd.Series[bool]":
    """Per example: certified at the setting's own radius.

    A plain model's verdict was decided at that radius; a smoothed one's is decided again here
    from the radius it stored.
    """
    if is_smoothed(rows):
        return certified_at(rows, radius)
    return (rows["status"] == "certified").astype(bool)


def certified_interval(rows: pd.DataFrame, radius: Fraction, total: int) -> Interval | None:
    """Clopper-Pearson interval of the certified accuracy on the whole test set.

    None when all `total` examples were evaluated: the share is then exact, not an estimate.
    """
    if len(rows) == 0 or len(rows) >= total:
        return None
    successes = int(certified_mask(rows, radius).sum())
    found = binomtest(successes, len(rows)).proportion_ci(CONFIDENCE_LEVEL, method="exact")
    return Interval(float(found.low), float(found.high))


def _share(mask: "pd.Series[bool]") -> float | None:
    return float(mask.mean()) if len(mask) else None


def _certified(rows: pd.DataFrame, radius: Fraction) -> float | None:
    return _share(certified_mask(rows, radius))


def _clean(rows: pd.DataFrame, _radius: Fraction) -> float | None:
    return _share(correct(rows))


def _attack(rows: pd.DataFrame, _radius: Fraction) -> float | None:
    if is_smoothed(rows):
        return None
    return _share((rows["status"] != "falsified").astype(bool))


def _unknown(rows: pd.DataFrame, radius: Fraction) -> float | None:
    return _share(~certified_mask(rows, radius) & (rows["status"] != "falsified").astype(bool))


def _median_seconds(rows: pd.DataFrame, _radius: Fraction) -> float | None:
    return float(rows["seconds"].median()) if len(rows) else None


def _total_seconds(rows: pd.DataFrame, _radius: Fraction) -> float | None:
    return float(rows["seconds"].sum()) if len(rows) else None


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
            _certified,
        ),
        Metric(
            "clean",
            "Clean accuracy",
            "Share of unperturbed examples classified correctly.",
            "higher",
            "share",
            _clean,
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
            "Median time spent on one example.",
            "lower",
            "seconds",
            _median_seconds,
        ),
        Metric(
            "total-seconds",
            "Total time",
            "Time spent on all examples together.",
            "lower",
            "seconds",
            _total_seconds,
        ),
    )
}
