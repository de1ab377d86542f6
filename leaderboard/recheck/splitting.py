"""Stored rows of splitting noise once more: what can be said without counting the votes again.

Nothing is sampled there, so there are no bounds: all splits vote, and the note tells how many of
the cuts between pixel values may be crossed, of those in [0, 1]. What that means for real shifts is
checked here; the votes themselves are not stored (Levine and Feizi 2021, arXiv 2103.10834).
"""

import re
from fractions import Fraction
from typing import Any

import mpmath
from mpmath import mpf

from leaderboard.recheck.claims import UnknownError, require
from leaderboard.results.tally import stored_fraction
from leaderboard.settings.setting import exact_text

EVALUATOR = "splitting-noise"

CUTS = {"splitting": 1, "splitting-thirds": 2}
"""How many cuts lie between neighbouring pixel values, by the name of the noise."""

_LEVELS = 255
_ROUNDED = mpf(10) ** -5

VOTES = "the votes of splitting noise are not stored; --redraw counts all of them again."


CROSSED = re.compile(r"on the pixel grid: l1 radius ([0-9]+)/[0-9]+")
"""How many cuts may be crossed, in the note of a row of any such noise."""


def crossings(noise: str) -> re.Pattern[str]:
    """What a row's note tells: how many cuts may be crossed, over how many there are in [0, 1]."""
    return re.compile(rf"on the pixel grid: l1 radius ([0-9]+)/{CUTS[noise] * _LEVELS}")


def check_splitting(
    row: dict[str, Any], norm: str, wanted: Fraction, dimension: int, noise: str
) -> None:
    """Refuse a row whose radius does not follow from its note; no other is accepted, either.

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
    require(noise in CUTS, f"its noise is {noise}.")
    found = crossings(noise).search(row["note"])
    require(found is not None, "its note does not tell how many cuts may be crossed.")
    assert found is not None
    crossed, splits = int(found[1]), 2 * _LEVELS * stored_fraction(row["sigma"])
    require(splits.denominator == 1, "its scale makes no whole number of splits.")
    splits *= CUTS[noise]
    require(2 * crossed < splits, f"it may cross {crossed} cuts, too many for {splits} splits.")
    stored, limit = stored_fraction(row["radius"]), _limit(crossed, norm, dimension, CUTS[noise])
    told = mpf(stored.numerator) / stored.denominator
    gives = f"{crossed} crossed cuts give less than {mpmath.nstr(limit, 8)}."
    require(told < limit, f"its radius is {exact_text(stored)}, but {gives}")
    # An example is a float32 image of its grid point, and the distance is added to the radius.
    slack = _ROUNDED + mpf(dimension) / 2**24
    require(told >= limit - slack, f"its radius is only {exact_text(stored)}, while {gives}")
    if row["status"] == "certified":
        require(stored >= wanted, "it is certified, but its radius is too small.")
    raise UnknownError(VOTES)


def _limit(crossed: int, norm: str, dimension: int, cuts: int) -> mpf:
    """The least size of a real shift from a grid point that crosses more than `crossed` cuts.

    A step of 1/255 has cuts + 1 parts, and each of them ends at a cut, but the last. In ℓ1 and ℓ2 a
    shift of one part in some pixels crosses most for its size, in ℓ∞ the same shift in all; and a
    shift has at most √d times its ℓ2 size in ℓ1.
    """
    part = mpf(1) / (_LEVELS * (cuts + 1))
    if norm == "linf":
        each = crossed // dimension
        return part * (each + 1 + each // cuts)
    moved = mpf(crossed + 1)
    if norm == "l1":
        return part * moved
    return part * max(mpmath.sqrt(moved), moved / mpmath.sqrt(dimension))
