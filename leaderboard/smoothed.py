"""What rows of smoothed models say together: curves, their envelope, and how sure a page is."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import TYPE_CHECKING

import pandas as pd

from leaderboard.board import Board
from leaderboard.metrics import certified_at, correct, is_smoothed, proved_radii

if TYPE_CHECKING:
    from leaderboard.results import Results

DOUBT = Fraction(1, 20)
"""How unlikely it is that a page has more wrong certificates than it says."""

_MOST_COLUMNS = 8
_STEPS = (Fraction(1), Fraction(2), Fraction(5, 2), Fraction(5))


@dataclass(frozen=True)
class Curve:
    """One smoothed model, with all its radii.

    `sigma` is the scale of its noise as stored; `own` tells whether it was measured in the
    setting that is looked at, or in another of the same dataset and norm.
    """

    slug: str
    title: str
    noise: str
    sigma: str
    own: bool
    result: "Results"

    @property
    def label(self) -> str:
        """`Digits, Gaussian noise · gaussian, σ = 0.25`."""
        return f"{self.title} · {self.noise}, σ = {self.sigma}"

    def certified(self, radius: Fraction) -> float:
        """The share of examples that are certified at `radius`; at 0, those rightly predicted."""
        rows = self.result.rows
        return float((certified_at(rows, radius) if radius else correct(rows)).mean())


def curves(board: Board, setting: str) -> list[Curve]:
    """The smoothed models of a setting's dataset and norm, by scale and title; each one once."""
    place = board.settings[setting]
    chosen: dict[str, Results] = {}
    for result in board.results:
        origin = result.provenance
        other = board.settings[origin.setting]
        same = (other.dataset, other.norm) == (place.dataset, place.norm)
        known = chosen.get(origin.submission)
        if same and is_smoothed(result.rows) and (known is None or origin.setting == setting):
            chosen[origin.submission] = result
    found = [_curve(board, setting, result) for result in chosen.values()]
    return sorted(found, key=lambda curve: (Fraction(curve.sigma), curve.title, curve.slug))


def _curve(board: Board, setting: str, result: "Results") -> Curve:
    origin = result.provenance
    sigma = str(result.rows["sigma"].dropna().iloc[0])
    title, noise = board.submissions[origin.submission].title, origin.distribution or "gaussian"
    return Curve(origin.submission, title, noise, sigma, origin.setting == setting, result)


def steps(rows: pd.DataFrame, most: int) -> list[tuple[Fraction, float]]:
    """Where a curve falls: (radius, share certified at that radius), at most about `most` of them.

    Leaving some out moves no step upwards.
    """
    proved = zip(proved_radii(rows), correct(rows), strict=True)
    reached = sorted(radius for radius, right in proved if radius is not None and right)
    total = len(rows)
    falls = [
        (radius, (len(reached) - position) / total)
        for position, radius in enumerate(reached)
        if position == 0 or radius != reached[position - 1]
    ]
    kept = falls[:: -(-len(falls) // most) if falls else 1]
    return kept if not falls or kept[-1] == falls[-1] else [*kept, falls[-1]]


def envelope(
    falls: Sequence[Sequence[tuple[Fraction, float]]],
) -> list[tuple[Fraction, float]]:
    """The best of several curves at every radius, at the steps where it falls."""
    radii = sorted({radius for curve in falls for radius, _ in curve})
    best = [
        (radius, max(next((share for at, share in curve if at >= radius), 0.0) for curve in falls))
        for radius in radii
    ]
    following = [*(share for _, share in best[1:]), 0.0]
    return [point for point, after in zip(best, following, strict=True) if point[1] > after]


def columns(board: Board, setting: str, found: Sequence[Curve]) -> list[Fraction]:
    """Radii for a table: 0, round ones up to the largest proved, and those of the settings."""
    place = board.settings[setting]
    asked = {
        other.radius
        for other in board.settings.values()
        if (other.dataset, other.norm) == (place.dataset, place.norm)
    }
    largest = max((_largest(curve.result.rows) for curve in found), default=Fraction(0))
    step = _round_step(largest)
    grid = {step * number for number in range(1, _MOST_COLUMNS + 1) if step * number <= largest}
    return sorted({Fraction(0), *grid, *asked})


def _largest(rows: pd.DataFrame) -> Fraction:
    return max((radius for radius in proved_radii(rows) if radius), default=Fraction(0))


def _round_step(largest: Fraction) -> Fraction:
    """The least of 1, 2, 2.5, 5 times a power of ten of which few steps reach `largest`."""
    power = Fraction(1, 10**9)
    while True:
        for factor in _STEPS:
            if factor * power * _MOST_COLUMNS >= largest:
                return factor * power
        power *= 10


@dataclass(frozen=True)
class Sureness:
    """How many certificates of a page may be wrong.

    Attributes:
        statements: examples about which a smoothed model's evaluation may state a radius.
        expected: upper bound of the expected number of wrong ones, the sum of all their failure
            probabilities; it needs no independence.
        most: a number that is exceeded with probability at most `DOUBT`, by Markov's inequality,
            which needs no independence either.
    """

    statements: int
    expected: Fraction
    most: int


def sureness(results: Iterable["Results"]) -> Sureness | None:
    """What can be said about all smoothed results of a page together; None where there is none.

    Every example that was sampled counts, certified or not: choosing the certified ones
    afterwards would change their chance of being wrong.
    """
    statements, expected = 0, Fraction(0)
    for result in results:
        rows = result.rows
        if not is_smoothed(rows) or not rows["n"].notna().any():
            continue
        sampled = int(rows["n"].notna().sum())
        statements += sampled
        expected += sampled * _failure_probability(result)
    if not statements:
        return None
    return Sureness(statements, expected, max(0, ceil(expected / DOUBT) - 1))


def _failure_probability(result: "Results") -> Fraction:
    """Of one example, as it was asked for; else one minus the confidence stored, rounded up."""
    told = result.provenance.options.get("failure_probability")
    if told is not None:
        return Fraction(str(told))
    least = float(result.rows["confidence"].min())
    return Fraction(ceil((1 - Fraction(least)) * 10**12), 10**12)
