"""What the counts of a stored row prove: bounds, mixture, radius, held against what it says."""

import json
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import mpmath
from mpmath import mpf

from leaderboard.recheck import bounds as recheck_bounds
from leaderboard.recheck import families, gradient
from leaderboard.recheck.noises import NOISES, inner
from leaderboard.results.tally import stored_fraction
from leaderboard.settings.setting import exact_text

SLACK = mpf(10) ** -5
"""Evaluators round radii down to a millionth and probabilities by less."""

SMALLEST = mpf(2) ** -53
"""Of one minus a probability in float64."""

_FIXED = ("fixed", "curtailed", "input-specific")
"""Procedures whose bounds are those of a number of samples that no estimation sample has chosen."""

FIRST_ORDER = "first-order"

_LOOSE = {"pixeldp": mpf("0.05"), "renyi": mpf("0.1")}
"""Relative; these evaluators try a fixed list of parameters, and no row is refused for that."""
_MESH = mpf(10) ** -6
"""The same for all others: level sets are sums over a mesh."""

_OWN_FAMILY = {"exponential-l2": "level-set", "exponential-linf": "level-set"}
"""Of the evaluators named after a noise; the others use the lemma of Neyman and Pearson."""


class RefusedError(Exception):
    """A row claims what does not follow."""


class UnknownError(Exception):
    """A row cannot be rechecked."""


def require(holds: bool, reason: str) -> None:
    """Refuse the row unless this holds."""
    if not holds:
        raise RefusedError(reason)


def family_of(evaluator: str, noise: str) -> str | None:
    """The certificates of an evaluator; None where they are not known here."""
    if evaluator == f"smoothing-{noise}":
        family = _OWN_FAMILY.get(noise, "neyman-pearson")
    else:
        family = evaluator.removeprefix("smoothing-") if "lipschitz" in evaluator else evaluator
    if family == FIRST_ORDER:
        return family if noise == "gaussian" else None
    known = family in families.FAMILIES and noise in NOISES
    return family if known else None


@dataclass(frozen=True)
class Claims:
    """What all rows of a file have in common.

    Attributes:
        family, noise: of the certificates.
        norm, wanted, dimension: of the balls asked about; `wanted` is their radius.
        sigma: scale of the noise.
        failure: probability with which a row's bounds may be wrong.
        sides: 1 or 2.
        most: samples that were asked for; None where the file does not tell.
        classes: of the dataset.
    """

    family: str
    noise: str
    norm: str
    wanted: Fraction
    dimension: int
    sigma: Fraction
    failure: mpf
    sides: int
    most: int | None
    classes: int

    def bounds(self, row: dict[str, Any]) -> tuple[mpf, mpf]:
        """Bounds of the class's probability and of any other's, from the counts, as stored."""
        procedure, told = row["procedure"] or "fixed", statistics(row)
        if procedure not in (*_FIXED, "sequential"):
            raise UnknownError(f"the procedure '{procedure}' is not rechecked here.")
        n, count = row["n"], row["count"]
        drawn = int(told.get("drawn", n))
        require(count <= drawn <= n, "its count is more than were drawn.")
        lower = self._lower(procedure, count, n, self._for_probabilities / self.sides, told)
        _close(row["p_lower"], lower, "p_lower")
        if self.sides == 1:
            return lower, 1 - lower
        require(row["runner_up"] is not None, "it has no counts of other classes.")
        # Of fewer classes each would have a larger share of the failure probability.
        require(told.get("classes") == self.classes, f"its classes are not the {self.classes:,}.")
        share = self._for_probabilities / 2 / max(1, self.classes - 1)
        rest = self._lower(procedure, n - row["runner_up"], n, share, {**told, "needed": 0.0})
        upper = min(1 - rest, 1 - lower)
        require(row["p_upper"] is not None, "it has no p_upper.")
        _close(1 - mpf(row["p_upper"]), 1 - upper, "1 - p_upper")
        return lower, upper

    @property
    def _for_probabilities(self) -> mpf:
        """The failure probability, or the half of it that the gradient's bound leaves."""
        return self.failure / 2 if self.family == FIRST_ORDER else self.failure

    def _lower(self, procedure: str, count: int, n: int, failure: mpf, told: dict[str, Any]) -> mpf:
        if procedure in _FIXED:
            return recheck_bounds.lower_bound(count, n, failure)
        above = mpf(told.get("needed", -1))
        require(0 <= above < 1, "it does not tell where its mixture lies.")
        if self.sides == 1:
            self._require_mixture(above)
        else:
            require(above == 0, "its mixture does not lie at 0, as with two sides.")
        bound = recheck_bounds.anytime_lower_bound(count, n, failure / 2, above)
        if n == told.get("limit") == self.most:
            return max(bound, recheck_bounds.lower_bound(count, n, failure / 2))
        return bound

    def _require_mixture(self, above: mpf) -> None:
        """The mixture lies where the radius asked about needs it, so nobody chose it afterwards."""
        wanted = mpf(self.wanted.numerator) / self.wanted.denominator

        def surely_reaches(p: mpf) -> bool:
            found = self._zeroth(p, 1 - p)
            return bool(found - self._allowance(found) > wanted)

        # Where no probability reaches the radius it lies at 0; at 1/2 in files of older versions.
        if above in (0, mpf("0.5")) and not surely_reaches(1 - SMALLEST):
            return
        lies = (
            above > 0
            and self._zeroth(above, 1 - above) >= wanted
            and not surely_reaches(above - SLACK**2)
        )
        require(lies, "its mixture does not lie where the radius needs it.")

    def radius(self, row: dict[str, Any], lower: mpf, upper: mpf) -> mpf:
        """The radius that the bounds give; the stored one is neither larger nor far smaller."""
        stored = stored_fraction(row["radius"])
        if row["status"] == "certified":
            require(stored >= self.wanted, "it is certified, but its radius is too small.")
        found = self._zeroth(lower, upper)
        if self.family == FIRST_ORDER:
            found = max(found, self._first(row, lower, upper))
        told = mpf(stored.numerator) / stored.denominator
        gives = f"its counts give {mpmath.nstr(found, 8)}."
        require(told <= found, f"its radius is {exact_text(stored)}, but {gives}")
        enough = found - self._allowance(found)
        require(told >= enough, f"its radius is only {exact_text(stored)}, while {gives}")
        return found

    def _zeroth(self, lower: mpf, upper: mpf) -> mpf:
        """Compute the radius from probabilities alone."""
        family = "neyman-pearson" if self.family == FIRST_ORDER else self.family
        place = self.norm, self._scale, lower, upper, self.dimension
        found = families.radius(self.noise, *place, family)
        if found is None:
            raise UnknownError(f"no radius of {self.noise} noise by {family} is known here.")
        return found

    def _first(self, row: dict[str, Any], lower: mpf, upper: mpf) -> mpf:
        """The radius of a slab; the gradient's bound must follow from what was summed."""
        told, names = statistics(row), ("gradient_product", "gradient_length", "gradient_bound")
        product, length, stored = (mpf(told.get(name, mpmath.nan)) for name in names)
        require(length >= 0 and mpmath.isfinite(product), "it has no sums for its gradient.")
        failure = self.failure / 2
        found = gradient.gradient_bound(product, length, row["n"], failure)
        summed = mpmath.nstr(found, 8)
        require(stored >= found, f"its gradient's bound is less than {summed}, as summed.")
        unit = gradient.slab_radius(lower, upper, found)
        return self._scale * unit * inner(self.norm, "l2", self.dimension)

    def _allowance(self, found: mpf) -> mpf:
        """Allow an honest radius to be smaller by so much."""
        return _LOOSE.get(self.family, _MESH) * found + SLACK * (1 + self._scale)

    @property
    def _scale(self) -> mpf:
        return mpf(self.sigma.numerator) / self.sigma.denominator


def statistics(row: dict[str, Any]) -> dict[str, Any]:
    """What else a row was computed from."""
    told = json.loads(row["statistics"] or "{}")
    require(isinstance(told, dict), "its statistics are no JSON object.")
    return dict(told)


def _close(stored: float | None, found: mpf, name: str) -> None:
    """The stored bound is not above the one found, and not far below."""
    require(stored is not None, f"it has no {name}.")
    gives = f"but the counts give {mpmath.nstr(found, 12)}."
    require(mpf(stored) <= found, f"{name} is {mpmath.nstr(mpf(stored), 12)}, {gives}")
    require(mpf(stored) >= found - SLACK, f"{name} is only {mpmath.nstr(mpf(stored), 12)}, {gives}")
