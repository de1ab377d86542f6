"""What the pages need to know of one evaluation, counted once from its rows.

Rows are many and pages ask again and again; everything that a table or a ranking shows of a
re-evaluation follows from these counts.
"""

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from itertools import accumulate

import numpy as np
from jaxtyping import Float, Int

from leaderboard.results.columns import EXACT, LONGEST

NUMBERS = ("example", "label", "prediction", "confidence", "margin", "seconds", "n")
"""Columns that are counted or chosen by as numbers, NaN where one is missing."""

TEXTS = ("status", "stage", "radius", "sigma", "note")
"""Columns that are counted as texts."""


@lru_cache(maxsize=1 << 16)
def stored_fraction(text: str) -> Fraction:
    """A radius or a noise's scale as it is stored: models of one scale have the same ones.

    Raises:
        ValueError: it is not written as they are; `1e999999999` takes forever to read.
    """
    if len(text) > LONGEST or not re.fullmatch(EXACT, text) or re.search("/0+$", text):
        raise ValueError(f"{text[:80]!r} is no exact number")
    return Fraction(text)


@dataclass(frozen=True)
class Texts:
    """A column of texts: the position of each in `values`, −1 where it is missing."""

    codes: Int[np.ndarray, " examples"]
    values: Sequence[str]


@dataclass(frozen=True)
class CountedColumns:
    """The columns of one evaluation that are counted: `NUMBERS` and `TEXTS`."""

    numbers: Mapping[str, Float[np.ndarray, " examples"]]
    texts: Mapping[str, Texts]


@dataclass(frozen=True)
class Tally:
    """Counts of one evaluation's rows.

    Attributes:
        examples: how many rows there are.
        correct: how many are predicted rightly; abstaining is not.
        decided: how many, by status and stage.
        notes: how many, by what was noted of them.
        sigma: the noise's scale as stored, empty for a model that is not smoothed.
        sampled: how many were sampled.
        reached: of a smoothed model the exact largest radii of rightly predicted examples,
            ascending, each once.
        reaching_each: how many examples reach each of these radii.
        least_confidence: of all rows.
        median_seconds, total_seconds: of the examples; None without any.
        predicted: how many examples get each class; abstaining is none.
        labels: how many classes the examples have.
    """

    examples: int
    correct: int
    decided: Mapping[tuple[str, str], int]
    notes: Mapping[str, int]
    sigma: str
    sampled: int
    reached: Sequence[Fraction]
    reaching_each: Sequence[int]
    least_confidence: float
    median_seconds: float | None
    total_seconds: float | None
    predicted: Mapping[int, int] = field(default_factory=dict)
    labels: int = 0

    @property
    def smoothed(self) -> bool:
        """Whether the rows are a smoothed model's, which stores each example's largest radius."""
        return self.sigma != ""

    @property
    def probabilistic(self) -> bool:
        """Whether certificates may fail by chance: samples were drawn, not all noise summed."""
        return self.smoothed and self.sampled > 0

    def of_status(self, status: str) -> int:
        """How many examples have this status, as it was stored."""
        return sum(count for (found, _), count in self.decided.items() if found == status)

    def certified(self, radius: Fraction) -> int:
        """How many examples are certified at the setting's own radius.

        A plain model's verdict was decided at that radius; a smoothed one's is decided again from
        the radii it stored.
        """
        return self.reaching(radius) if self.smoothed else self.of_status("certified")

    def reaching(self, radius: Fraction) -> int:
        """How many examples of a smoothed model are right and proved at `radius`, exactly."""
        place = bisect_left(self.reached, radius)
        return self.reaching_each[place] if place < len(self.reached) else 0

    def stages(self, status: str) -> list[tuple[str, int]]:
        """What gave examples this status, most productive first."""
        found = [(stage, count) for (told, stage), count in self.decided.items() if told == status]
        return sorted(found, key=lambda pair: (-pair[1], pair[0]))


def count(columns: CountedColumns) -> Tally:
    """The counts of one evaluation's columns."""
    numbers, texts = columns.numbers, columns.texts
    seconds = numbers["seconds"]
    right = numbers["prediction"] == numbers["label"]
    sigma = next(iter(texts["sigma"].values), "")
    reached, reaching_each = _reached(texts, right) if sigma else ((), ())
    return Tally(
        examples=len(seconds),
        correct=int(right.sum()),
        decided=_decided(texts["status"], texts["stage"]),
        notes=_each(texts["note"]),
        sigma=sigma,
        sampled=int((~np.isnan(numbers["n"])).sum()),
        reached=reached,
        reaching_each=reaching_each,
        least_confidence=float(numbers["confidence"].min(initial=1.0)),
        median_seconds=float(np.median(seconds)) if len(seconds) else None,
        total_seconds=float(seconds.sum()) if len(seconds) else None,
        predicted=_by_class(numbers["prediction"]),
        labels=len(np.unique(numbers["label"])),
    )


def _decided(status: Texts, stage: Texts) -> dict[tuple[str, str], int]:
    kinds = len(stage.values)
    pairs, counts = np.unique(
        status.codes.astype(np.int64) * kinds + stage.codes, return_counts=True
    )
    return {
        (status.values[pair // kinds], stage.values[pair % kinds]): number
        for pair, number in zip(pairs.tolist(), counts.tolist(), strict=True)
    }


def _by_class(numbers: Float[np.ndarray, " examples"]) -> dict[int, int]:
    classes, counts = np.unique(numbers[~np.isnan(numbers)].astype(int), return_counts=True)
    return dict(zip(classes.tolist(), counts.tolist(), strict=True))


def _each(texts: Texts) -> dict[str, int]:
    counts = np.bincount(texts.codes[texts.codes >= 0], minlength=len(texts.values))
    return {text: int(number) for text, number in zip(texts.values, counts, strict=True)}


def _reached(
    texts: Mapping[str, Texts], right: np.ndarray
) -> tuple[tuple[Fraction, ...], tuple[int, ...]]:
    """The exact radii of examples that are right and not falsified, and how many reach each."""
    radius, status = texts["radius"], texts["status"]
    falsified = [place for place, text in enumerate(status.values) if text == "falsified"]
    kept = right & (radius.codes >= 0) & ~np.isin(status.codes, falsified)
    counts = np.bincount(radius.codes[kept], minlength=len(radius.values))
    proved: Counter[Fraction] = Counter()
    for text, number in zip(radius.values, counts, strict=True):
        if number and (exact := stored_fraction(text)):
            proved[exact] += int(number)
    # Floats keep the order of what they round; the exact numbers decide between equal ones.
    ascending = sorted(proved, key=lambda exact: (float(exact), exact))
    reaching = list(accumulate(proved[exact] for exact in reversed(ascending)))
    return tuple(ascending), tuple(reversed(reaching))
