"""What rows of smoothed models say together: curves, their envelope, and how sure a page is."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import TYPE_CHECKING

from leaderboard.board.board import Board
from leaderboard.results.tally import Tally, stored_fraction
from leaderboard.settings.setting import LEAST_EXAMPLES, Setting

if TYPE_CHECKING:
    from leaderboard.results.store import Results

DOUBT = Fraction(1, 20)
"""How unlikely it is that a page has more wrong certificates than it says."""

_MOST_COLUMNS = 8
_STEPS = (Fraction(1), Fraction(2), Fraction(5, 2), Fraction(5))


@dataclass(frozen=True)
class RadiusCurve:
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

    @property
    def leads(self) -> bool:
        """Say whether it was measured on enough examples to be called best at a radius."""
        return self.result.tally.examples >= LEAST_EXAMPLES

    def certified(self, radius: Fraction) -> float:
        """Return the share of examples certified at `radius`; at 0, of those read rightly."""
        tally = self.result.tally
        return (tally.reaching(radius) if radius else tally.correct) / tally.examples


def curves(board: Board, setting: str) -> list[RadiusCurve]:
    """List the smoothed models of a setting's dataset and norm once each, by scale and title."""
    chosen: dict[str, Results] = {}
    family = same_norm(board.settings, setting)
    disputed = {line.slug for line in board.disputed.get(setting, ())}
    for result in board.results:
        origin = result.provenance
        if origin.submission in disputed:
            continue  # nor does its curve from another radius of this norm stand here
        # What costs least is asked first: most results are of other settings.
        if origin.setting not in family or not result.tally.smoothed or not board.in_table(result):
            continue
        if origin.submission not in chosen or origin.setting == setting:
            chosen[origin.submission] = result
    found = [_curve(board, setting, result) for result in chosen.values()]
    return sorted(found, key=lambda curve: (stored_fraction(curve.sigma), curve.title, curve.slug))


def same_norm(settings: Mapping[str, Setting], name: str) -> set[str]:
    """Return the names of the settings of the same dataset and norm, this one among them."""
    place = settings[name]
    return {
        other.id
        for other in settings.values()
        if (other.dataset, other.norm) == (place.dataset, place.norm)
    }


def _curve(board: Board, setting: str, result: "Results") -> RadiusCurve:
    origin = result.provenance
    title, noise = board.submissions[origin.submission].title, origin.distribution or "gaussian"
    return RadiusCurve(
        slug=origin.submission,
        title=title,
        noise=noise,
        sigma=result.tally.sigma,
        own=origin.setting == setting,
        result=result,
    )


def foremost(found: Sequence[RadiusCurve], radius: Fraction, most: int) -> list[RadiusCurve]:
    """List the `most` models that certify most examples at `radius`, in the order they came."""
    best = sorted(found, key=lambda curve: -curve.certified(radius))[:most]
    chosen = {curve.slug for curve in best}
    return [curve for curve in found if curve.slug in chosen]


def steps(tally: Tally, most: int) -> list[tuple[Fraction, float]]:
    """List where a curve falls, (radius, share certified at it), in at most about `most` steps.

    Leaving some out moves no step upwards.
    """
    counts = zip(tally.reached, tally.reaching_each, strict=True)
    falls = [(radius, count / tally.examples) for radius, count in counts]
    return thinned(falls, most)


def thinned(falls: list[tuple[Fraction, float]], most: int) -> list[tuple[Fraction, float]]:
    """Keep about `most` of the steps, the first and the last among them."""
    kept = falls[:: -(-len(falls) // most) if falls else 1]
    return kept if not falls or kept[-1] == falls[-1] else [*kept, falls[-1]]


def envelope(
    falls: Sequence[Sequence[tuple[Fraction, float]]],
) -> list[tuple[Fraction, float]]:
    """Return the best of several curves at every radius, at the steps where it falls."""
    # From the largest radius down: what a curve has there, it has at every smaller one.
    best: list[tuple[Fraction, float]] = []
    for radius, share in sorted((step for curve in falls for step in curve), reverse=True):
        if share > (best[-1][1] if best else 0.0):
            best.append((radius, share))
    return best[::-1]


def columns(board: Board, setting: str, found: Sequence[RadiusCurve]) -> list[Fraction]:
    """Choose radii for a table: 0, round ones up to the largest proved, and the settings'."""
    asked = {board.settings[name].radius for name in same_norm(board.settings, setting)}
    reached = [radii[-1] for curve in found if (radii := curve.result.tally.reached)]
    largest = max(reached, default=Fraction(0))
    step = _round_step(largest)
    grid = {step * number for number in range(1, _MOST_COLUMNS + 1) if step * number <= largest}
    return sorted({Fraction(0), *grid, *asked})


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
        statements: examples about which a smoothed model's evaluation might have stated a radius.
        expected: upper bound of the expected number of wrong ones, the sum of all their failure
            probabilities; it needs no independence.
        most: a number that is exceeded with probability at most `DOUBT`, by Markov's inequality,
            which needs no independence either.
    """

    statements: int
    expected: Fraction
    most: int


def sureness(results: Iterable["Results"]) -> Sureness | None:
    """Say how many of all smoothed results of a page may be wrong; None where there are none.

    Every example of a sampled model counts, certified or not and even if time ran out before its
    samples were drawn: choosing some of them afterwards would change their chance of being wrong.
    """
    statements, expected = 0, Fraction(0)
    for result in results:
        tally = result.tally
        if not tally.probabilistic:
            continue
        statements += tally.examples
        expected += tally.examples * _failure_probability(result)
    if not statements:
        return None
    return Sureness(statements, expected, max(0, ceil(expected / DOUBT) - 1))


def _failure_probability(result: "Results") -> Fraction:
    """Of one example, as it was asked for; else one minus the confidence stored, rounded up."""
    told = result.provenance.options.get("failure_probability")
    if told is not None:
        return Fraction(str(told))
    least = result.tally.least_confidence
    return Fraction(ceil((1 - Fraction(least)) * 10**12), 10**12)
