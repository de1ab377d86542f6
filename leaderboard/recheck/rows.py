"""Stored rows of smoothed models, checked again: every radius from its counts, none of it trusted.

What is believed is what was counted. The rest, the bounds of the probability, the radius, the
verdict and whether there is a prediction at all, is derived again (`recheck_claims`), and what is
stored must not claim more. A stored value far below what its counts give is refused, too: then one
of them was changed. Labels are those of the data, where these are at hand.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import mpmath
import pandas as pd
from mpmath import mpf

from leaderboard.common.errors import InputError
from leaderboard.common.strict_toml import shown
from leaderboard.datasets.catalogue import find_dataset, load_split
from leaderboard.datasets.split import Split
from leaderboard.recheck import bounds, splitting
from leaderboard.recheck.claims import (
    SLACK,
    Claims,
    RefusedError,
    UnknownError,
    family_of,
    require,
    statistics,
)
from leaderboard.recheck.splitting import check_splitting
from leaderboard.results.metrics import is_smoothed
from leaderboard.results.store import Provenance, Results, read, read_provenance
from leaderboard.results.tally import stored_fraction
from leaderboard.settings.question import seed_of
from leaderboard.settings.setting import exact_fraction

_MOST_SAMPLES = 10**9
"""A bound takes as many steps as the root of them, several times."""


class Asked(NamedTuple):
    """What a file is about, as its provenance says."""

    dataset: str
    norm: str
    radius: Fraction
    dimension: int
    classes: int


@dataclass(frozen=True)
class Finding:
    """What came of one row.

    `accepted` is None where the row cannot be rechecked; `recomputed` is the radius from the
    counts, None where no radius was stored or none is known for this row.
    """

    accepted: bool | None
    reason: str = ""
    recomputed: mpf | None = None


def same_split(path: Path, origin: Provenance, dataset: str) -> Split:
    """The examples that the rows in a file are about.

    Raises:
        InputError: the data are not here, or others.
    """
    split = load_split(dataset)
    if split.sha256 != origin.data_sha256:
        raise InputError(
            f"{path}: the data that were measured have the SHA-256 {origin.data_sha256},"
            f" those here {split.sha256}."
        )
    return split


def labels_at_hand(path: Path) -> Mapping[int, int] | str:
    """The classes of all examples of the data that a file is about; else why they are not known.

    Raises:
        InputError: the file cannot be read, or was measured on other data.
    """
    origin = read_provenance(path)
    dataset = asked_by(origin, path).dataset
    try:
        load_split(dataset)
    except InputError as error:
        return f"the labels were not compared with the data: {error}"
    split = same_split(path, origin, dataset)
    return dict(zip(split.examples, split.labels.tolist(), strict=True))


def recheck_results(
    path: Path, labels: Mapping[int, int] | None = None
) -> Iterator[dict[str, Any]]:
    """Check every row of a result file again; what came of each, as it is known.

    Args:
        path: of the file.
        labels: the classes of the data's examples; None where they are not at hand.

    Raises:
        InputError: the file cannot be read, or holds no rows of a smoothed model.
    """
    result = read(path)
    if not is_smoothed(result.rows):
        raise InputError(
            f"{path}: has no rows of a smoothed model; proofs are rechecked with --model FILE.onnx."
        )
    for row, found, seconds in recheck_all(result, labels):
        yield {
            **{name: row[name] for name in ("example", "status", "radius", "count", "n")},
            "accepted": found.accepted,
            "recomputed": _short(found.recomputed),
            "reason": found.reason,
            "seconds": round(seconds, 4),
        }


def recheck_all(
    result: Results, labels: Mapping[int, int] | None = None
) -> Iterator[tuple[dict[str, Any], Finding, float]]:
    """Each row of a smoothed model, what came of it, and the seconds that it took.

    Raises:
        InputError: the file is not about a setting.
    """
    asked = asked_by(result.provenance, result.path)
    checker = _Checker(result.provenance, asked, result.rows, labels)
    table = result.rows.astype(object)
    for record in table.where(table.notna(), None).to_dict("records"):
        row = {str(name): value for name, value in record.items()}
        began = time.perf_counter()
        found = checker.check(row)
        yield row, found, time.perf_counter() - began


def asked_by(provenance: Provenance, path: Path) -> Asked:
    """Dataset, norm and radius from the name of the setting.

    Raises:
        InputError: it is not the name of one.
    """
    try:
        dataset, norm, text = provenance.setting.rsplit("-", 2)
        radius = exact_fraction(text.replace("_", "/"))
        told = find_dataset(dataset)
        return Asked(dataset, norm, radius, prod(told.shape), len(told.classes))
    except ValueError as error:
        raise InputError(f"{path}: '{provenance.setting}' is not the name of a setting.") from error


def noise_of(provenance: Provenance) -> str:
    """The noise; files of version 1 do not tell it, and have none but Gaussian noise."""
    return provenance.distribution or "gaussian"


def _short(value: mpf | None) -> str | None:
    return None if value is None else mpmath.nstr(value, 8)


class _Checker:
    def __init__(
        self,
        provenance: Provenance,
        asked: Asked,
        rows: pd.DataFrame,
        labels: Mapping[int, int] | None,
    ) -> None:
        self.labels = labels
        self.asked, self.noise = asked, noise_of(provenance)
        self.options, self.evaluator = provenance.options, provenance.evaluator
        self.seed = str(seed_of(provenance.model_sha256, *asked[:3], provenance.noise_salt))
        self.sigma = str(rows["sigma"].mode().iloc[0])
        self.seen: set[int] = set()
        self.numbers: dict[int, int] = {}

    def _claims(self) -> Claims:
        """Collect what all rows have in common."""
        family = family_of(self.evaluator, self.noise)
        told = self.options.get("failure_probability")
        if family is None:
            what = f"the certificate of '{self.evaluator}' for {self.noise} noise"
            raise UnknownError(f"{what} is not rechecked here.")
        if told is None:
            raise UnknownError("the file does not tell the failure probability.")
        return Claims(
            family,
            self.noise,
            self.asked.norm,
            self.asked.radius,
            self.asked.dimension,
            stored_fraction(self.sigma),
            mpf(str(told)),
            int(self.options.get("sides", 1)),
            self.options.get("n"),
            self.asked.classes,
        )

    def check(self, row: dict[str, Any]) -> Finding:
        with mpmath.workdps(bounds.DIGITS):
            try:
                return Finding(True, "", self._check(row))
            except RefusedError as error:
                return Finding(False, str(error))
            except UnknownError as error:
                return Finding(None, str(error))
            except (ArithmeticError, AttributeError, RecursionError, TypeError, ValueError):
                return Finding(False, "it holds what is no number of its kind.")

    def _check(self, row: dict[str, Any]) -> mpf | None:
        self._plain(row)
        if self.evaluator == splitting.EVALUATOR:
            asked = self.asked
            check_splitting(row, asked.norm, asked.radius, asked.dimension, self.noise)
        common = self._claims()
        claims = row["radius"] is not None or row["status"] == "certified"
        if row["n"] is None:
            require(not claims, "it has a radius but no counts.")
            require(row["prediction"] is None, "it has a prediction but no counts.")
            return None
        self._counts(row, common)
        lower, upper = common.bounds(row)
        _decides(row, lower, upper)
        if not claims:
            return None
        require(row["radius"] is not None, "it is certified without a radius.")
        return common.radius(row, lower, upper)

    def _plain(self, row: dict[str, Any]) -> None:
        """Check what needs no arithmetic."""
        require(row["example"] not in self.seen, "its example is there twice.")
        self.seen.add(row["example"])
        require(row["evaluator"] == self.evaluator, "its evaluator is not that of the file.")
        require(row["status"] != "falsified", "a smoothed model cannot be falsified.")
        require(row["status"] in ("certified", "unknown"), f"its status is {shown(row['status'])}.")
        require(row["sigma"] == self.sigma, f"its sigma is not {self.sigma}, as of other rows.")
        require(
            row["seed"] == self.seed, "its seed is not that of the model, the setting and the salt."
        )
        if row["status"] == "certified":
            require(row["prediction"] == row["label"], "it is certified for a wrong class.")
        if self.labels is not None:
            label = self.labels.get(row["example"])
            require(label is not None, "there is no such example in the data.")
            require(
                row["label"] == label, f"its label is {row['label']}, but the data say {label}."
            )

    def _counts(self, row: dict[str, Any], claims: Claims) -> None:
        require(0 < claims.failure < 1, "its failure probability is none.")
        n, count, other = row["n"], row["count"], row["runner_up"]
        most = self.options.get("n", n)
        require(0 < n <= most, f"n is {n:,}, but at most {most:,} samples were asked for.")
        if n > _MOST_SAMPLES:
            raise UnknownError(f"n is {n:,}; at most {_MOST_SAMPLES:,} are counted again.")
        procedure = row["procedure"] or "fixed"
        require(
            procedure == self.options.get("procedure", "fixed"),
            f"its procedure is {procedure}, not the one of the file.",
        )
        if procedure in ("fixed", "curtailed"):
            require(n == most, f"n is {n:,} instead of {most:,}.")
        require(row["n0"] == self.options.get("n0", row["n0"]), "n0 is not that of the file.")
        require(count is not None and 0 <= count <= n, "its count is none of n samples.")
        require(other is None or 0 <= other <= n - count, "its counts are more than n.")
        if procedure == "input-specific":
            self._number_was_chosen_before(row)
        stated = mpf(1) - mpf(row["confidence"])
        require(stated >= claims.failure * (1 - SLACK), "its confidence is more than it can be.")

    def _number_was_chosen_before(self, row: dict[str, Any]) -> None:
        """The number of samples is a function of how many selection samples gave the class."""
        selected = statistics(row).get("selected")
        if selected is None:
            return
        require(0 <= selected <= row["n0"], "it was selected by more than n0 samples.")
        before = self.numbers.setdefault(selected, row["n"])
        require(
            before == row["n"],
            f"n is {row['n']:,}, but {before:,} of another example selected by as many samples.",
        )


def _decides(row: dict[str, Any], lower: mpf, upper: mpf) -> None:
    """A row has a prediction if and only if its counts decide on a class."""
    if row["prediction"] is not None:
        decided = lower > mpf("0.5") or lower > upper
        require(decided, "it has a prediction, but its counts decide on no class.")
        return
    stored, other = row["p_lower"], row["p_upper"]
    decided = stored > 0.5 or (other is not None and stored > other)
    require(not decided, "its counts decide on a class, but it has no prediction.")
