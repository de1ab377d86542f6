"""Stored rows of splitting noise once more: what can be said without counting the votes again.

Nothing is sampled there, so there are no bounds: all splits vote, and the note tells by how many
steps of 1/255 in all the nearest point of the pixel grid may move. What that means for real shifts
is checked here; the votes themselves are not stored (Levine and Feizi 2021, arXiv 2103.10834).
"""

import re
from fractions import Fraction
from typing import Any

import mpmath
from mpmath import mpf

from leaderboard.recheck.claims import UnknownError, require
from leaderboard.results.tally import stored_fraction
from leaderboard.settings.setting import exact_text

NOISE, EVALUATOR = "splitting", "splitting-noise"

_LEVELS = 255
STEPS = re.compile(r"on the pixel grid: l1 radius ([0-9]+)/255")
_ROUNDED = mpf(10) ** -5

VOTES = "the votes of splitting noise are not stored; --redraw counts all of them again."


def check_splitting(row: dict[str, Any], norm: str, wanted: Fraction, dimension: int) -> None:
    """Refuse a row whose radius does not follow from its steps; no other is accepted, either.

    Raises:
        RefusedError: it does not follow.
        UnknownError: in all other cases.
    """
    claims = row["radius"] is not None or row["status"] == "certified"
    require(row["n"] is None and row["count"] is None, "it has samples, but nothing is sampled.")
    if not claims:
        raise UnknownError(VOTES)
    require(row["radius"] is not None, "it is certified without a radius.")
    require(row["confidence"] == 1, "its confidence is not 1.")
    found = STEPS.search(row["note"])
    require(found is not None, "its note does not tell its steps.")
    assert found is not None
    steps, splits = int(found[1]), 2 * _LEVELS * stored_fraction(row["sigma"])
    require(splits.denominator == 1, "its scale makes no whole number of splits.")
    require(2 * steps < splits, f"its steps are {steps}, too many for {splits} splits.")
    stored, limit = stored_fraction(row["radius"]), _limit(steps, norm, dimension)
    told = mpf(stored.numerator) / stored.denominator
    gives = f"{steps} steps give less than {mpmath.nstr(limit, 8)}."
    require(told < limit, f"its radius is {exact_text(stored)}, but {gives}")
    # An example is a float32 image of its grid point, and the distance is added to the radius.
    slack = _ROUNDED + mpf(dimension) / 2**24
    require(told >= limit - slack, f"its radius is only {exact_text(stored)}, while {gives}")
    if row["status"] == "certified":
        require(stored >= wanted, "it is certified, but its radius is too small.")
    raise UnknownError(VOTES)


def _limit(steps: int, norm: str, dimension: int) -> mpf:
    """The least size of a real shift that moves the nearest grid point by more than `steps`.

    A pixel that moves by k - 1/2 steps of 1/255 moves its nearest grid point by k. For their size
    shifts of half a step in some pixels move it most (ℓ1, ℓ2), or the same shift in all (ℓ∞); and
    a shift has at most √d times its ℓ2 size in ℓ1.
    """
    step = mpf(1) / _LEVELS
    if norm == "linf":
        return step * (steps // dimension + mpf(1) / 2)
    moved = mpf(steps + 1)
    if norm == "l1":
        return step * moved / 2
    return step / 2 * max(mpmath.sqrt(moved), moved / mpmath.sqrt(dimension))
