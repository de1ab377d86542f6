"""Stored rows of smoothed models, checked again: every radius from its counts, none of it trusted.

What is believed is what was counted. The rest, the bounds of the probability, the radius and the
verdict, is derived again by `recheck_bounds`, and what is stored must not claim more. A stored
value far below what its counts give is refused, too: then one of them was changed.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import mpmath
import pandas as pd
from mpmath import mpf

from leaderboard import recheck_bounds
from leaderboard.dataset import find_dataset
from leaderboard.errors import InputError
from leaderboard.metrics import is_smoothed
from leaderboard.question import seed_of
from leaderboard.results import Provenance, read
from leaderboard.setting import exact_fraction, exact_text

_SLACK = mpf(10) ** -5
"""Evaluators round radii down to a millionth and probabilities by less."""

_FIXED = ("fixed", "curtailed", "input-specific")
"""Procedures whose bounds are those of a number of samples that no estimation sample has chosen."""


class Asked(NamedTuple):
    """What a file is about, as its provenance says."""

    dataset: str
    norm: str
    radius: Fraction
    dimension: int


@dataclass(frozen=True)
class Finding:
    """What came of one row.

    `accepted` is None where the row cannot be rechecked; `recomputed` is the radius from the
    counts, None where no radius was stored or none is known for this row.
    """

    accepted: bool | None
    reason: str = ""
    recomputed: mpf | None = None


class _RefusedError(Exception):
    """A row claims what does not follow."""


class _UnknownError(Exception):
    """A row cannot be rechecked."""


def recheck_results(path: Path) -> Iterator[dict[str, Any]]:
    """Check every row of a result file again; what came of each, as it is known.

    Raises:
        InputError: the file cannot be read, or holds no rows of a smoothed model.
    """
    result = read(path)
    if not is_smoothed(result.rows):
        raise InputError(
            f"{path}: has no rows of a smoothed model. Proofs are rechecked from evidence:"
            " `certboard certify --evidence FOLDER`, then `certboard recheck MODEL.onnx FOLDER`."
        )
    checker = _Checker(result.provenance, asked_by(result.provenance, path), result.rows)
    table = result.rows.astype(object)
    for record in table.where(table.notna(), None).to_dict("records"):
        row = {str(name): value for name, value in record.items()}
        began = time.perf_counter()
        found = checker.check(row)
        yield {
            **{name: row[name] for name in ("example", "status", "radius", "count", "n")},
            "accepted": found.accepted,
            "recomputed": _short(found.recomputed),
            "reason": found.reason,
            "seconds": round(time.perf_counter() - began, 4),
        }


def asked_by(provenance: Provenance, path: Path) -> Asked:
    """Dataset, norm and radius from the name of the setting.

    Raises:
        InputError: it is not the name of one.
    """
    try:
        dataset, norm, text = provenance.setting.rsplit("-", 2)
        radius = exact_fraction(text.replace("_", "/"))
        return Asked(dataset, norm, radius, prod(find_dataset(dataset).shape))
    except ValueError as error:
        raise InputError(f"{path}: '{provenance.setting}' is not the name of a setting.") from error


def noise_of(provenance: Provenance) -> str:
    """The noise; files of version 1 do not tell it, and have none but Gaussian noise."""
    return provenance.distribution or "gaussian"


def _short(value: mpf | None) -> str | None:
    return None if value is None else mpmath.nstr(value, 8)


class _Checker:
    def __init__(self, provenance: Provenance, asked: Asked, rows: pd.DataFrame) -> None:
        options = provenance.options
        self.asked, self.noise = asked, noise_of(provenance)
        self.options, self.evaluator = options, provenance.evaluator
        self.seed = str(seed_of(provenance.model_sha256, *asked[:3]))
        self.sigma = str(rows["sigma"].mode().iloc[0])
        self.seen: set[int] = set()
        told = options.get("failure_probability")
        self.failure = mpf(0) if told is None else mpf(str(told))
        self.sides = int(options.get("sides", 1))

    def check(self, row: dict[str, Any]) -> Finding:
        """One row."""
        with mpmath.workdps(recheck_bounds.DIGITS):
            try:
                return Finding(True, "", self._check(row))
            except _RefusedError as error:
                return Finding(False, str(error))
            except _UnknownError as error:
                return Finding(None, str(error))
            except (ArithmeticError, TypeError, ValueError):
                return Finding(False, "it holds what is no number of its kind.")

    def _check(self, row: dict[str, Any]) -> mpf | None:
        self._plain(row)
        if self.evaluator != f"smoothing-{self.noise}":
            raise _UnknownError(f"the certificate of '{self.evaluator}' is not rechecked here.")
        claims = row["radius"] is not None or row["status"] == "certified"
        if row["n"] is None:
            _require(not claims, "it has a radius but no counts.")
            return None
        self._counts(row)
        lower, upper = self._bounds(row)
        _close(row["p_lower"], lower, "p_lower")
        if self.sides == 2:
            _require(row["p_upper"] is not None, "it has no p_upper.")
            _close(1 - mpf(row["p_upper"]), 1 - upper, "1 - p_upper")
        if not claims:
            return None
        _require(row["radius"] is not None, "it is certified without a radius.")
        return self._radius(row, lower, upper)

    def _plain(self, row: dict[str, Any]) -> None:
        """What needs no arithmetic."""
        _require(row["example"] not in self.seen, "its example is there twice.")
        self.seen.add(row["example"])
        _require(row["evaluator"] == self.evaluator, "its evaluator is not that of the file.")
        _require(row["status"] != "falsified", "a smoothed model cannot be falsified.")
        _require(row["sigma"] == self.sigma, f"its sigma is not {self.sigma}, as of other rows.")
        _require(row["seed"] == self.seed, "its seed is not that of the model and the setting.")
        if row["status"] == "certified":
            _require(row["prediction"] == row["label"], "it is certified for a wrong class.")

    def _counts(self, row: dict[str, Any]) -> None:
        if not 0 < self.failure < 1:
            raise _UnknownError("the file does not tell the failure probability.")
        n, count, other = row["n"], row["count"], row["runner_up"]
        most = self.options.get("n", n)
        _require(0 < n <= most, f"n is {n:,}, but at most {most:,} samples were asked for.")
        procedure = row["procedure"] or "fixed"
        _require(
            procedure == self.options.get("procedure", "fixed"),
            f"its procedure is {procedure}, not the one of the file.",
        )
        if procedure in ("fixed", "curtailed"):
            _require(n == most, f"n is {n:,} instead of {most:,}.")
        _require(row["n0"] == self.options.get("n0", row["n0"]), "n0 is not that of the file.")
        _require(count is not None and 0 <= count <= n, "its count is none of n samples.")
        _require(other is None or 0 <= other <= n - count, "its counts are more than n.")
        stated = mpf(1) - mpf(row["confidence"])
        _require(stated >= self.failure * (1 - _SLACK), "its confidence is more than it can be.")

    def _bounds(self, row: dict[str, Any]) -> tuple[mpf, mpf]:
        """Bounds of the class's probability and of any other's, from the counts."""
        procedure = row["procedure"] or "fixed"
        told = json.loads(row["statistics"] or "{}")
        if procedure not in (*_FIXED, "sequential"):
            raise _UnknownError(f"the procedure '{procedure}' is not rechecked here.")
        n, count, failure = row["n"], row["count"], self.failure / self.sides
        lower = self._lower(procedure, count, n, failure, told)
        if self.sides == 1:
            return lower, 1 - lower
        classes = int(told.get("classes", 0))
        _require(classes > 1 and row["runner_up"] is not None, "it has no counts of other classes.")
        share = self.failure / 2 / (classes - 1)
        rest = self._lower(procedure, n - row["runner_up"], n, share, {**told, "needed": 0.0})
        return lower, min(1 - rest, 1 - lower)

    def _lower(self, procedure: str, count: int, n: int, failure: mpf, told: dict[str, Any]) -> mpf:
        if procedure in _FIXED:
            return recheck_bounds.lower_bound(count, n, failure)
        above = mpf(told.get("needed", -1))
        _require(0 <= above < 1, "it does not tell where its mixture lies.")
        if above:
            self._require_needed(above)
        bound = recheck_bounds.anytime_lower_bound(count, n, failure / 2, above)
        if n == told.get("limit") == self.options.get("n"):
            return max(bound, recheck_bounds.lower_bound(count, n, failure / 2))
        return bound

    def _require_needed(self, above: mpf) -> None:
        """The mixture lies where the radius asked about needs it, so nobody chose it afterwards."""
        wanted = mpf(self.asked.radius.numerator) / self.asked.radius.denominator
        place = self.asked.norm, self._scale(), wanted, self.asked.dimension
        needed = recheck_bounds.needed(self.noise, *place)
        if needed is None:
            raise _UnknownError(
                f"no radius of {self.noise} noise in {self.asked.norm} is known here."
            )
        if needed >= 1 - _SLACK and above == mpf("0.5"):
            return
        _require(
            0 <= above - needed <= _SLACK, "its mixture does not lie where the radius needs it."
        )

    def _scale(self) -> mpf:
        sigma = Fraction(self.sigma)
        return mpf(sigma.numerator) / sigma.denominator

    def _radius(self, row: dict[str, Any], lower: mpf, upper: mpf) -> mpf:
        stored = Fraction(row["radius"])
        if row["status"] == "certified":
            _require(stored >= self.asked.radius, "it is certified, but its radius is too small.")
        place = self._scale(), lower, upper, self.asked.dimension
        found = recheck_bounds.radius(self.noise, self.asked.norm, *place)
        if found is None:
            raise _UnknownError(
                f"no radius of {self.noise} noise in {self.asked.norm} is known here."
            )
        told = mpf(stored.numerator) / stored.denominator
        gives = f"its counts give {mpmath.nstr(found, 8)}."
        _require(told <= found, f"its radius is {exact_text(stored)}, but {gives}")
        enough = found - _SLACK * (1 + self._scale())
        _require(told >= enough, f"its radius is only {exact_text(stored)}, while {gives}")
        return found


def _require(holds: bool, reason: str) -> None:
    if not holds:
        raise _RefusedError(reason)


def _close(stored: float | None, found: mpf, name: str) -> None:
    """The stored bound is not above the one found, and not far below."""
    _require(stored is not None, f"it has no {name}.")
    gives = f"but the counts give {mpmath.nstr(found, 12)}."
    _require(mpf(stored) <= found, f"{name} is {mpmath.nstr(mpf(stored), 12)}, {gives}")
    _require(
        mpf(stored) >= found - _SLACK, f"{name} is only {mpmath.nstr(mpf(stored), 12)}, {gives}"
    )
